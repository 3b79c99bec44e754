"""Locks of the database that are no row's."""

from sqlalchemy import text
from sqlalchemy.orm import Session

_LOCK = text(
    "SELECT pg_advisory_xact_lock(hashtext(name)) FROM unnest(CAST(:names AS text[])) AS name"
)


def advisory_lock(session: Session, *names: str) -> None:
    """Wait until no other transaction of this database holds one of `names`; held until the commit.

    They are locked in their order, so that two transactions that need the same ones cannot wait
    for each other. On SQLite every writer already excludes all others.
    """
    connection = session.connection()  # on SQLite this begins the transaction
    if connection.dialect.name == "postgresql":
        # One statement, and from first to last: the set is handed out in its order.
        session.execute(_LOCK, {"names": sorted(set(names))})
