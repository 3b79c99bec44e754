"""A lock for work that one process of a service does at a time, for as long as it lives."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import NullPool, create_engine, text

from shared.runtime.database import Database, postgres_arguments
from shared.runtime.supervision import Stopping

#: Seconds between attempts to get the lock while another process holds it.
STAND_BY = 1.0
#: Seconds of silence after which the server ends the session and its lock. More than a timer
#: takes, since the session is silent while one runs.
SILENT_SECONDS = 660


@contextmanager
def leading(database: Database, name: str, stopping: Stopping) -> Iterator[Callable[[], None]]:
    """Wait for the lock `name` of this service; yields a function that checks it.

    The lock lives as long as its connection; the check raises when that is gone. The embedded mode
    has one process and needs no lock.

    Raises:
        Stopped: the process must stop.
    """
    if database.is_sqlite:
        yield lambda: None
        return
    arguments = postgres_arguments(
        "statement_timeout=10000", f"idle_session_timeout={SILENT_SECONDS * 1000}"
    )
    # No pool, since closing the connection must release the lock.
    engine = create_engine(database.url, poolclass=NullPool, connect_args=arguments)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        lock = text("SELECT pg_try_advisory_lock(hashtext(:name))")
        while not connection.scalar(lock, {"name": name}):
            stopping.pause(STAND_BY)
        yield lambda: connection.execute(text("SELECT 1")).close()
