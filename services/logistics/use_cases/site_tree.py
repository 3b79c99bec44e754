"""Sites open below one another, change and close."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from services.logistics import rules
from services.logistics.batch import LogisticsBatch
from services.logistics.models import Site
from services.logistics.use_cases.ways import lock_network, recompute_ways
from shared.events import SITE_LEVELS, Names, SiteClosed, SiteOpened
from shared.runtime import clock
from shared.runtime.errors import Conflict, NotFound, Unprocessable
from shared.runtime.ids import new_id
from shared.runtime.paging import filtered


class SiteNotFound(NotFound):
    """Raised when no site has the id asked for."""


class UnknownSite(Unprocessable):
    """Raised when a request names a site that does not exist."""


class SiteExists(Conflict):
    """Raised when a site's code or id is taken by a site that differs."""


class SiteIsClosed(Conflict):
    """Raised when a closed site is to take something new."""


class SiteHasChildren(Conflict):
    """Raised when a site is to close while sites below it are open."""


def open_sites(batch: LogisticsBatch, sites: Sequence[Mapping[str, Any]]) -> list[Site]:
    """Open all the sites or none; each may name a parent that is opened in the same call.

    A site that exists with equal content stays as it is, so the same call may be repeated.

    Raises:
        SiteExists: a code or id is taken by another site.
        UnknownSite, WrongLevel, SiteIsClosed: a parent does not exist, is not exactly one
            level above, or is closed.
    """
    lock_network(batch.session)
    by_code = {site.code: site for site in batch.session.scalars(select(Site))}
    ids = {site.id for site in by_code.values()}
    is_new = False
    for facts in sorted(sites, key=lambda facts: SITE_LEVELS.index(facts["level"])):
        code, parent = facts["code"], _parent(by_code, facts)
        existing = by_code.get(code)
        if existing is not None:
            _check_same(existing, parent, facts)
            continue
        if facts.get("site_id") in ids:
            raise SiteExists(f"The id of site {code} belongs to another site.")
        if parent is not None and parent.closed_at is not None:
            raise SiteIsClosed(f"Site {parent.code} is closed; no site can open below it.")
        by_code[code] = site = _new_site(batch, parent, facts)
        ids.add(site.id)
        is_new = True
    if is_new:
        recompute_ways(batch.session, list(by_code.values()))
    return [by_code[facts["code"]] for facts in sites]


def _parent(by_code: Mapping[str, Site], facts: Mapping[str, Any]) -> Site | None:
    parent_code = facts.get("parent_code")
    parent = by_code.get(parent_code) if parent_code is not None else None
    if parent is None and parent_code is not None:
        raise UnknownSite(f"Site {facts['code']} names the parent {parent_code}: open that first.")
    rules.check_level(facts["code"], facts["level"], parent.level if parent is not None else None)
    return parent


def _new_site(batch: LogisticsBatch, parent: Site | None, facts: Mapping[str, Any]) -> Site:
    now = clock.now()
    site = Site(
        id=facts.get("site_id") or new_id(),
        code=facts["code"],
        level=facts["level"],
        parent_id=parent.id if parent is not None else None,
        names=facts["names"],
        latitude=facts.get("latitude"),
        longitude=facts.get("longitude"),
        opening_hours=facts.get("opening_hours"),
        opened_at=now,
        changed_at=now,
    )
    batch.session.add(site)
    _record_opened(batch, site)
    return site


def _record_opened(batch: LogisticsBatch, site: Site) -> None:
    batch.record(
        site,
        SiteOpened(
            site_id=site.id,
            code=site.code,
            level=site.level,
            parent_id=site.parent_id,
            names=msgspec.convert(site.names, Names),
        ),
    )


def _check_same(site: Site, parent: Site | None, facts: Mapping[str, Any]) -> None:
    wanted = {
        "level": facts["level"],
        "parent_id": parent.id if parent is not None else None,
        "names": facts["names"],
        "latitude": facts.get("latitude"),
        "longitude": facts.get("longitude"),
        "opening_hours": facts.get("opening_hours"),
    }
    if facts.get("site_id") is not None:
        wanted["id"] = facts["site_id"]
    differing = sorted(name for name, value in wanted.items() if getattr(site, name) != value)
    if differing:
        raise SiteExists(
            f"Site {site.code} exists with other values of {', '.join(differing)}; "
            "change it by its id, or choose another code."
        )


def change_site(batch: LogisticsBatch, site_id: UUID, **changes: Any) -> Site:
    """Change a site's names, place or opening hours; new names are published.

    Raises:
        SiteNotFound, SiteIsClosed
    """
    lock_network(batch.session)
    site = find_site(batch.session, site_id)
    check_open(site)
    renamed = "names" in changes and changes["names"] != site.names
    for name, value in changes.items():
        setattr(site, name, value)
    site.changed_at = clock.now()
    if renamed:
        _record_opened(batch, site)
    return site


def close_site(batch: LogisticsBatch, site_id: UUID) -> Site:
    """Close a site: nothing new is planned for it. What is already under way ends there.

    Raises:
        SiteNotFound: there is none.
        SiteHasChildren: sites below it are open; close those first.
    """
    lock_network(batch.session)
    site = find_site(batch.session, site_id)
    if site.closed_at is not None:
        return site
    child = batch.session.scalar(
        select(Site.code)
        .where(Site.parent_id == site_id, Site.closed_at.is_(None))
        .order_by(Site.code)
        .limit(1)
    )
    if child is not None:
        raise SiteHasChildren(f"Site {child} below {site.code} is open; close it first.")
    site.closed_at = site.changed_at = clock.now()
    batch.record(site, SiteClosed(site_id=site.id))
    recompute_ways(batch.session, list(batch.session.scalars(select(Site))))
    return site


def find_site(session: Session, site_id: UUID) -> Site:
    """Return a site.

    Raises:
        SiteNotFound: there is none.
    """
    site = session.get(Site, site_id)
    if site is None:
        raise SiteNotFound(f"There is no site {site_id}.")
    return site


def select_sites(
    level: str | None = None, parent_id: UUID | None = None, is_open: bool | None = None
) -> Select[Site]:
    """Return the query for sites of a level, below a site, open or closed."""
    query = filtered(select(Site), {Site.level: level, Site.parent_id: parent_id})
    if is_open is not None:
        query = query.where(Site.closed_at.is_(None) if is_open else Site.closed_at.is_not(None))
    return query


def check_open(site: Site) -> None:
    """Pass when a site is open.

    Raises:
        SiteIsClosed: it is closed.
    """
    if site.closed_at is not None:
        raise SiteIsClosed(f"Site {site.code} is closed and takes nothing new.")
