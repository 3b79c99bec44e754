"""An order's rows and messages without Farmgate: psycopg and an AMQP client, no rules, no HTTP.

Five events, nine deliveries and the sender's two transactions per message; groups of 20
placements and batches of 300 events in a transaction each, statements pipelined, publishing
confirmed. A row has an id, its order's id with an index, and as many bytes as what it stands for.

    python -m benchmarks.bare SERVICE DATABASE BROKER        one service's worker, until killed
    python -m benchmarks.bare placements DATABASE ORDERS     as many orders, as fast as they go
"""

import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic, process_time
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import amqp
import psycopg
from psycopg import sql

from shared.runtime.ids import new_id

GROUP, BATCH = 20, 300
#: Seconds for which a batch waits for more, and an idle worker for anything.
WINDOW, IDLE = 0.05, 0.02
EXCHANGE = "events"
#: An order's lines; each takes from one lot, and each lot is another producer's.
LINES = 2


@dataclass(frozen=True)
class Rows:
    """So many rows of a table, each with so many bytes besides its two ids."""

    table: str
    count: int
    size: int
    #: The number of the first one among the rows that the order has in the table.
    first: int = 0

    def ids(self, order_id: UUID) -> list[UUID]:
        """Return the ids of an order's rows; orders' ids end with a byte of zeros."""
        return [UUID(int=order_id.int + self.first + number) for number in range(self.count)]


@dataclass(frozen=True)
class Step:
    """What a service writes for one event of an order, and the events that it publishes then."""

    inserts: Sequence[Rows] = ()
    updates: Sequence[Rows] = ()
    events: Sequence[str] = ()
    #: Rows that all orders change: the balances of lots.
    hot: bool = False


#: Bytes of each event.
EVENTS = {
    "orders.contact_given": 640,
    "orders.order_placed": 890,
    "catalog.stock_reserved": 1135,
    "orders.order_confirmed": 1390,
    "logistics.shipment_planned": 730,
}
#: Bytes of an inbox row besides its ids.
INBOX = 80
PLACEMENT = Step(
    [Rows("idempotency_keys", 1, 1250), Rows("orders", 1, 210), Rows("order_lines", LINES, 40)],
    events=("orders.contact_given", "orders.order_placed"),
)
STEPS: Mapping[str, Mapping[str, Step]] = {
    "catalog": {
        "orders.order_placed": Step(
            [
                Rows("reservations", 1, 40),
                Rows("reservation_lines", LINES, 48),
                Rows("movements", LINES, 135),
            ],
            events=("catalog.stock_reserved",),
            hot=True,
        ),
        "orders.order_confirmed": Step(
            [Rows("movements", LINES, 135, first=LINES)], [Rows("reservations", 1, 40)], hot=True
        ),
    },
    "orders": {
        "catalog.stock_reserved": Step(
            updates=[Rows("orders", 1, 240), Rows("order_lines", LINES, 260)],
            events=("orders.order_confirmed",),
        ),
        "logistics.shipment_planned": Step(updates=[Rows("orders", 1, 255)]),
    },
    "logistics": {
        "orders.contact_given": Step([Rows("delivery_addresses", 1, 32)]),
        "orders.order_confirmed": Step(
            [Rows("shipments", 1, 96), Rows("shipment_lines", LINES, 92)],
            events=("logistics.shipment_planned",),
        ),
    },
    "notifications": {
        "orders.contact_given": Step([Rows("contacts", 1, 38)]),
        "orders.order_placed": Step([Rows("order_copies", 1, 485), Rows("inbox_messages", 1, 190)]),
        "orders.order_confirmed": Step(
            [Rows("messages", 1 + LINES, 190)], [Rows("order_copies", 1, 485)]
        ),
    },
}
#: Events of an order that each service receives, and publishes.
DELIVERIES = {service: len(steps) for service, steps in STEPS.items()}
PUBLISHED = {
    service: sum(event.startswith(f"{service}.") for event in EVENTS)
    for service in ("orders", "catalog", "logistics")
}


