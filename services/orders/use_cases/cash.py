"""Keep count of the cash that stations' clerks hold: taken, given back, handed on, written off."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Table, insert
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from services.orders.models import CashEntry, Custody, TillEntry
from services.orders.rules import cash
from shared import clock
from shared.ids import new_id

_ENTRIES = cast(Table, CashEntry.__table__)
_CUSTODIES = cast(Table, Custody.__table__)


def book_entries(session: Session, entries: Iterable[TillEntry]) -> None:
    """Book the cash that entries of journals, stored already, moved; in two statements."""
    now = clock.now()
    rows = []
    for entry in entries:
        amount_fen = cash.custody_fen(
            entry.kind, entry.status, entry.payment, entry.total_fen, entry.voided
        )
        if amount_fen and entry.clerk is not None:
            rows.append(
                _row(
                    entry.site_id,
                    entry.clerk,
                    entry.kind,
                    amount_fen,
                    now,
                    device_id=entry.device_id,
                    epoch=entry.epoch,
                    shift=entry.shift,
                    entry_id=entry.id,
                )
            )
    _book(session, rows)


def _row(
    site_id: UUID, clerk: str, cause: str, amount_fen: int, at: datetime, **facts: Any
) -> dict[str, Any]:
    return {
        "id": new_id(),
        "site_id": site_id,
        "clerk": clerk,
        "cause": str(cause),
        "amount_fen": amount_fen,
        "at": at,
        "device_id": None,
        "epoch": None,
        "shift": None,
        "entry_id": None,
        "remittance_id": None,
        "reason": None,
        "recorded_by": None,
    } | facts


def _book(session: Session, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    session.execute(insert(_ENTRIES), rows)
    changes: defaultdict[tuple[UUID, str], cash.Change] = defaultdict(cash.Change)
    for row in rows:
        changes[row["site_id"], row["clerk"]].add(row["cause"], row["amount_fen"])
    _change(session, changes)


def _change(session: Session, changes: Mapping[tuple[UUID, str], cash.Change]) -> None:
    """Add to clerks' custodies, and open those that there are not yet."""
    dialect = session.get_bind().dialect.name
    statement = (postgresql.insert if dialect == "postgresql" else sqlite.insert)(_CUSTODIES)
    counted = [column.name for column in _CUSTODIES.c if column.name.endswith("_fen")]
    rows = [
        {
            "id": cash.custody_id(site_id, clerk),
            "site_id": site_id,
            "clerk": clerk,
            **{name: getattr(change, name) for name in counted},
        }
        for (site_id, clerk), change in changes.items()
    ]
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["id"],
            set_={name: _CUSTODIES.c[name] + statement.excluded[name] for name in counted},
        ),
        # In id order: two tills with the same clerks could otherwise wait for each other.
        sorted(rows, key=lambda row: str(row["id"])),
    )
