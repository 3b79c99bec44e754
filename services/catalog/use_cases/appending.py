"""Rows that a transaction adds and never changes: inserted in one statement per table.

They need no objects, which makes a batch of 500 orders a third cheaper. A row is written by
the next flush, so after the new objects it refers to, and with the balances it explains.
"""

from typing import Any

from sqlalchemy import Table, event, insert
from sqlalchemy.orm import Session

from services.catalog.models import Base


def append(session: Session, model: type[Base], **row: Any) -> None:
    """Add one row, with all its columns, at the next flush.

    The caller has changed an object of the session too: a flush without changes writes nothing.
    """
    table = model.__table__
    assert isinstance(table, Table)
    rows: dict[Table, list[dict[str, Any]]] = session.info.setdefault("appended", {})
    rows.setdefault(table, []).append(row)


def write_appended(session: Session, *_: object) -> None:
    """Insert what was appended so far, in one statement per table."""
    for table, rows in session.info.pop("appended", {}).items():
        session.connection().execute(insert(table), rows)


event.listen(Session, "after_flush", write_appended)
