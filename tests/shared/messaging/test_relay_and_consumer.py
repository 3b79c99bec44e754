"""From one service's outbox through a real RabbitMQ to another's effects."""

import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from uuid import UUID, uuid4

import pika
import pika.exceptions
import pytest
from amqp import Channel
from kombu.message import Message
from sqlalchemy import func, select

from shared.events import OrderPaid
from shared.messaging import consumer, topology
from shared.messaging.batch import Batch, transaction
from shared.messaging.consumer import consume
from shared.messaging.dead_letters import drain
from shared.messaging.envelope import decode
from shared.messaging.processing import Processor
from shared.messaging.relay import Refused, Relay
from shared.messaging.store import Store
from shared.messaging.tables import Outbox, Parked, RelayState
from shared.runtime.database import Database
from shared.runtime.supervision import Stopping, supervise
from tests.support import probe
from tests.support.servers import RabbitMQ, wait_until

pytestmark = [pytest.mark.broker, pytest.mark.postgres]


class Aggregate:
    version = 0


@pytest.fixture
def sender(postgres: Callable[[str], str]) -> Iterator[Database]:
    database = Database(postgres("sender"))
    probe.create_tables(database)
    yield database
    database.close()


@pytest.fixture
def receiver(postgres: Callable[[str], str]) -> Iterator[Database]:
    database = Database(postgres("receiver"))
    probe.create_tables(database)
    probe.MENDED.clear()
    yield database
    database.close()


def record(database: Database, orders: list[UUID], times: int = 1) -> None:
    """Record `times` payments of each order, one transaction each time."""
    aggregates = {order: Aggregate() for order in orders}
    for _ in range(times):
        with transaction(database, Batch) as batch:
            for order, aggregate in aggregates.items():
                batch.record(
                    aggregate,
                    OrderPaid(order_id=order, order_ref="ORD-1", amount_fen=1, method="prepaid"),
                )


def positions(database: Database) -> list[int | None]:
    with database.readers() as session:
        return list(session.scalars(select(Outbox.position).order_by(Outbox.id)))


@contextmanager
def running(*loops: Callable[[Stopping], None]) -> Iterator[list[BaseException]]:
    """Run loops supervised; yields the failures they had."""
    stopping, failures = Stopping(), []  # type: tuple[Stopping, list[BaseException]]
    threads = [
        supervise(f"loop-{n}", lambda loop=loop: loop(stopping), stopping, failures.append)  # type: ignore[misc]
        for n, loop in enumerate(loops)
    ]
    try:
        yield failures
    finally:
        stopping.set()
        for thread in threads:
            thread.join(15)
            assert not thread.is_alive()


def relaying(database: Database, url: str) -> Callable[[Stopping], None]:
    return lambda stopping: Relay("orders", database, url, stopping).run()


def consuming(database: Database, url: str) -> Callable[[Stopping], None]:
    processor = Processor(probe.SERVICE, database)
    return lambda stopping: consume(url, processor, stopping)


def depth(url: str, queue: str) -> int:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    try:
        frame = connection.channel().queue_declare(queue, passive=True)
        return int(frame.method.message_count)
    finally:
        connection.close()


def publish(url: str, body: bytes, key: str = "orders.order_paid.v1", **properties: object) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.confirm_delivery()
    channel.basic_publish(
        "events",
        key,
        body,
        pika.BasicProperties(delivery_mode=2, **properties),  # type: ignore[arg-type]
        mandatory=True,
    )
    connection.close()


def test_events_arrive_once_in_order_with_gap_free_positions(
    vhost: str, sender: Database, receiver: Database
) -> None:
    orders = [uuid4() for _ in range(40)]
    record(sender, orders, times=30)

    with running(relaying(sender, vhost), consuming(receiver, vhost)) as failures:
        wait_until(lambda: len(probe.effects(receiver)) == 1200, 60, "all effects")

    assert failures == []
    assert positions(sender) == list(range(1, 1201))
    seen: dict[str, list[int]] = {}
    for effect in probe.effects(receiver):
        seen.setdefault(effect.subject, []).append(effect.sequence)
    assert all(sequences == list(range(1, 31)) for sequences in seen.values())


