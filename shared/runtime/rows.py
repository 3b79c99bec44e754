"""Rows that a transaction has locked, known by a unique column.

A handler sees one event, yet a batch must not cost a query an event. So `prepare` functions
lock what a whole batch needs in one statement, and handlers ask `locked`, which then needs none.
"""

from collections.abc import Iterable
from typing import Any, TypeVar

from sqlalchemy import select, text
from sqlalchemy.orm import InstrumentedAttribute, Session

T = TypeVar("T")

#: Values in one statement; the databases take 32,766 (SQLite) and 65,535 (PostgreSQL).
MOST_VALUES = 30_000


def lock_rows(
    session: Session, column: InstrumentedAttribute[T], values: Iterable[T], *options: Any
) -> None:
    """Lock and load, in one statement, the rows of `column`'s model whose `column` is in `values`.

    `column` must be unique. Rows are locked in its order, so that two transactions that need
    the same rows cannot wait for each other. A value without a row is remembered as missing.
    """
    known: dict[T, Any] = session.info.setdefault(("rows", column.key, column.class_), {})
    wanted = sorted({value for value in values if value not in known}, key=str)
    if not wanted:
        return
    known.update(dict.fromkeys(wanted))
    for start in range(0, len(wanted), MOST_VALUES):
        statement = (
            select(column.class_)
            .where(column.in_(wanted[start : start + MOST_VALUES]))
            .order_by(column)
            .options(*options)
            .with_for_update()
            .execution_options(populate_existing=True)
        )
        for row in session.scalars(statement):
            known[getattr(row, column.key)] = row


def locked(session: Session, column: InstrumentedAttribute[T], value: T) -> Any | None:
    """Return the row with this `column` value, locked until the transaction ends, or None.

    Needs no statement when `lock_rows` or `remember` has seen the value before.
    """
    lock_rows(session, column, (value,))
    return session.info["rows", column.key, column.class_][value]


def remember(session: Session, column: InstrumentedAttribute[T], row: Any) -> None:
    """Add a new row to the session such that `locked` finds it before it is flushed."""
    session.add(row)
    known: dict[T, Any] = session.info.setdefault(("rows", column.key, column.class_), {})
    known[getattr(row, column.key)] = row


_TURNS = text(
    "SELECT pg_advisory_xact_lock(hashtext(name)) FROM unnest(CAST(:names AS text[])) AS name"
)


def take_turns(session: Session, *names: str) -> None:
    """Wait until no other transaction of this database holds one of `names`; held until the commit.

    They are waited for in their order, so that two who need the same ones cannot wait for each
    other. On SQLite every writer already excludes all others.
    """
    connection = session.connection()  # on SQLite this begins the transaction, and so the turn
    if connection.dialect.name == "postgresql":
        # One statement, and from first to last: the set is handed out in its order.
        session.execute(_TURNS, {"names": sorted(set(names))})
