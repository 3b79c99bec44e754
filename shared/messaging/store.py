"""The relay's access to the outbox: read events without a position, oldest first, and mark them.

One writer assigns positions in the order of the rows, so a reader that follows positions skips
nothing. On PostgreSQL one connection holds the relay's lock, reads and marks: a relay that loses
the lock has lost the connection, and cannot mark.
"""

import json
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import islice
from uuid import UUID

from sqlalchemy import BigInteger, Connection, bindparam, create_engine, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import DBAPIError

from shared.runtime import tracing
from shared.runtime.clock import now
from shared.runtime.database import Database, postgres_arguments
from shared.runtime.tables import UtcDateTime

#: Rows read, published and marked at once.
BATCH = 500
#: Spans of one batch at most. Usual batches are smaller; under full load a span per event would
#: cost as much as its publishing.
TRACED = 50
#: Seconds of silence after which the server ends the relay's session and its lock: the process or
#: its machine was stopped. Longer than the relay waits for confirms.
SILENT_SECONDS = 30

_WAITING = text(
    "SELECT id, event_id, type, body, traceparent FROM outbox "
    "WHERE position IS NULL ORDER BY id LIMIT :limit"
)
_ADVANCE = text("UPDATE relay_state SET position = position + :n RETURNING position")
_MARK_ON_SQLITE = text(
    "UPDATE outbox SET position = :first + b.key, published_at = :at "
    "FROM json_each(:ids) AS b WHERE outbox.id = b.value AND outbox.position IS NULL"
).bindparams(bindparam("at", type_=UtcDateTime()))
# One statement is a transaction by itself, and a relay marks some hundred times a second. The
# division fails, and undoes the statement, unless all rows were marked.
_MARK_ON_POSTGRESQL = text(
    "WITH advanced AS"
    " (UPDATE relay_state SET position = position + :n RETURNING position - :n AS p),"
    " marked AS (UPDATE outbox o SET position = advanced.p + b.n, published_at = :at"
    " FROM advanced, unnest(:ids) WITH ORDINALITY AS b(id, n)"
    " WHERE o.id = b.id AND o.position IS NULL RETURNING 1)"
    " SELECT 1 / (count(*) = :n)::int FROM marked"
).bindparams(
    bindparam("n", type_=BigInteger),
    bindparam("at", type_=UtcDateTime()),
    bindparam("ids", type_=ARRAY(BigInteger)),
)
_DIVISION_BY_ZERO = "22012"


@dataclass(frozen=True, slots=True)
class Waiting:
    """One event that is not confirmed by the broker yet."""

    id: int
    event_id: UUID
    type: str
    body: bytes
    traceparent: str | None


def trace_published(service: str, rows: Sequence[Waiting], began_ns: int) -> None:
    """Add a span for each published event, if traces are exported.

    `began_ns` is from `time.time_ns()`. One span per event, not per batch: a trace shows when its
    own event was published.
    """
    if not tracing.exporting():
        return
    for row in islice((row for row in rows if tracing.sampled(row.traceparent)), TRACED):
        tracing.ended(
            service,
            f"publish {row.type}",
            "producer",
            {"messaging.message.id": str(row.event_id)},
            traceparent=row.traceparent,
            began_ns=began_ns,
        )


class LockLost(RuntimeError):
    """Raised when another relay marked some of the rows: this one must stop."""


class Store:
    """The relay's connection to the outbox; `close` releases the lock."""

    def __init__(self, database: Database) -> None:
        self._sqlite = database.is_sqlite
        with ExitStack() as stack:
            if self._sqlite:
                self._writer = stack.enter_context(database.engine.connect())
                self._reader = stack.enter_context(database.read_engine.connect())
            else:
                engine = create_engine(
                    database.url,
                    pool_size=1,
                    max_overflow=0,
                    hide_parameters=True,
                    # A read and a mark are one statement each, and so one round trip.
                    isolation_level="AUTOCOMMIT",
                    connect_args=postgres_arguments(
                        # Below the broker's heartbeat, since it runs in the relay's I/O loop.
                        "statement_timeout=10000",
                        f"idle_session_timeout={SILENT_SECONDS * 1000}",
                        # Only a plain index scan drops from the index of waiting rows what was
                        # marked since; a bitmap scan visits it again until the next vacuum.
                        "enable_bitmapscan=off",
                    ),
                )
                stack.callback(engine.dispose)
                self._writer = self._reader = stack.enter_context(engine.connect())
                # In the pool the connection would still hold the lock.
                stack.callback(_invalidate, self._writer)
            with self._writer.begin():
                self._writer.execute(
                    text(
                        "INSERT INTO relay_state (id, epoch, position) VALUES (1, 1, 0) "
                        "ON CONFLICT (id) DO NOTHING"
                    )
                )
            self._open = stack.pop_all()

    def try_lock(self) -> bool:
        """Become the service's active relay; return False while another one is."""
        if self._sqlite:
            return True  # the embedded mode has one process, see farmgate's lock file
        with self._writer.begin():
            statement = text("SELECT pg_try_advisory_lock(hashtext('relay'))")
            return bool(self._writer.scalar(statement))

    def waiting(self, limit: int = BATCH) -> list[Waiting]:
        """Return up to `limit` events that have no position yet, oldest first."""
        with self._reader.begin():
            return [
                Waiting(row.id, _uuid(row.event_id), row.type, bytes(row.body), row.traceparent)
                for row in self._reader.execute(_WAITING, {"limit": limit})
            ]

    def mark(self, rows: Sequence[Waiting]) -> None:
        """Give the rows the next positions, in their order, in one transaction.

        Raises:
            LockLost: another relay marked one of them; nothing is changed.
        """
        if not rows:
            return
        ids = [row.id for row in rows]
        with self._writer.begin():
            if self._sqlite:
                self._mark_on_sqlite(ids)
            else:
                self._mark_on_postgresql(ids)

    def _mark_on_postgresql(self, ids: Sequence[int]) -> None:
        try:
            self._writer.execute(_MARK_ON_POSTGRESQL, {"n": len(ids), "ids": ids, "at": now()})
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) == _DIVISION_BY_ZERO:
                raise LockLost(f"some of {len(ids)} events were marked before") from error
            raise

    def _mark_on_sqlite(self, ids: Sequence[int]) -> None:
        last = self._writer.execute(_ADVANCE, {"n": len(ids)}).scalar_one()
        marked = self._writer.execute(
            _MARK_ON_SQLITE,
            {"first": last - len(ids) + 1, "ids": json.dumps(ids), "at": now()},
        ).rowcount
        if marked != len(ids):
            raise LockLost(f"{len(ids) - marked} of {len(ids)} events were marked before")

    def close(self) -> None:
        """Close the connection, which releases the lock."""
        with suppress(DBAPIError):
            self._open.close()


def _invalidate(connection: Connection) -> None:
    if not connection.closed:
        connection.invalidate()


def _uuid(value: UUID | str) -> UUID:
    return value if isinstance(value, UUID) else UUID(value)
