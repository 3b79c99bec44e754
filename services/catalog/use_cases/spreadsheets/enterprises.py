"""Enterprises as CSV: one row per farmer, cooperative or company."""

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.catalog.batch import CatalogBatch
from services.catalog.models import Enterprise
from services.catalog.use_cases.goods.enterprises import record_contact
from shared.runtime.ids import new_id
from shared.runtime.locks import advisory_lock
from shared.runtime.spreadsheets import Outcome, Row, Sheet

_NAMES = {"name_zh": "zh", "name_bo": "bo", "name_en": "en"}
_FACTS = ("region_code", "licence_no")


def import_enterprises(
    batch: CatalogBatch, sheet: Sheet, contacts: Mapping[int, Mapping[str, Any]], dry_run: bool
) -> Outcome:
    """Register the enterprises of a file, or change those that are there; none is removed.

    A column that the file does not have leaves its values as they are; an empty cell clears one.
    `contacts` says by line how to reach an enterprise; that is passed on each time and not kept.

    Raises:
        ImportRefused: a row is wrong; nothing was written.
    """
    outcome = sheet.outcome(dry_run)
    advisory_lock(batch.session, "enterprises")
    batch.load_for_update(Enterprise.code, {row.cells["enterprise"] for row in sheet.rows})
    first_lines: dict[str, int] = {}
    for row in sheet.rows:
        code = row.cells["enterprise"]
        first = first_lines.setdefault(code, row.line)
        if first != row.line:
            outcome.add_error(row.line, "enterprise", f"is in line {first} already")
        known: Enterprise | None = batch.get_for_update(Enterprise.code, code)
        lost = set(known.roles if known else ()).difference(row.cells["roles"])
        if lost:
            # Lots and shares rest on a role.
            message = f"{code} is {', '.join(sorted(lost))}; an import takes no role away"
            outcome.add_error(row.line, "roles", message)
    outcome.refuse_errors()
    if not outcome.errors:
        for row in sheet.rows:
            _put(batch, row, contacts.get(row.line), outcome)
    return outcome


def _put(
    batch: CatalogBatch, row: Row, contact: Mapping[str, Any] | None, outcome: Outcome
) -> None:
    code = row.cells["enterprise"]
    enterprise: Enterprise | None = batch.get_for_update(Enterprise.code, code)
    facts: dict[str, Any] = {name: row.cells[name] for name in _FACTS if name in row.cells}
    names = {} if enterprise is None else dict(enterprise.names)
    names |= {key: row.cells[name] for name, key in _NAMES.items() if name in row.cells}
    facts["names"] = {key: name for key, name in names.items() if name is not None}
    facts["roles"] = sorted(set(row.cells["roles"]))
    new = enterprise is None
    if enterprise is None:
        outcome.created += 1
        enterprise = Enterprise(
            id=new_id(), code=code, version=0, memberships=[], **dict.fromkeys(_FACTS), roles=[]
        )
    else:
        before = {name: getattr(enterprise, name) for name in facts}
        if outcome.add_changes(row.line, code, before, facts):
            outcome.changed += 1
        else:
            outcome.unchanged += 1
    if outcome.dry_run:
        return
    for name, value in facts.items():
        setattr(enterprise, name, value)
    if new:
        batch.track(Enterprise.code, enterprise)
    if contact is not None:
        record_contact(batch, enterprise, **contact)


def export_enterprises(session: Session) -> Iterator[tuple[Any, ...]]:
    """Return all enterprises in the format of `import_enterprises`, without their contacts."""
    for each in session.scalars(select(Enterprise).order_by(Enterprise.code)):
        yield (
            each.code,
            *(each.names.get(key) for key in _NAMES.values()),
            each.roles,
            each.region_code,
            each.licence_no,
            None,
            None,
        )
