"""The batch: one transaction's session, the rows loaded and locked in it, and the recorded events.

The edge opens the transaction and passes the batch to all functions below: the consumer for the
events that it processes together, a route for its request, a timer for one round.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from sqlalchemy import Table, select
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute, Session

from shared.events import Fact
from shared.messaging.envelope import encode, subject_of
from shared.messaging.tables import Outbox
from shared.runtime import tracing
from shared.runtime.bulk import among, insert_rows, write_objects
from shared.runtime.clock import now
from shared.runtime.database import Database
from shared.runtime.ids import new_id

Value = TypeVar("Value")
B = TypeVar("B", bound="Batch")


class Versioned(Protocol):
    """An aggregate; `version` is the sequence of its last recorded event."""

    version: Any


class Batch:
    """One transaction's state. A service's subclass has attributes for the rows of that service.

    A handler gets one event, but one query per event would be too slow. So the service's `load`
    loads and locks the rows for all events of the batch, one statement per kind of row, and the
    handlers get the rows from the batch.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self._rows: dict[tuple[str, Any], dict[Any, Any]] = {}
        self._appended: dict[Table, list[dict[str, Any]]] = {}
        self._outbox: list[dict[str, Any]] = []

    # --- Rows, by a unique column -----------------------------------------------------------

    def load_for_update(
        self, column: InstrumentedAttribute[Value], values: Iterable[Value], *options: Any
    ) -> None:
        """Load and lock, in one statement, the rows whose `column` is in `values`.

        `column` must be unique. Rows are locked in the order of `column`, so that two transactions
        that need the same rows cannot deadlock. `get_for_update` then returns None for a value
        without a row.
        """
        loaded = self._loaded(column)
        wanted = sorted({value for value in values if value not in loaded}, key=str)
        if not wanted:
            return
        loaded.update(dict.fromkeys(wanted))
        statement = (
            select(column.class_)
            .where(among(column, wanted))
            .order_by(column)
            .options(*options)
            .with_for_update()
            .execution_options(populate_existing=True)
        )
        for row in self.session.scalars(statement):
            loaded[getattr(row, column.key)] = row

    def get_for_update(self, column: InstrumentedAttribute[Value], value: Value) -> Any | None:
        """Return the row with this `column` value, locked until the commit, or None.

        Executes no statement after `load_for_update` or `track` of the same value.
        """
        self.load_for_update(column, (value,))
        return self._loaded(column)[value]

    def track(self, column: InstrumentedAttribute[Value], row: Any) -> None:
        """Add a new row to the session; `get_for_update` returns it, also before its flush."""
        self.session.add(row)
        self._loaded(column)[getattr(row, column.key)] = row

    def _loaded(self, column: InstrumentedAttribute[Any]) -> dict[Any, Any]:
        return self._rows.setdefault((column.key, column.class_), {})

    # --- Facts --------------------------------------------------------------------------------

    def record(self, aggregate: Versioned, fact: Fact) -> None:
        """Record one fact about `aggregate`, published if and only if the transaction commits.

        The aggregate's row must be new or locked: the order of its sequence is then the order of
        the commits.

        Raises:
            ValueError: the event is larger than `envelope.LARGEST`.
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

    # --- Writing ------------------------------------------------------------------------------

    @property
    def unwritten(self) -> int:
        """How many new or changed objects, rows and events wait to be written."""
        objects = len(self.session.new) + len(self.session.dirty)
        return objects + sum(map(len, self._appended.values())) + len(self._outbox)

    def append(self, model: type[DeclarativeBase], **row: Any) -> None:
        """Insert one row without an object; `row` has a value for each column.

        For rows that the transaction does not change or look at again.
        """
        self._appended.setdefault(table_of(model), []).append(row)

    def flush(self) -> None:
        """Write everything but the events, so that later statements of the transaction see it."""
        self.session.flush()
        self._write_rows()

    def write(self) -> bool:
        """Write everything, just before the commit; return whether there were events.

        The outbox rows get their ids while the transaction holds all its locks, so that the ids of
        one subject are in the order of its sequence.
        """
        write_objects(self.session)
        self._write_rows()
        rows, self._outbox = self._outbox, []
        insert_rows(self.session.connection(), table_of(Outbox), rows)
        return bool(rows)

    def _write_rows(self) -> None:
        # After the objects, to which appended rows refer.
        appended, self._appended = self._appended, {}
        for table, rows in appended.items():
            insert_rows(self.session.connection(), table, rows)


def table_of(model: type[DeclarativeBase]) -> Table:
    """Return the table of a model."""
    table = model.__table__
    assert isinstance(table, Table)
    return table


@contextmanager
def transaction(database: Database, kind: type[B]) -> Iterator[B]:
    """Open a transaction that commits at the end, with a batch of the service's `kind`.

    An error rolls it back, and the recorded events with it.
    """
    with database.sessions.begin() as session:
        batch = kind(session)
        yield batch
        recorded = batch.write()
    if recorded:
        database.recorded.set()