def test_an_event_without_a_queue_is_not_marked_and_goes_on_once_topology_is_declared(
    vhost: str, sender: Database, receiver: Database
) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(vhost))
    connection.channel().queue_unbind("notifications.events", "events", "orders.order_paid.v1")
    connection.close()
    record(sender, [uuid4()])

    with running(relaying(sender, vhost), consuming(receiver, vhost)) as failures:
        wait_until(lambda: bool(failures), 20, "the relay says that no queue took the event")
        assert isinstance(failures[0], Refused)
        assert "farmgate topology" in str(failures[0])
        assert positions(sender) == [None]

        topology.declare(vhost, [probe.PUBLISHER, probe.SERVICE])
        wait_until(lambda: len(probe.effects(receiver)) == 1, 30, "the effect")

    assert positions(sender) == [1]


def test_of_two_relays_one_works_and_the_other_takes_over(vhost: str, sender: Database) -> None:
    first = Store(sender)
    assert first.try_lock()
    second = Store(sender)
    assert not second.try_lock()

    first.close()

    wait_until(second.try_lock, 10, "the second relay takes over")
    second.close()


def test_a_relay_that_lost_its_turn_cannot_mark(sender: Database) -> None:
    record(sender, [uuid4()], times=3)
    stale, active = Store(sender), Store(sender)
    rows = stale.waiting()
    active.mark(active.waiting())

    with pytest.raises(RuntimeError, match="marked before"):
        stale.mark(rows)

    with sender.readers() as session:
        assert session.scalar(select(RelayState.position)) == 3
    assert positions(sender) == [1, 2, 3]
    stale.close()
    active.close()


@pytest.mark.harms_broker
def test_killing_the_broker_loses_nothing_that_was_committed(
    vhost: str, broker: RabbitMQ, sender: Database, receiver: Database
) -> None:
    """dotnet-architecture/eShopOnContainers#174, #279, #1340; medusajs/medusa#4089, #7156.

    Slow: the broker starts again.
    """
    declared = monotonic()
    orders = [uuid4() for _ in range(20)]

    with running(relaying(sender, vhost), consuming(receiver, vhost)):
        record(sender, orders[:10], times=20)
        wait_until(lambda: len(probe.effects(receiver)) > 20, 30, "the first effects")
        # RabbitMQ 3.10 forgets queues that were declared less than a second before a kill.
        wait_until(lambda: monotonic() > declared + 3, 10, "the queues are on the broker's disk")
        broker.kill()
        record(sender, orders[10:], times=20)
        broker.start()
        wait_until(lambda: len(probe.effects(receiver)) == 400, 90, "all effects")

    assert positions(sender) == list(range(1, 401))


@pytest.mark.parametrize(
    "body", [b"no json {", b"\xff\xfe\x00", b"[]", b'{"specversion":"1.0"}', b"x" * 300_000]
)
def test_bytes_that_are_no_event_are_parked_and_the_next_event_is_handled(
    vhost: str, sender: Database, receiver: Database, body: bytes
) -> None:
    publish(vhost, body)
    record(sender, [uuid4()])

    with running(relaying(sender, vhost), consuming(receiver, vhost)) as failures:
        wait_until(lambda: len(probe.effects(receiver)) == 1, 20, "the good event's effect")

    assert failures == []
    with receiver.readers() as session:
        rows = list(session.scalars(select(Parked)))
    assert [(row.reason, row.state) for row in rows] == [("unreadable", "dead")]
    assert depth(vhost, "notifications.events") == 0


def a_table(kind: bytes, value: bytes) -> bytes:
    """Return a table of headers with one header, `h`, as bytes on the wire."""
    fields = b"\x01h" + kind + value
    return struct.pack(">I", len(fields)) + fields


