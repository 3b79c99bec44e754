"""What a relay reads and marks: events without a position, oldest first.

Positions are handed out in the order of the rows, by one writer, so that a reader who follows
them can skip nothing. On PostgreSQL one connection holds the relay's lock, reads and marks:
whoever has lost the lock has lost the connection, and cannot mark.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError

from shared.clock import now
from shared.database import Database

#: Rows read, published and marked at once.
BATCH = 500


@dataclass(frozen=True, slots=True)
class Waiting:
    """One event that every bound queue has yet to take."""

    id: int
    event_id: UUID
    type: str
    body: bytes
    traceparent: str | None


class LostTurn(RuntimeError):
    """Raised when rows were marked by somebody else: there are two relays; this one must stop."""


class Store:
    """The relay's way to the outbox; `close` gives the lock back."""

    def __init__(self, database: Database) -> None:
        self._sqlite = database.is_sqlite
        self._engine = (
            database.engine
            if self._sqlite
            else create_engine(
                database.url,
                pool_size=1,
                max_overflow=0,
                connect_args={
                    "connect_timeout": 5,
                    # Below the broker's heartbeat: this runs inside the relay's I/O loop.
                    "options": "-c statement_timeout=10000 -c timezone=UTC",
                    "keepalives_idle": 10,
                    "keepalives_interval": 5,
                    "keepalives_count": 3,
                },
            )
        )
        self._connection: Connection | None = None
        try:
            self._connection = self._engine.connect()
            with self._connection.begin():
                self._connection.execute(
                    text(
                        "INSERT INTO relay_state (id, epoch, position) VALUES (1, 1, 0) "
                        "ON CONFLICT (id) DO NOTHING"
                    )
                )
        except BaseException:
            self.close()
            raise

    @property
    def connection(self) -> Connection:
        assert self._connection is not None
        return self._connection

    def try_lock(self) -> bool:
        """Become the one active relay of this service; False: another one is."""
        if self._sqlite:
            return True  # the embedded mode has one process, see farmgate's lock file
        with self.connection.begin():
            statement = text("SELECT pg_try_advisory_lock(hashtext('relay'))")
            return bool(self.connection.scalar(statement))

    def waiting(self, limit: int = BATCH) -> list[Waiting]:
        """Return up to `limit` events that have no position yet, oldest first."""
        statement = text(
            "SELECT id, event_id, type, body, traceparent FROM outbox "
            "WHERE position IS NULL ORDER BY id LIMIT :limit"
        )
        with self.connection.begin():
            return [
                Waiting(row.id, _uuid(row.event_id), row.type, bytes(row.body), row.traceparent)
                for row in self.connection.execute(statement, {"limit": limit})
            ]

    def mark(self, rows: Sequence[Waiting]) -> None:
        """Give the rows the next positions, in their order, in one transaction.

        Raises:
            LostTurn: somebody else marked one of them; nothing was changed.
        """
        if not rows:
            return
        with self.connection.begin():
            last = self.connection.scalar(
                text("UPDATE relay_state SET position = position + :n RETURNING position"),
                {"n": len(rows)},
            )
            first = int(last or 0) - len(rows) + 1
            moment = now()
            if self._sqlite:
                moment_text = moment.replace(tzinfo=None).isoformat(sep=" ")
                marked = sum(
                    self.connection.execute(
                        text(
                            "UPDATE outbox SET position = :position, published_at = :at "
                            "WHERE id = :id AND position IS NULL"
                        ),
                        {"id": row.id, "position": first + index, "at": moment_text},
                    ).rowcount
                    for index, row in enumerate(rows)
                )
            else:
                marked = self.connection.execute(
                    text(
                        "UPDATE outbox o SET position = :first + b.n - 1, published_at = :at "
                        "FROM unnest(cast(:ids AS bigint[])) WITH ORDINALITY AS b(id, n) "
                        "WHERE o.id = b.id AND o.position IS NULL"
                    ),
                    {"first": first, "ids": [row.id for row in rows], "at": moment},
                ).rowcount
            if marked != len(rows):
                raise LostTurn(f"{len(rows) - marked} of {len(rows)} events were marked before")

    def close(self) -> None:
        """Give the connection, and with it the lock, back."""
        if self._connection is not None:
            try:
                self._connection.invalidate() if not self._sqlite else None
                self._connection.close()
            except DBAPIError:
                pass
            self._connection = None
        if not self._sqlite:
            self._engine.dispose()


def _uuid(value: UUID | str) -> UUID:
    return value if isinstance(value, UUID) else UUID(value)
