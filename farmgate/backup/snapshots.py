"""One database at one moment: held for an instant, then copied while its writers go on.

Only who records an event is held: the outbox is locked, and on SQLite every writer. Readers go
on. See docs/decisions, 0011, for why that is enough.
"""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from sqlalchemy import Connection, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from farmgate.backup import programs
from farmgate.backup.manifest import Show
from farmgate.failures import Failed, Unreachable
from shared.runtime.config import Settings
from shared.runtime.database import Database, DatabaseError, classify

#: Seconds in which all writers must be held: requests wait that long at most.
HOLD_SECONDS = 5.0
#: How often it is tried, and seconds between.
TRIES, PAUSE = 3, 1.0
#: Pages of an SQLite database copied between two words of progress.
PAGES = 512


class Snapshot:
    """One service's database: `hold`, `freeze`, `let_go`, then `dump`; `close` in any case."""

    def __init__(self, settings: Settings) -> None:
        self.service = settings.service
        self.kind = kind_of(settings)
        self._database = Database(settings.database_url)
        self._holder: Connection | None = None
        self._stack = ExitStack()
        self._stack.callback(self._database.close)
        #: Name by which PostgreSQL's programs read at this moment.
        self._exported = ""

    def hold(self, seconds: float) -> None:
        """Let no event be recorded from now on.

        Raises:
            SQLAlchemyError: not within these seconds, or the database cannot be used.
        """
        self._holder = holder = self._stack.enter_context(self._database.engine.connect())
        limit = max(100, int(seconds * 1000))
        if self.kind == "sqlite":
            driver: Any = holder.connection.driver_connection
            driver.execute(f"PRAGMA busy_timeout={limit}")
            holder.begin()
        else:
            holder.execute(text(f"SET LOCAL lock_timeout = {limit}"))
            holder.execute(text("LOCK TABLE outbox IN SHARE MODE"))

    def freeze(self) -> None:
        """Keep what the database holds now, for `facts` and `dump`."""
        frozen = self._stack.enter_context(self._database.read_engine.connect())
        if self.kind == "sqlite":
            frozen.execute(text("SELECT count(*) FROM sqlite_master"))  # a snapshot begins so
        else:
            frozen = frozen.execution_options(isolation_level="REPEATABLE READ")
            # The last database may wait long for its turn to be copied.
            frozen.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
            self._exported = str(frozen.scalar(text("SELECT pg_export_snapshot()")))
        self._frozen = frozen

    def let_go(self) -> None:
        """Let writers go on."""
        if self._holder is not None:
            self._holder.invalidate()  # rolled back, and without the changed time-out
            self._holder.close()
            self._holder = None

    def facts(self) -> dict[str, Any]:
        """Return revision, epoch, position and rows, by their names in a manifest."""
        return facts_of(self._frozen)

    def dump(self, path: Path, show: Show) -> None:
        """Copy the database as it was when frozen into a new file.

        Raises:
            Failed: PostgreSQL's program is missing, or failed.
            OSError, SQLAlchemyError, sqlite3.Error: the copy cannot be written.
        """
        if self.kind == "sqlite":
            programs.copy_sqlite(self._frozen.connection.driver_connection, path, PAGES, show)
        else:
            programs.dump_postgresql(self._database.url, self._exported, path, show)

    def close(self) -> None:
        """Give everything back."""
        self.let_go()
        self._stack.close()


def kind_of(settings: Settings) -> str:
    """Return `sqlite` or `postgresql`."""
    return make_url(settings.database_url).get_backend_name()


def facts_of(connection: Connection) -> dict[str, Any]:
    """Return revision, epoch, position and rows of a database, by their names in a manifest."""
    tables = sorted(inspect(connection).get_table_names())
    if "relay_state" not in tables or "alembic_version" not in tables:
        raise Failed(
            "A database has no tables of ours, or was never migrated: run farmgate migrate, and "
            "check the addresses in FARMGATE_…_DATABASE_URL and FARMGATE_DATA."
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


def freeze_all(snapshots: Sequence[Snapshot]) -> None:
    """Freeze all databases at one moment: no event is recorded between the first and the last.

    Raises:
        Failed: their writers could not be held.
        Unreachable: a database cannot be used.
    """
    for attempt in range(1, TRIES + 1):
        deadline = monotonic() + HOLD_SECONDS
        try:
            for each in snapshots:
                _hold(each, deadline - monotonic())
            for each in snapshots:
                each.freeze()
            return
        except _Busy as busy:
            if attempt == TRIES:
                raise Failed(
                    f"The writers of {busy.service} could not be held within {HOLD_SECONDS:.0f} s, "
                    f"{TRIES} times: a transaction there is open for long. Nothing was written. "
                    "Run this again when less is going on, or look for who holds its outbox."
                ) from busy
        finally:
            _let_go(snapshots)
        sleep(PAUSE)


class _Busy(Exception):
    """Raised when a database's writers could not be held."""

    def __init__(self, service: str) -> None:
        super().__init__(service)
        self.service = service


def _hold(snapshot: Snapshot, seconds: float) -> None:
    try:
        snapshot.hold(seconds)
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip()
        if classify(error) is DatabaseError.DEADLOCK or "locked" in reason:
            raise _Busy(snapshot.service) from error
        name = snapshot.service
        raise Unreachable(
            f"The database of {name} cannot be used: {reason}\n"
            f"Check FARMGATE_{name.upper()}_DATABASE_URL, and run: farmgate migrate {name}"
        ) from error


def _let_go(snapshots: Iterable[Snapshot]) -> None:
    for each in snapshots:
        each.let_go()
