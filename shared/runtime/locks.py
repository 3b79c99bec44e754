"""Advisory locks: locks by name, not of a row."""

from sqlalchemy import ColumnElement, func, text
from sqlalchemy.orm import Session

_LOCK = text(
    "SELECT pg_advisory_xact_lock(hashtext(name)) FROM unnest(CAST(:names AS text[])) AS name"
)


def advisory_lock(session: Session, *names: str) -> None:
    """Lock `names` until the transaction ends; wait while another transaction holds one of them.

    The names are locked in sorted order: two transactions that need the same names cannot deadlock.
    On SQLite a writing transaction excludes all others, so nothing is locked.
    """
    connection = session.connection()  # on SQLite this begins the transaction
    if connection.dialect.name == "postgresql":
        # One statement: `unnest` returns the names in their order.
        session.execute(_LOCK, {"names": sorted(set(names))})


def locked_by(name: str) -> ColumnElement[None]:
    """Return the expression that takes the same lock as `advisory_lock`, inside a statement."""
    return func.pg_advisory_xact_lock(func.hashtext(name))
