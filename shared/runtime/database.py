"""One service's database: sessions for writing, sessions for reading, and the kinds of errors.

Edges open transactions; use cases take a session and never commit. On SQLite a writing transaction
begins IMMEDIATE: with a plain BEGIN, of two writers that both read first one would fail at once.
"""

import threading
from collections.abc import Callable
from enum import Enum
from time import monotonic
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, InvalidatePoolError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import sessionmaker as make_sessions

from shared.runtime import database_errors  # noqa: F401 (hides values)
from shared.runtime.watchdog import Limit, unlimited

#: Seconds after which PostgreSQL rolls back an idle transaction: its process was suspended.
SILENT_SECONDS = 60
#: Seconds for which a connection that was in use is taken again without asking the server.
UNPINGED_SECONDS = 1.0


class DatabaseError(Enum):
    """The kinds of database errors, by the reaction to them."""

    #: A deadlock or a lock time-out: retry at once.
    DEADLOCK = "deadlock"
    #: The database is unreachable or not operational: retry later.
    UNAVAILABLE = "away"
    #: Anything else: a retry would fail in the same way.
    OTHER = "other"


#: SQLSTATEs. Source: PostgreSQL 15, appendix A.
_DEADLOCK = ("40P01", "40001", "55P03")
#: Connection exceptions, insufficient resources, operator intervention, a read-only standby.
_UNAVAILABLE = ("08", "53", "57P", "25006", "25P03", "58")
_SQLITE_UNAVAILABLE = ("locked", "busy", "disk i/o", "unable to open", "disk is full", "readonly")


def classify(error: BaseException) -> DatabaseError:
    """Return the kind of a transaction's error."""
    if isinstance(error, PoolTimeout):
        return DatabaseError.UNAVAILABLE
    if not isinstance(error, DBAPIError):
        return DatabaseError.OTHER
    state = getattr(error.orig, "sqlstate", None)
    if state in _DEADLOCK:
        return DatabaseError.DEADLOCK
    if error.connection_invalidated or (state and state.startswith(_UNAVAILABLE)):
        return DatabaseError.UNAVAILABLE
    # An error without a state: there is no connection. Includes psycopg's ConnectionTimeout.
    if isinstance(error, OperationalError) and state is None:
        text = str(error.orig).lower()
        module = type(error.orig).__module__
        if module.startswith("sqlite3"):
            return (
                DatabaseError.UNAVAILABLE
                if any(w in text for w in _SQLITE_UNAVAILABLE)
                else DatabaseError.OTHER
            )
        return DatabaseError.UNAVAILABLE
    return DatabaseError.OTHER


def postgres_arguments(*options: str) -> dict[str, Any]:
    """Return the arguments of every connection to PostgreSQL; `options` are settings `name=value`.

    A client detects a dead server within 25 s: by keepalives while it waits for an answer, by the
    TCP user time-out while it sends. The server detects a dead client in the same time and releases
    its locks.
    """
    options = (
        "timezone=UTC",
        # A plan for any parameters may scan a table that was empty when the plan was made.
        "plan_cache_mode=force_custom_plan",
        "tcp_keepalives_idle=10",
        "tcp_keepalives_interval=5",
        "tcp_keepalives_count=3",
        *options,
    )
    return {
        "connect_timeout": 5,
        "options": " ".join(f"-c {option}" for option in options),
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 25_000,
    }


class Recorded(threading.Event):
    """That events were recorded; `on_set` is called, too, for a loop that cannot wait here."""

    on_set: Callable[[], None] | None = None

    def set(self) -> None:
        """Wake who waits."""
        super().set()
        if self.on_set is not None:
            self.on_set()


class Database:
    """One service's database: `sessions` for writing, `readers` for reading.

    Objects that a session loaded stay usable after the commit. Savepoints are not used.
    """

    def __init__(
        self, url: str, *, statement_seconds: int | None = None, lock_seconds: int | None = None
    ) -> None:
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        #: The context of each unit of work. A supervised process sets a time limit: a server that
        #: accepts a statement and never answers raises no error.
        self.limit: Limit = unlimited
        #: Set after each commit that recorded events; it wakes the relay.
        self.recorded = Recorded()
        if self.is_sqlite:
            self.engine = _sqlite(url, "BEGIN IMMEDIATE")
            self.read_engine = _sqlite(url, "BEGIN")
        else:
            options = [f"idle_in_transaction_session_timeout={SILENT_SECONDS * 1000}"]
            if statement_seconds is not None:
                options.append(f"statement_timeout={statement_seconds * 1000}")
            if lock_seconds is not None:
                options.append(f"lock_timeout={lock_seconds * 1000}")
            self.engine = create_engine(
                url,
                pool_size=10,
                max_overflow=10,
                hide_parameters=True,  # errors are logged, and parameters hold contact data
                connect_args=postgres_arguments(*options),
            )
            # psycopg pipelines the rows of an `executemany`. A process that is suspended halfway
            # would keep its locks for ever: its session waits for the rest of the statement, and no
            # time-out of PostgreSQL 15 counts this as idle.
            self.engine.dialect.use_insertmanyvalues_wo_returning = True
            event.listen(self.engine, "connect", _send_lists_in_binary)
            _ping_after_silence(self.engine)
            self.read_engine = self.engine
        self.sessions = make_sessions(self.engine, expire_on_commit=False)
        self.readers = make_sessions(self.read_engine, expire_on_commit=False)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()
        self.read_engine.dispose()


def _send_lists_in_binary(connection: Any, record: Any) -> None:
    """Let psycopg send lists in binary: in text it searches each item for what it must escape."""
    from psycopg.types.array import ListBinaryDumper

    connection.adapters.register_dumper(list, ListBinaryDumper)


def _ping_after_silence(engine: Engine) -> None:
    """Replace a pool's connections whose server has gone, unless they were just in use.

    `pool_pre_ping` asks before each transaction, which is a tenth of a small one. What was in use a
    moment ago has met the server's end itself, and the pool with it.
    """

    @event.listens_for(engine, "checkin")
    def note(connection: Any, record: Any) -> None:
        record.info["used_at"] = monotonic()

    @event.listens_for(engine, "checkout")
    def ping(connection: Any, record: Any, proxy: Any) -> None:
        used_at = record.info.get("used_at")
        if used_at is None or monotonic() - used_at < UNPINGED_SECONDS:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error


def _sqlite(url: str, begin: str) -> Engine:
    engine = create_engine(
        url, pool_size=10, max_overflow=20, hide_parameters=True, connect_args={"timeout": 30}
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, record: Any) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def start(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    return engine
