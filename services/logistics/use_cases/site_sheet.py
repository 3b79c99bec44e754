"""Sites as CSV: one row per site, with the code of its parent."""

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from services.logistics import rules
from services.logistics.batch import LogisticsBatch
from services.logistics.models import Site
from services.logistics.use_cases import site_tree
from services.logistics.use_cases.ways import lock_network
from shared.events import SITE_LEVELS
from shared.runtime.errors import FarmgateError
from shared.runtime.spreadsheets import Outcome, Row, Sheet

_NAMES = {"name_zh": "zh", "name_bo": "bo", "name_en": "en"}
_FACTS = ("latitude", "longitude", "opening_hours")


def import_sites(batch: LogisticsBatch, sheet: Sheet, dry_run: bool) -> Outcome:
    """Open the sites of a file, or change those that are open; none is moved or closed.

    A column that the file does not have leaves its values as they are; an empty cell clears one.

    Raises:
        ImportRefused: a row is wrong; nothing was written.
    """
    outcome = sheet.outcome(dry_run)
    lock_network(batch.session)
    existing = {site.code: site for site in batch.session.scalars(select(Site))}
    codes = {site.id: site.code for site in existing.values()}
    levels: dict[str, str] = {code: site.level for code, site in existing.items()}
    levels |= {row.cells["site"]: row.cells["level"] for row in sheet.rows}
    first_lines: dict[str, int] = {}
    for row in sheet.rows:
        code = row.cells["site"]
        first = first_lines.setdefault(code, row.line)
        if first != row.line:
            outcome.add_error(row.line, "site", f"{code} is in line {first} already")
        elif code in existing:
            _check_existing(row, existing[code], codes, outcome)
        else:
            _check_new(row, existing, levels, outcome)
    outcome.refuse_errors()
    if not outcome.errors:
        _write(batch, sheet.rows, existing, outcome)
    return outcome


def _check_existing(row: Row, site: Site, codes: dict[Any, str], outcome: Outcome) -> None:
    parent = None if site.parent_id is None else codes[site.parent_id]
    if row.cells["level"] != site.level:
        outcome.add_error(
            row.line, "level", f"{site.code} is a {site.level}; an import moves no site"
        )
    if row.cells.get("parent_code", parent) != parent:
        message = f"{site.code} is below {parent}; an import moves no site"
        outcome.add_error(row.line, "parent_code", message)
    if site.closed_at is not None and _changes(row, site):
        outcome.add_error(row.line, "site", f"{site.code} is closed and takes nothing new")


def _check_new(
    row: Row, existing: dict[str, Site], levels: Mapping[str, str], outcome: Outcome
) -> None:
    code, parent = row.cells["site"], row.cells.get("parent_code")
    if parent is not None and parent not in levels:
        outcome.add_error(
            row.line, "parent_code", f"no site {parent}, neither here nor in the file"
        )
        return
    try:
        rules.check_level(code, row.cells["level"], None if parent is None else levels[parent])
    except FarmgateError as error:
        outcome.add_error(row.line, "parent_code", error.detail)
    if parent in existing and existing[parent].closed_at is not None:
        outcome.add_error(row.line, "parent_code", f"{parent} is closed; no site can open under it")


def _changes(row: Row, site: Site | None) -> dict[str, Any]:
    """Return the values in a row that differ from those of the site."""
    facts: dict[str, Any] = {name: row.cells[name] for name in _FACTS if name in row.cells}
    names = {} if site is None else dict(site.names)
    names |= {key: row.cells[name] for name, key in _NAMES.items() if name in row.cells}
    facts["names"] = {key: name for key, name in names.items() if name is not None}
    if site is None:
        return facts
    return {name: value for name, value in facts.items() if getattr(site, name) != value}


def _write(
    batch: LogisticsBatch, rows: list[Row], existing: dict[str, Site], outcome: Outcome
) -> None:
    new = []
    for row in rows:
        site = existing.get(row.cells["site"])
        changes = _changes(row, site)
        if site is None:
            outcome.created += 1
            facts = {"code": row.cells["site"], "level": row.cells["level"]}
            new.append(facts | {"parent_code": row.cells.get("parent_code")} | changes)
        elif not changes:
            outcome.unchanged += 1
        else:
            outcome.changed += 1
            outcome.add_changes(
                row.line, site.code, {name: getattr(site, name) for name in changes}, changes
            )
            if not outcome.dry_run:
                site_tree.change_site(batch, site.id, **changes)
    if new and not outcome.dry_run:
        site_tree.open_sites(batch, new)


def export_sites(session: Session) -> Iterator[tuple[Any, ...]]:
    """Return the open sites as `import_sites` takes them, each parent before its children."""
    parent = aliased(Site)
    sites = session.execute(
        select(Site, parent.code)
        .outerjoin(parent, parent.id == Site.parent_id)
        .where(Site.closed_at.is_(None))
        .order_by(Site.code)
    ).all()
    for site, parent_code in sorted(sites, key=lambda row: SITE_LEVELS.index(row[0].level)):
        yield (
            site.code,
            site.level,
            parent_code,
            *(site.names.get(key) for key in _NAMES.values()),
            *(getattr(site, name) for name in _FACTS),
        )