def deep_tables(levels: int) -> bytes:
    """Return a table in a table in a table …"""
    table = struct.pack(">I", 0)
    for _ in range(levels):
        table = a_table(b"F", table)
    return table


class RawProperties(pika.BasicProperties):
    """Properties as bytes that no client would write."""

    def __init__(self, raw: bytes) -> None:
        super().__init__()
        self.raw = raw

    def encode(self) -> list[bytes]:
        return [self.raw]


HEADERS, CORRELATION, TIMESTAMP = 0x2000, 0x0400, 0x0040
#: What RabbitMQ passes on; a double that is no number it refuses itself.
STRANGE = {
    "a moment of the year 200000": struct.pack(">H", HEADERS)
    + a_table(b"T", struct.pack(">Q", 2**42)),
    "a moment beyond any clock": struct.pack(">H", HEADERS)
    + a_table(b"T", struct.pack(">Q", 2**63)),
    "two thousand tables in each other": struct.pack(">H", HEADERS) + deep_tables(2000),
    "a story that is no text": struct.pack(">H", CORRELATION) + b"\x02\xff\xfe",
    "a late time stamp": struct.pack(">HQ", TIMESTAMP, 2**63),
    "a bomb": struct.pack(">H", HEADERS)
    + struct.pack(">I", 23)
    + b"\x0bcompression"
    + b"S"
    + struct.pack(">I", 6)
    + b"snappy",
}


@pytest.mark.parametrize("strange", STRANGE)
def test_no_properties_of_a_message_end_a_consumer_or_what_reads_the_dead_queue(
    vhost: str, sender: Database, receiver: Database, strange: str
) -> None:
    raw = STRANGE[strange]
    with transaction(sender, Batch) as batch:
        aggregate = Aggregate()
        paid = {"order_ref": "ORD-1", "amount_fen": 1, "method": "prepaid"}
        batch.record(aggregate, OrderPaid(order_id=uuid4(), **paid))
    with sender.readers() as session:
        body = session.scalars(select(Outbox.body)).one()
    connection = pika.BlockingConnection(pika.URLParameters(vhost))
    channel = connection.channel()
    channel.confirm_delivery()
    for exchange, key, content in (
        ("events", "orders.order_paid.v1", body),
        ("", "notifications.events.dead", b"no json {"),
    ):
        channel.basic_publish(exchange, key, content, RawProperties(raw), mandatory=True)
    connection.close()

    with running(draining(receiver, vhost), consuming(receiver, vhost)) as failures:
        wait_until(lambda: len(probe.effects(receiver)) == 1, 20, "the event's effect")
        wait_until(lambda: len(parked_rows(receiver)) == 1, 20, "the dead letter is parked")
        for queue in ("notifications.events", "notifications.events.dead"):
            wait_until(lambda queue=queue: depth(vhost, queue) == 0, 10, "an empty queue")  # type: ignore[misc]

    assert failures == []


def draining(database: Database, url: str) -> Callable[[Stopping], None]:
    processor = Processor(probe.SERVICE, database)
    return lambda stopping: drain(url, processor, stopping)


