"""What one transaction works on: its session, the rows loaded and locked for it, what it records.

The edge that opens the transaction makes the batch and hands it to everything below: the consumer
for all events that arrived together, a route for its one request, a timer for one round.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from sqlalchemy import Table, insert, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from shared.events import Fact
from shared.messaging.envelope import encode, subject_of
from shared.messaging.tables import Outbox
from shared.runtime import tracing
from shared.runtime.clock import now
from shared.runtime.database import Database
from shared.runtime.ids import new_id

Value = TypeVar("Value")
B = TypeVar("B", bound="Batch")

#: Values in one statement; the databases take 32,766 (SQLite) and 65,535 (PostgreSQL).
MOST_VALUES = 30_000


class Versioned(Protocol):
    """An aggregate whose events are numbered: `version` counts the events recorded of it."""

    version: Any


class Batch:
    """One transaction's work. A service adds to its own subclass what it loads for a batch.

    A handler sees one event, yet a batch must not cost a query an event: the service's `load`
    loads and locks what all events of the batch need, one statement a kind, and the handlers find
    it here.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self._rows: dict[tuple[str, Any], dict[Any, Any]] = {}
        self._outbox: list[dict[str, Any]] = []

    # --- Rows, by a unique column -----------------------------------------------------------

    def load_for_update(
        self, column: InstrumentedAttribute[Value], values: Iterable[Value], *options: Any
    ) -> None:
        """Load and lock, in one statement, the rows whose `column` is in `values`.

        `column` must be unique. Rows are locked in its order, so that two transactions that need
        the same rows cannot wait for each other. A value without a row is known as missing.
        """
        known = self._known(column)
        wanted = sorted({value for value in values if value not in known}, key=str)
        known.update(dict.fromkeys(wanted))
        for start in range(0, len(wanted), MOST_VALUES):
            statement = (
                select(column.class_)
                .where(column.in_(wanted[start : start + MOST_VALUES]))
                .order_by(column)
                .options(*options)
                .with_for_update()
                .execution_options(populate_existing=True)
            )
            for row in self.session.scalars(statement):
                known[getattr(row, column.key)] = row

    def get_for_update(self, column: InstrumentedAttribute[Value], value: Value) -> Any | None:
        """Return the row with this `column` value, locked until the commit, or None.

        Needs no statement when `load_for_update` or `track` has seen the value before.
        """
        self.load_for_update(column, (value,))
        return self._known(column)[value]

    def track(self, column: InstrumentedAttribute[Value], row: Any) -> None:
        """Add a new row to the session such that `get_for_update` finds it before its flush."""
        self.session.add(row)
        self._known(column)[getattr(row, column.key)] = row

    def _known(self, column: InstrumentedAttribute[Any]) -> dict[Any, Any]:
        return self._rows.setdefault((column.key, column.class_), {})

    # --- Facts --------------------------------------------------------------------------------

    def record(self, aggregate: Versioned, fact: Fact) -> None:
        """Record one fact about `aggregate`, published if and only if the transaction commits.

        The aggregate's row must be new or locked, so that its events are numbered in the order of
        their commits.

        Raises:
            ValueError: the event would be larger than may travel.
        """
        aggregate.version = (aggregate.version or 0) + 1
        cause, time, event_id = tracing.get_or_new(), now(), new_id()
        body = encode(
            fact,
            event_id=event_id,
            sequence=aggregate.version,
            time=time,
            correlation_id=cause.correlation_id,
            causation_id=cause.causation_id,
            traceparent=cause.traceparent,
        )
        self._outbox.append(
            {
                "event_id": event_id,
                "type": fact.routing_key,
                "subject": subject_of(fact),
                "sequence": aggregate.version,
                "body": body,
                "correlation_id": cause.correlation_id,
                "traceparent": cause.traceparent,
                "recorded_at": time,
            }
        )

    def write(self) -> bool:
        """Flush the session and insert the recorded events, just before the commit.

        Late, so that every lock of the transaction is held when the rows draw their ids: ids of
        one subject then agree with its sequence. Returns whether there were events.
        """
        rows, self._outbox = self._outbox, []
        if rows:
            self.session.flush()
            table = Outbox.__table__
            assert isinstance(table, Table)
            self.session.execute(insert(table), rows)
        return bool(rows)


@contextmanager
def transaction(database: Database, kind: type[B]) -> Iterator[B]:
    """Open a transaction that commits at the end, with a batch of the service's `kind`.

    An error rolls it back, and with it what was recorded.
    """
    with database.sessions.begin() as session:
        batch = kind(session)
        yield batch
        recorded = batch.write()
    if recorded:
        database.recorded.set()
