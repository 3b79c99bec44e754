"""INSERT … ON CONFLICT: both databases have it, but SQLAlchemy offers it only per dialect."""

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

Insert = postgresql.Insert | sqlite.Insert


def insert(session: Session, table: Table) -> Insert:
    """Return an INSERT into `table`, in the session's dialect, that has `on_conflict_do_…`."""
    if session.get_bind().dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)