def given_up(url: str, body: bytes) -> None:
    """Put a message where the broker puts what it gives up."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.confirm_delivery()
    headers = {"x-death": [{"reason": "delivery_limit"}]}
    channel.basic_publish(
        "",
        "notifications.events.dead",
        body,
        pika.BasicProperties(delivery_mode=2, headers=headers),
        mandatory=True,
    )
    connection.close()


def test_what_the_broker_gave_up_is_parked_once_and_not_what_took_effect(
    vhost: str, broker: RabbitMQ, sender: Database, receiver: Database
) -> None:
    record(sender, [uuid4()], times=2)
    with sender.readers() as session:
        handled, lost = session.scalars(select(Outbox.body).order_by(Outbox.id))
    Processor(probe.SERVICE, receiver).process([decode(handled)], lambda seconds: None)
    for body in (handled, lost, lost, b"no json {"):
        given_up(vhost, body)
    publish(vhost, b"{}", headers={"compression": "application/x-surprise"})

    receiving = logged_in(vhost, broker, "notifications")
    with running(draining(receiver, receiving), consuming(receiver, receiving)) as failures:
        wait_until(lambda: len(parked_rows(receiver)) == 3, 20, "what was given up is parked")
        wait_until(lambda: depth(vhost, "notifications.events.dead") == 0, 10, "an empty queue")

    assert failures == []
    rows = parked_rows(receiver)
    assert {row.state for row in rows} == {"dead"}
    assert sorted(row.reason for row in rows) == ["given_up", "unreadable", "unreadable"]
    (event,) = [row for row in rows if row.reason == "given_up"]
    assert event.event_id == decode(lost).event_id
    assert "delivery_limit" in (event.error or "")
    assert len(probe.effects(receiver)) == 1


def parked_rows(database: Database) -> list[Parked]:
    with database.readers() as session:
        return list(session.scalars(select(Parked)))


def logged_in(vhost: str, broker: RabbitMQ, service: str) -> str:
    """Make a user with the name and rights of a service; gives the address with its name."""
    name, user = vhost.rpartition("/")[2], service
    rights = topology.permissions(service)
    broker.create_user(user, "secret")
    broker.permit(user, name, **{right: rights[right] for right in ("configure", "write", "read")})
    broker.permit_keys(user, name, write=rights["topic_write"], read=rights["topic_read"])
    return vhost.replace("guest:guest", f"{user}:secret")


def test_services_relay_and_consume_without_any_right_to_configure(
    vhost: str, broker: RabbitMQ, sender: Database, receiver: Database
) -> None:
    sending = logged_in(vhost, broker, "orders")
    receiving = logged_in(vhost, broker, "notifications")
    record(sender, [uuid4()], times=3)

    with running(relaying(sender, sending), consuming(receiver, receiving)) as failures:
        wait_until(lambda: len(probe.effects(receiver)) == 3, 30, "all effects")

    assert failures == []


def test_what_a_service_says_in_the_name_of_another_is_parked_and_has_no_effect(
    vhost: str, broker: RabbitMQ, sender: Database, receiver: Database
) -> None:
    record(sender, [uuid4()])
    theirs, foreign = logged_in(vhost, broker, "orders"), logged_in(vhost, broker, "catalog")
    receiving = logged_in(vhost, broker, "notifications")
    with running(relaying(sender, theirs)):
        wait_until(lambda: positions(sender) == [1], 20, "published")
    with sender.readers() as session:
        body = session.scalars(select(Outbox.body)).one()
    forged = body.replace(b'"amount_fen":1', b'"amount_fen":2')
    # A right to a key that the queue listens to: a wrong binding is enough.
    key = "catalog.stock_reserved.v1"
    connection = pika.BlockingConnection(pika.URLParameters(vhost))
    connection.channel().queue_bind("notifications.events", "events", key)
    connection.close()
    publish(foreign, forged, key, user_id="catalog")
    publish(foreign, forged.replace(b'"amount_fen":2', b'"amount_fen":3'), key)

    with running(consuming(receiver, receiving)) as failures:
        wait_until(lambda: len(parked_rows(receiver)) == 2, 20, "both forgeries parked")
        wait_until(lambda: len(probe.effects(receiver)) == 1, 20, "the true one's effect")

    assert failures == []
    assert {row.reason for row in parked_rows(receiver)} == {"unreadable"}
    assert {row.error for row in parked_rows(receiver)} == {
        "orders.order_paid.v1 was published by catalog, not orders",
        "orders.order_paid.v1 was published by nobody, not orders",
    }


def test_topology_declared_again_adds_what_is_missing_and_prunes_what_nobody_asks_for(
    vhost: str,
) -> None:
    services = [probe.PUBLISHER, probe.SERVICE]
    connection = pika.BlockingConnection(pika.URLParameters(vhost))
    channel = connection.channel()
    channel.queue_bind("orders.events", "events", "orders.order_paid.v1")
    channel.queue_delete("notifications.events.dead")
    connection.close()

    missing_before = topology.missing(vhost, services)
    topology.declare(vhost, services)
    publish(vhost, b"{}")
    topology.declare(vhost, services, prune=True)
    publish(vhost, b"{}")

    assert missing_before == ["notifications.events.dead"]
    assert topology.missing(vhost, services) == []
    wait_until(lambda: depth(vhost, "notifications.events") == 2, 10, "both have arrived")
    assert depth(vhost, "orders.events") == 1


def test_a_broker_with_nothing_declared_lacks_everything(empty_vhost: str) -> None:
    absent = topology.missing(empty_vhost, [probe.PUBLISHER])

    assert absent == ["events", "integrators", "orders.events", "orders.events.dead"]


def test_a_message_with_a_strange_count_of_returns_is_handled(
    vhost: str, sender: Database, receiver: Database
) -> None:
    publish(vhost, b"no event", headers={"x-delivery-count": "many"})
    record(sender, [uuid4()])

    with running(relaying(sender, vhost), consuming(receiver, vhost)) as failures:
        wait_until(lambda: len(probe.effects(receiver)) == 1, 20, "the good event's effect")

    assert failures == []


def test_while_its_database_is_away_a_consumer_takes_no_message(vhost: str) -> None:
    publish(vhost, b"{}")
    away = Database("postgresql+psycopg://farmgate@127.0.0.1:1/away")

    with running(consuming(away, vhost)) as failures:
        wait_until(lambda: len(failures) >= 2, 20, "it looks for its database")

    connection = pika.BlockingConnection(pika.URLParameters(vhost))
    method, properties, _ = next(iter(connection.channel().consume("notifications.events")))
    connection.close()
    assert not method.redelivered
    assert "x-delivery-count" not in (properties.headers or {})


def test_a_consumer_to_which_the_broker_sends_no_more_begins_a_new_connection(
    vhost: str, sender: Database, receiver: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "QUIET", 0.5)
    monkeypatch.setattr(consumer, "PREFETCH", 10)
    failures: list[BaseException] = []
    acknowledge = Message.ack
    # To the broker it is the same whether it lost the acknowledgements or never got them.
    monkeypatch.setattr(
        Message, "ack", lambda self, **options: acknowledge(self, **options) if failures else None
    )
    record(sender, [uuid4() for _ in range(25)])

    with running(relaying(sender, vhost), consuming(receiver, vhost)) as seen:
        wait_until(lambda: seen, 20, "it notices that the broker stands still")
        failures.extend(seen)
        wait_until(lambda: len(probe.effects(receiver)) == 25, 20, "all took effect, once")
        wait_until(lambda: depth(vhost, "notifications.events") == 0, 20, "nothing is left")

    assert [type(failure) for failure in failures] == [consumer.ConsumerStalled]
    assert "messages wait in notifications.events" in str(failures[0])


def test_a_consumer_with_nothing_to_do_keeps_its_connection(
    vhost: str, sender: Database, receiver: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []
    look = Channel.queue_declare

    def counted(self: Channel, queue: str, **options: object) -> object:
        looks.append(queue)
        return look(self, queue, **options)

    monkeypatch.setattr(consumer, "QUIET", 0.2)
    monkeypatch.setattr(Channel, "queue_declare", counted)
    record(sender, [uuid4()])

    with running(
        relaying(sender, vhost), consuming(receiver, vhost), consuming(receiver, vhost)
    ) as failures:
        wait_until(lambda: len(looks) >= 4, 20, "the quiet queue was looked at")
        record(sender, [uuid4()])
        wait_until(lambda: len(probe.effects(receiver)) == 2, 20, "the next event's effect")

    assert failures == []


def test_a_service_user_may_publish_its_own_events_and_nothing_else(
    vhost: str, broker: RabbitMQ, sender: Database
) -> None:
    url = logged_in(vhost, broker, "orders")
    record(sender, [uuid4()])

    with running(relaying(sender, url)) as failures:
        wait_until(lambda: positions(sender) == [1], 20, "published with these rights")
    assert failures == []

    for forbidden in (
        lambda channel: channel.basic_publish("events", "catalog.stock_reserved.v1", b"{}"),
        lambda channel: channel.basic_publish("", "catalog.events", b"{}"),
        lambda channel: channel.queue_declare("mine"),
        lambda channel: channel.queue_declare("", exclusive=True),
        lambda channel: channel.queue_bind("orders.events", "events", "catalog.#"),
        lambda channel: channel.basic_get("notifications.events"),
        lambda channel: channel.exchange_declare("other"),
        lambda channel: channel.queue_purge("notifications.events"),
    ):
        connection = pika.BlockingConnection(pika.URLParameters(url))
        channel = connection.channel()
        channel.confirm_delivery()
        with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refusal:
            forbidden(channel)
        assert refusal.value.reply_code == 403
        connection.close()


WORKER = """
import os, sys
from shared.messaging.consumer import consume
from shared.runtime.database import Database
from shared.events import OrderPaid
from shared.messaging.processing import Processor
from shared.messaging.service import Service
from shared.runtime.supervision import Stopping
from tests.support import probe