def create_tables(service: str, connection: psycopg.Connection[Any]) -> None:
    """Make a service's tables."""
    steps = [*STEPS[service].values(), *([PLACEMENT] if service == "orders" else [])]
    for table in {rows.table for step in steps for rows in step.inserts}:
        connection.execute(
            sql.SQL("CREATE TABLE {} (id uuid PRIMARY KEY, order_id uuid, body text)").format(
                sql.Identifier(table)
            )
        )
        connection.execute(sql.SQL("CREATE INDEX ON {} (order_id)").format(sql.Identifier(table)))
    connection.execute(
        "CREATE TABLE inbox (event_id uuid PRIMARY KEY, order_id uuid, body text);"
        "CREATE INDEX ON inbox (order_id);"
        "CREATE TABLE outbox (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, event_id uuid "
        "UNIQUE, type text, order_id uuid, body bytea, position bigint UNIQUE);"
        "CREATE INDEX ON outbox (order_id, type);"
        "CREATE INDEX ON outbox (id) WHERE position IS NULL;"
        "CREATE TABLE relay_state (position bigint);"
        "INSERT INTO relay_state VALUES (0);"
        "CREATE TABLE hot (id int PRIMARY KEY, n bigint);"
        "INSERT INTO hot SELECT n, 0 FROM generate_series(1, 16) n"
    )
    if service == "notifications":
        connection.execute(
            "ALTER TABLE messages ADD state text NOT NULL DEFAULT 'queued';"
            "CREATE INDEX ON messages (id) WHERE state != 'sent';"
            "CREATE TABLE tallies (id uuid PRIMARY KEY, n int)"
        )


def declare(broker: str) -> None:
    """Declare the exchange, the queues and the bindings."""
    with _connect(broker) as connection:
        channel = connection.channel()
        channel.exchange_declare(EXCHANGE, "topic", durable=True, auto_delete=False)
        for queue, steps in STEPS.items():
            channel.queue_declare(
                queue, durable=True, auto_delete=False, arguments={"x-queue-type": "quorum"}
            )
            for event in steps:
                channel.queue_bind(queue, EXCHANGE, event)


def _connect(broker: str) -> Any:
    where = urlsplit(broker)
    connection = amqp.Connection(
        f"{where.hostname}:{where.port}",
        where.username,
        where.password,
        virtual_host=where.path[1:],
        # Without a check for the broker's alarm before each message.
        client_properties={"capabilities": {}},
    )
    connection.connect()
    return connection


