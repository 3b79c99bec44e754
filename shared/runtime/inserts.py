"""INSERT … ON CONFLICT, which both databases have and SQLAlchemy offers per dialect only."""

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

Insert = postgresql.Insert | sqlite.Insert


def insert(session: Session, table: Table) -> Insert:
    """Return an INSERT into `table` that may go on with `on_conflict_do_…`, for this database."""
    if session.get_bind().dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)