def handler(batch, event):
    if event.data.amount_fen == 13:
        os._exit(9)
    probe.on_order_paid(batch, event)

database = Database(sys.argv[1])
service = Service("notifications", {OrderPaid: handler})
consume(sys.argv[2], Processor(service, database), Stopping())
"""


def test_an_event_that_kills_the_worker_is_parked_and_its_neighbours_are_handled_in_order(
    vhost: str, sender: Database, receiver: Database
) -> None:
    orders = [uuid4() for _ in range(10)]
    record(sender, orders, times=5)
    with transaction(sender, Batch) as batch:
        batch.record(
            Aggregate(),
            OrderPaid(order_id=uuid4(), order_ref="ORD-X", amount_fen=13, method="prepaid"),
        )
    record(sender, [uuid4() for _ in range(10)], times=1)
    with running(relaying(sender, vhost)):
        wait_until(lambda: None not in positions(sender), 20, "published")

    starts = 0
    while starts < 12 and len(probe.effects(receiver)) < 60:
        starts += 1
        worker = subprocess.Popen([sys.executable, "-c", WORKER, receiver.url, vhost])
        try:
            wait_until(
                lambda worker=worker: (
                    worker.poll() is not None  # type: ignore[misc]
                    or len(probe.effects(receiver)) == 60
                ),
                60,
                "the worker dies or is done",
            )
        finally:
            if worker.poll() is None:
                os.kill(worker.pid, signal.SIGKILL)
            worker.wait()

    assert len(probe.effects(receiver)) == 60
    assert starts <= 10
    with receiver.readers() as session:
        assert [p.reason for p in session.scalars(select(Parked))] == ["killed_worker"]
        assert session.scalar(select(func.count()).select_from(Outbox)) == 60
    assert depth(vhost, "notifications.events.dead") == 0
    seen: dict[str, list[int]] = {}
    for effect in probe.effects(receiver):
        seen.setdefault(effect.subject, []).append(effect.sequence)
    assert all(sequences == sorted(sequences) for sequences in seen.values())


def test_the_event_on_the_wire_is_the_event_in_the_outbox_byte_for_byte(
    vhost: str, sender: Database
) -> None:
    record(sender, [uuid4()])
    with running(relaying(sender, vhost)):
        wait_until(lambda: positions(sender) == [1], 20, "published")

    connection = pika.BlockingConnection(pika.URLParameters(vhost))
    _, properties, body = next(iter(connection.channel().consume("notifications.events")))
    connection.close()

    with sender.readers() as session:
        row = session.scalars(select(Outbox)).one()
    assert body == row.body
    assert properties.message_id == str(row.event_id) == json.loads(body)["id"]
    assert properties.type == row.type
    assert properties.user_id == "guest"