@dataclass
class Writer:
    """Writes the rows of many events of one service in one transaction."""

    connection: psycopg.Connection[Any]
    _inserts: defaultdict[str, list[tuple[UUID, UUID, str]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _updates: defaultdict[str, list[tuple[UUID, str]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _events: list[tuple[UUID, str, UUID, bytes]] = field(default_factory=list)
    _hot: bool = False

    def apply(self, step: Step, order_id: UUID) -> None:
        """Add the rows of one event."""
        for rows in step.inserts:
            body = "x" * rows.size
            self._inserts[rows.table] += [(id_, order_id, body) for id_ in rows.ids(order_id)]
        for rows in step.updates:
            body = "y" * rows.size
            self._updates[rows.table] += [(id_, body) for id_ in rows.ids(order_id)]
        for event in step.events:
            sent = str(order_id).ljust(EVENTS[event]).encode()
            self._events.append((new_id(), event, order_id, sent))
        self._hot |= step.hot

    def enter(self, events: Iterable[tuple[UUID, UUID]]) -> None:
        """Add inbox rows: the ids of events and their orders."""
        body = "x" * INBOX
        self._inserts["inbox"] = [(event_id, order_id, body) for event_id, order_id in events]

    def write(self) -> None:
        """Write it all in one transaction, a statement a table, pipelined."""
        with self.connection.pipeline(), self.connection.transaction():
            for table, rows in self._inserts.items():
                self._execute(
                    f"INSERT INTO {table} SELECT * FROM unnest(%b::uuid[], %b::uuid[], %b::text[]) "
                    "ON CONFLICT DO NOTHING",
                    rows,
                )
            for table, changed in self._updates.items():
                self._execute(
                    f"UPDATE {table} t SET body = c.body FROM unnest(%b::uuid[], %b::text[]) "
                    "AS c(id, body) WHERE t.id = c.id",
                    changed,
                )
            if self._hot:
                self.connection.execute("UPDATE hot SET n = n + 1")
            if self._events:
                self._execute(
                    "INSERT INTO outbox (event_id, type, order_id, body) "
                    "SELECT * FROM unnest(%b::uuid[], %b::text[], %b::uuid[], %b::bytea[])",
                    self._events,
                )
        self._inserts.clear()
        self._updates.clear()
        self._events.clear()
        self._hot = False

    def _execute(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        columns = list(map(list, zip(*rows, strict=True)))
        self.connection.execute(statement.encode(), columns, prepare=True)


def place(database: str, orders: int) -> float:
    """Place orders in groups; return the processor time of this process in seconds."""
    began = process_time()
    with psycopg.connect(database, autocommit=True) as connection:
        writer = Writer(connection)
        for begin in range(0, orders, GROUP):
            for _ in range(min(GROUP, orders - begin)):
                writer.apply(PLACEMENT, UUID(int=new_id().int & ~0xFF))
            writer.write()
    return process_time() - began


class Worker:
    """Consumer, relay and, in notifications, sender of one service, one after the other."""

    def __init__(self, service: str, database: str, broker: str) -> None:
        self.service = service
        self.database = psycopg.connect(database, autocommit=True)
        self.writer = Writer(self.database)
        self.broker = _connect(broker)
        self.channel = self.broker.channel()
        self.channel.confirm_select()
        self.channel.events["basic_ack"].add(self._confirmed)
        self.channel.basic_qos(0, 2 * BATCH, False)
        self.waiting: list[Any] = []
        self.channel.basic_consume(service, callback=self.waiting.append)
        self.published = 0
        self.pending: set[int] = set()

    def run(self) -> None:
        """Work until the process is killed."""
        while True:
            self._receive()
            if self.waiting:
                self._process()
            while self._relay():
                pass
            if self.service == "notifications":
                self._send()

    def _receive(self) -> None:
        """Wait for messages: until a batch is full, or none came for a while."""
        began = None
        while len(self.waiting) < BATCH:
            if self.waiting and began is None:
                began = monotonic()
            left = IDLE if began is None else began + WINDOW - monotonic()
            if left <= 0 or not self._drain(left):
                return

    def _drain(self, seconds: float) -> bool:
        try:
            self.broker.drain_events(timeout=seconds)
        except TimeoutError:
            return False
        return True

    def _process(self) -> None:
        batch = self.waiting[:BATCH]
        del self.waiting[:BATCH]
        events = []
        for message in batch:
            order_id = UUID(str(message.body[:36], "ascii"))
            events.append((UUID(message.properties["message_id"]), order_id))
            self.writer.apply(STEPS[self.service][message.delivery_info["routing_key"]], order_id)
        self.writer.enter(events)
        self.writer.write()
        self.channel.basic_ack(batch[-1].delivery_tag, multiple=True)

    def _relay(self) -> bool:
        """Publish what the outbox holds; tell whether there may be more."""
        rows = self.database.execute(
            "SELECT id, event_id, type, body FROM outbox WHERE position IS NULL "
            "ORDER BY id LIMIT 500",
            prepare=True,
        ).fetchall()
        if not rows:
            return False
        for _, event_id, event, body in rows:
            message = amqp.Message(
                body, message_id=str(event_id), delivery_mode=2, content_type="application/json"
            )
            self.published += 1
            self.pending.add(self.published)
            self.channel.basic_publish(message, EXCHANGE, event, mandatory=True)
        while self.pending:
            self.broker.drain_events(timeout=30)
        ids = [row[0] for row in rows]
        with self.database.pipeline(), self.database.transaction():
            self.database.execute("UPDATE relay_state SET position = position + %s", [len(ids)])
            self.database.execute(
                "UPDATE outbox o SET position = o.id FROM unnest(%b::bigint[]) AS b(id) "
                "WHERE o.id = b.id",
                [ids],
                prepare=True,
            )
        return len(rows) == 500

    def _confirmed(self, tag: int, multiple: bool) -> None:
        if multiple:
            self.pending = {each for each in self.pending if each > tag}
        else:
            self.pending.discard(tag)

    def _send(self) -> None:
        with self.database.transaction():
            ids = [
                row[0]
                for row in self.database.execute(
                    "SELECT id FROM messages WHERE state != 'sent' ORDER BY id "
                    "LIMIT 300 FOR UPDATE",
                    prepare=True,
                )
            ]
            if not ids:
                return
            with self.database.pipeline():
                self._state("sending", ids)
                # One message in three has a telephone: the buyer's.
                self.database.execute(
                    "INSERT INTO tallies SELECT id, 1 FROM unnest(%b::uuid[]) AS b(id) "
                    "ON CONFLICT (id) DO UPDATE SET n = tallies.n + 1",
                    [ids[:: LINES + 1]],
                    prepare=True,
                )
        with self.database.pipeline(), self.database.transaction():
            self._state("sent", ids)

    def _state(self, state: str, ids: list[UUID]) -> None:
        self.database.execute(
            "UPDATE messages SET state = %s WHERE id = ANY(%b)", [state, ids], prepare=True
        )


if __name__ == "__main__":
    what, database, argument = sys.argv[1:]
    if what == "placements":
        print(place(database, int(argument)))
    else:
        Worker(what, database, argument).run()
