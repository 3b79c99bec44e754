"""Sites and routes: the network over which goods travel, and the ways drawn through it."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from services.logistics import rules
from services.logistics.models import Route, Site
from services.logistics.rules import Leg, Way
from shared import clock
from shared.errors import Conflict, NotFound, Unprocessable
from shared.events import SITE_LEVELS, SiteClosed, SiteOpened
from shared.ids import new_id
from shared.outbox import record
from shared.rows import take_turns


class SiteNotFound(NotFound):
    """Raised when no site has the id asked for."""


class RouteNotFound(NotFound):
    """Raised when no route has the id asked for."""


class UnknownSite(Unprocessable):
    """Raised when a request names a site that does not exist."""


class SiteExists(Conflict):
    """Raised when a site's code or id is taken by a site that differs."""


class SiteIsClosed(Conflict):
    """Raised when something new is asked of a closed site."""


class SiteHasChildren(Conflict):
    """Raised when a site shall close while sites below it are open."""


class RouteExists(Conflict):
    """Raised when there is another route between the two sites."""


def open_sites(session: Session, sites: Sequence[Mapping[str, Any]]) -> list[Site]:
    """Open all the sites or none; each may name a parent that is opened in the same call.

    A site that exists with equal content stays as it is, so the same call may be repeated.

    Raises:
        SiteExists: a code or id is taken by another site.
        UnknownSite, WrongLevel, SiteIsClosed: a parent does not exist, is not exactly one
            level above, or is closed.
    """
    _take_turn(session)
    by_code = {site.code: site for site in session.scalars(select(Site))}
    ids = {site.id for site in by_code.values()}
    is_new = False
    for facts in sorted(sites, key=lambda facts: SITE_LEVELS.index(facts["level"])):
        code, parent = facts["code"], _parent(by_code, facts)
        present = by_code.get(code)
        if present is not None:
            _check_same(present, parent, facts)
            continue
        if facts.get("site_id") in ids:
            raise SiteExists(f"The id of site {code} belongs to another site.")
        if parent is not None and parent.closed_at is not None:
            raise SiteIsClosed(f"Site {parent.code} is closed; no site can open under it.")
        by_code[code] = site = _new_site(session, parent, facts)
        ids.add(site.id)
        is_new = True
    if is_new:
        _redraw(session, list(by_code.values()))
    return [by_code[facts["code"]] for facts in sites]


def _parent(by_code: Mapping[str, Site], facts: Mapping[str, Any]) -> Site | None:
    parent_code = facts.get("parent_code")
    parent = by_code.get(parent_code) if parent_code is not None else None
    if parent is None and parent_code is not None:
        raise UnknownSite(f"Site {facts['code']} names the parent {parent_code}: open that first.")
    rules.check_level(facts["code"], facts["level"], parent.level if parent is not None else None)
    return parent


def _new_site(session: Session, parent: Site | None, facts: Mapping[str, Any]) -> Site:
    site = Site(
        id=facts.get("site_id") or new_id(),
        code=facts["code"],
        level=facts["level"],
        parent_id=parent.id if parent is not None else None,
        names=facts["names"],
        latitude=facts.get("latitude"),
        longitude=facts.get("longitude"),
        opening_hours=facts.get("opening_hours"),
        opened_at=clock.now(),
    )
    session.add(site)
    _record_opened(session, site)
    return site


