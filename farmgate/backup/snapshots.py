"""Consistent snapshots of the databases: writers are locked out while all snapshots are taken.

Only transactions that record an event wait: on PostgreSQL the outbox is locked, on SQLite the
database. Readers go on. docs/decisions/0011 says why that is enough.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from sqlalchemy import Connection, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from farmgate.backup import programs
from farmgate.backup.manifest import OnProgress
from farmgate.failures import Failed, database_unreachable, reason_of
from shared.runtime.config import Settings
from shared.runtime.database import Database, DatabaseError, classify

#: Seconds within which all locks must be held; requests wait that long at most.
LOCK_SECONDS = 5.0
#: Attempts, and seconds between them.
TRIES, PAUSE = 3, 1.0
#: Pages of an SQLite database copied between two updates of the progress bar.
PAGES = 512


class Snapshot:
    """One service's database: `lock`, `take`, `unlock`, then `dump`; always `close` it."""

    def __init__(self, settings: Settings) -> None:
        self.service = settings.service
        self.kind = kind_of(settings)
        self._database = Database(settings.database_url)
        self._locker: Connection | None = None
        self._stack = ExitStack()
        self._stack.callback(self._database.close)
        #: PostgreSQL's name of the exported snapshot, for pg_dump.
        self._exported = ""

    def lock(self, seconds: float) -> None:
        """Lock out transactions that record events, until `unlock`.

        Raises:
            SQLAlchemyError: not within these seconds, or the database cannot be used.
        """
        self._locker = locker = self._stack.enter_context(self._database.engine.connect())
        limit = max(100, int(seconds * 1000))
        if self.kind == "sqlite":
            driver: Any = locker.connection.driver_connection
            driver.execute(f"PRAGMA busy_timeout={limit}")
            locker.begin()
        else:
            locker.execute(text(f"SET LOCAL lock_timeout = {limit}"))
            locker.execute(text("LOCK TABLE outbox IN SHARE MODE"))

    def take(self) -> None:
        """Begin the read transaction from which `metadata` and `dump` read."""
        reader = self._stack.enter_context(self._database.read_engine.connect())
        if self.kind == "sqlite":
            reader.execute(text("SELECT count(*) FROM sqlite_master"))  # begins the snapshot
        else:
            reader = reader.execution_options(isolation_level="REPEATABLE READ")
            # The last database waits until the others are copied.
            reader.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
            self._exported = str(reader.scalar(text("SELECT pg_export_snapshot()")))
        self._reader = reader

    def unlock(self) -> None:
        """Release the lock."""
        if self._locker is not None:
            # Rolls back; the pool does not get a connection with a changed time-out.
            self._locker.invalidate()
            self._locker.close()
            self._locker = None

    def metadata(self) -> dict[str, Any]:
        """Return revision, epoch, position and rows, by their names in a manifest."""
        return metadata_of(self._reader)

    def dump(self, path: Path, show: OnProgress) -> None:
        """Copy the snapshot into a new file.

        Raises:
            Failed: PostgreSQL's program is missing, or failed.
            OSError, SQLAlchemyError, sqlite3.Error: the copy cannot be written.
        """
        if self.kind == "sqlite":
            programs.copy_sqlite(self._reader.connection.driver_connection, path, PAGES, show)
        else:
            programs.dump_postgresql(self._database.url, self._exported, path, show)

    def close(self) -> None:
        """Release the lock and close all connections."""
        self.unlock()
        self._stack.close()


def kind_of(settings: Settings) -> str:
    """Return `sqlite` or `postgresql`."""
    return make_url(settings.database_url).get_backend_name()


def metadata_of(connection: Connection) -> dict[str, Any]:
    """Return a database's revision, epoch, position and rows, by their names in a manifest.

    Raises:
        Failed: the database was never migrated.
    """
    tables = sorted(inspect(connection).get_table_names())
    if "relay_state" not in tables or "alembic_version" not in tables:
        raise Failed(
            "A database has none of Farmgate's tables: run farmgate migrate, and check the "
            "addresses in FARMGATE_…_DATABASE_URL and FARMGATE_DATA."
        )
    state = connection.execute(text("SELECT epoch, position FROM relay_state")).first()
    return {
        "revision": str(connection.scalar(text("SELECT version_num FROM alembic_version"))),
        "epoch": state.epoch if state else 1,
        "position": state.position if state else 0,
        "rows": {
            table: int(connection.scalar(text(f'SELECT count(*) FROM "{table}"')) or 0)
            for table in tables
        },
    }


def take_all(snapshots: Sequence[Snapshot]) -> None:
    """Take all snapshots while no service can record an event.

    Raises:
        Failed: the locks could not be taken.
        Unreachable: a database cannot be used.
    """
    for attempt in range(1, TRIES + 1):
        deadline = monotonic() + LOCK_SECONDS
        try:
            for each in snapshots:
                _lock(each, deadline - monotonic())
            for each in snapshots:
                each.take()
            return
        except _LockTimeout as timeout:
            if attempt == TRIES:
                raise Failed(
                    f"The outbox of {timeout.service} could not be locked within "
                    f"{LOCK_SECONDS:.0f} s, {TRIES} times: a transaction there stays open. Nothing "
                    "was written. Run this again at a quieter time, or end that transaction."
                ) from timeout
        finally:
            for each in snapshots:
                each.unlock()
        sleep(PAUSE)


class _LockTimeout(Exception):
    """Raised when a database could not be locked in time."""

    def __init__(self, service: str) -> None:
        super().__init__(service)
        self.service = service


def _lock(snapshot: Snapshot, seconds: float) -> None:
    try:
        snapshot.lock(seconds)
    except SQLAlchemyError as error:
        if classify(error) is DatabaseError.DEADLOCK or "locked" in reason_of(error):
            raise _LockTimeout(snapshot.service) from error
        raise database_unreachable(snapshot.service, error, migrate=True) from error