def _record_opened(session: Session, site: Site) -> None:
    record(
        session,
        SiteOpened,
        site,
        site_id=site.id,
        code=site.code,
        level=site.level,
        parent_id=site.parent_id,
        names=site.names,
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


def change_site(session: Session, site_id: UUID, **changes: Any) -> Site:
    """Change a site's names, place or opening hours; new names are published.

    Raises:
        SiteNotFound, SiteIsClosed
    """
    _take_turn(session)
    site = find_site(session, site_id)
    _check_open(site)
    renamed = "names" in changes and changes["names"] != site.names
    for name, value in changes.items():
        setattr(site, name, value)
    if renamed:
        _record_opened(session, site)
    return site


def close_site(session: Session, site_id: UUID) -> Site:
    """Close a site: nothing new is planned for it. What is already under way ends there.

    Raises:
        SiteNotFound: there is none.
        SiteHasChildren: sites below it are open; close those first.
    """
    _take_turn(session)
    site = find_site(session, site_id)
    if site.closed_at is not None:
        return site
    child = session.scalar(
        select(Site.code)
        .where(Site.parent_id == site_id, Site.closed_at.is_(None))
        .order_by(Site.code)
        .limit(1)
    )
    if child is not None:
        raise SiteHasChildren(f"Site {child} below {site.code} is open; close it first.")
    site.closed_at = clock.now()
    record(session, SiteClosed, site, site_id=site.id)
    _redraw(session, list(session.scalars(select(Site))))
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
    query = select(Site)
    if level is not None:
        query = query.where(Site.level == level)
    if parent_id is not None:
        query = query.where(Site.parent_id == parent_id)
    if is_open is not None:
        query = query.where(Site.closed_at.is_(None) if is_open else Site.closed_at.is_not(None))
    return query


def open_route(
    session: Session, from_code: str, to_code: str, hours: int, days: list[int], cold: bool
) -> Route:
    """Let a route run from one site to another; an equal one stays as it is.

    Raises:
        UnknownSite, SiteIsClosed: an end does not exist, or is closed.
        RouteExists: there is one with other hours, days or cold.
    """
    _take_turn(session)
    start, end = _open_site(session, from_code), _open_site(session, to_code)
    route = session.scalar(
        select(Route).where(Route.from_site_id == start.id, Route.to_site_id == end.id)
    )
    if route is not None:
        if (route.hours, route.days, route.cold) != (hours, sorted(days), cold):
            raise RouteExists(
                f"There is another route from {from_code} to {to_code}; change it by its id.",
                route_id=str(route.id),
            )
        return route
    route = Route(
        id=new_id(),
        from_site_id=start.id,
        to_site_id=end.id,
        hours=hours,
        days=sorted(days),
        cold=cold,
    )
    session.add(route)
    session.flush()
    _redraw(session, list(session.scalars(select(Site))))
    return route


def change_route(
    session: Session, route_id: UUID, hours: int, days: list[int], cold: bool
) -> Route:
    """Give a route other hours, days or cold; shipments planned before keep their promise.

    Raises:
        RouteNotFound: there is none.
    """
    _take_turn(session)
    route = find_route(session, route_id)
    route.hours, route.days, route.cold = hours, sorted(days), cold
    session.flush()
    _redraw(session, list(session.scalars(select(Site))))
    return route


def end_route(session: Session, route_id: UUID) -> None:
    """Let a route run no more; where it followed the tree, the default leg is back.

    Raises:
        RouteNotFound: there is none.
    """
    _take_turn(session)
    session.delete(find_route(session, route_id))
    session.flush()
    _redraw(session, list(session.scalars(select(Site))))


def find_route(session: Session, route_id: UUID) -> Route:
    """Return a route.

    Raises:
        RouteNotFound: there is none.
    """
    route = session.get(Route, route_id)
    if route is None:
        raise RouteNotFound(f"There is no route {route_id}.")
    return route


def way_to(site: Site, *, cold: bool) -> Way | None:
    """Return the way that leads to a site, or the way that is cold throughout, if there is one."""
    stored = site.cold_way if cold else site.way
    if stored is None:
        return None
    return tuple(
        Leg(UUID(leg["from_id"]), UUID(leg["to_id"]), leg["hours"], tuple(leg["days"]), leg["cold"])
        for leg in stored
    )


def _take_turn(session: Session) -> None:
    # One change of the network at a time: two at once could each draw ways without the other's.
    take_turns(session, "network")


def _open_site(session: Session, code: str) -> Site:
    site = session.scalar(select(Site).where(Site.code == code))
    if site is None:
        raise UnknownSite(f"There is no site {code}.")
    _check_open(site)
    return site


def _check_open(site: Site) -> None:
    if site.closed_at is not None:
        raise SiteIsClosed(f"Site {site.code} is closed and takes nothing new.")


def _redraw(session: Session, sites: Sequence[Site]) -> None:
    """Draw the ways to all open sites anew; a closed one keeps its last for what is under way."""
    is_open = {site.id: site for site in sites if site.closed_at is None}
    legs = {
        (site.parent_id, site.id): rules.default_leg(site.level, site.parent_id, site.id)
        for site in is_open.values()
        if site.parent_id is not None
    }
    for route in session.scalars(select(Route)):
        if route.from_site_id in is_open and route.to_site_id in is_open:
            ends = (route.from_site_id, route.to_site_id)
            legs[ends] = Leg(*ends, route.hours, tuple(route.days), route.cold)
    centres = [site.id for site in is_open.values() if site.parent_id is None]
    ways = rules.fastest_ways(centres, legs.values())
    cold_ways = rules.fastest_ways(centres, (leg for leg in legs.values() if leg.cold))
    for site in is_open.values():
        site.way = _stored(ways.get(site.id))
        site.cold_way = _stored(cold_ways.get(site.id))


def _stored(way: Way | None) -> list[dict[str, Any]] | None:
    if way is None:
        return None
    return [
        {
            "from_id": str(leg.from_id),
            "to_id": str(leg.to_id),
            "hours": leg.hours,
            "days": list(leg.days),
            "cold": leg.cold,
        }
        for leg in way
    ]
