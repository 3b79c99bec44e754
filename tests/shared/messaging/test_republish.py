"""What the broker lost is published again, and every event still takes effect once."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pika
import pytest
from sqlalchemy import select, update

from shared.events import OrderPaid
from shared.messaging import topology
from shared.messaging.batch import Batch, transaction
from shared.messaging.consumer import consume
from shared.messaging.processing import Processor
from shared.messaging.relay import Refused, Relay
from shared.messaging.republish import republish
from shared.messaging.tables import Outbox, RelayState
from shared.runtime.clock import now
from shared.runtime.database import Database
from shared.runtime.supervision import Stopping, supervise
from tests.support import probe
from tests.support.servers import wait_until

pytestmark = [pytest.mark.broker, pytest.mark.postgres]


class Aggregate:
    version = 0


@pytest.fixture(params=["sqlite", "postgresql"])
def sender(
    request: pytest.FixtureRequest, postgres: Callable[[str], str], tmp_path: Any
) -> Iterator[Database]:
    """The publisher's database, on both engines: their ids and moments differ in form."""
    sqlite = request.param == "sqlite"
    database = Database(f"sqlite:///{tmp_path}/sender.db" if sqlite else postgres("sender"))
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


def record(database: Database, aggregates: dict[UUID, Aggregate], times: int) -> None:
    """Record `times` payments of each order, one transaction each time."""
    for _ in range(times):
        with transaction(database, Batch) as batch:
            for order, aggregate in aggregates.items():
                batch.record(
                    aggregate,
                    OrderPaid(order_id=order, order_ref="ORD-1", amount_fen=1, method="prepaid"),
                )


def history(database: Database) -> list[tuple[object, ...]]:
    """Return all that must not change: ids, positions, moments, and the state they came from."""
    columns = (Outbox.id, Outbox.event_id, Outbox.position, Outbox.published_at, Outbox.body)
    with database.readers() as session:
        rows = [tuple(row) for row in session.execute(select(*columns).order_by(Outbox.id))]
        state = session.execute(select(RelayState.epoch, RelayState.position)).one()
    return [*rows, tuple(state)]


def run_until(loop: Callable[[Stopping], None], done: Callable[[], bool]) -> None:
    """Run a relay or a consumer until something is so."""
    stopping, failures = Stopping(), []  # type: tuple[Stopping, list[BaseException]]
    thread = supervise("loop", lambda: loop(stopping), stopping, failures.append)
    try:
        wait_until(done, 60, "what the loop is for")
    finally:
        stopping.set()
        thread.join(15)
    assert failures == []


def relay_all(database: Database, url: str) -> None:
    def done() -> bool:
        with database.readers() as session:
            return session.scalar(select(Outbox.id).where(Outbox.position.is_(None))) is None

    run_until(lambda stopping: Relay("orders", database, url, stopping).run(), done)


def consume_until(database: Database, url: str, effects: int) -> None:
    """Handle what is in the queue until there are so many effects."""
    processor = Processor(probe.SERVICE, database)
    run_until(
        lambda stopping: consume(url, processor, stopping),
        lambda: len(probe.effects(database)) >= effects,
    )


def depth(url: str) -> int:
    """Count the messages in the receiver's queue that nobody holds."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        frame = connection.channel().queue_declare("notifications.events", passive=True)
        return int(frame.method.message_count)


def lose(url: str) -> None:
    """Lose all that the broker keeps."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        for queue in ("notifications.events", "notifications.events.dead"):
            channel.queue_delete(queue)
        channel.exchange_delete(topology.EXCHANGE)


def age(database: Database, last: int, days: int) -> None:
    """Make it so that the events up to position `last` were published days ago."""
    with database.sessions.begin() as session:
        session.execute(
            update(Outbox)
            .where(Outbox.position <= last)
            .values(published_at=now() - timedelta(days=days))
        )


def a_day_ago() -> datetime:
    return now() - timedelta(days=1)


def take(url: str, count: int) -> list[tuple[pika.BasicProperties, bytes]]:
    """Take so many messages out of the receiver's queue."""
    found: list[tuple[pika.BasicProperties, bytes]] = []
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        for method, properties, body in channel.consume(
            "notifications.events", inactivity_timeout=20
        ):
            assert method is not None, f"{len(found)} messages of {count}"
            channel.basic_ack(method.delivery_tag)
            found.append((properties, body))
            if len(found) == count:
                break
        channel.cancel()
    return found


def test_what_the_broker_lost_takes_effect_once_and_in_order(
    vhost: str, sender: Database, receiver: Database
) -> None:
    orders = {uuid4(): Aggregate() for _ in range(40)}
    record(sender, orders, times=5)
    relay_all(sender, vhost)
    consume_until(receiver, vhost, 200)
    record(sender, orders, times=25)
    relay_all(sender, vhost)
    before = history(sender)
    lose(vhost)
    topology.declare(vhost, [probe.PUBLISHER, probe.SERVICE])
    told: list[tuple[int, int]] = []

    count = republish(
        "orders", sender, vhost, a_day_ago(), lambda done, total: told.append((done, total))
    )

    assert count == 1200
    assert told == [(0, 1200), (500, 1200), (1000, 1200), (1200, 1200)]
    assert history(sender) == before
    record(sender, {uuid4(): Aggregate()}, times=1)  # after it, nothing is on its way
    relay_all(sender, vhost)
    consume_until(receiver, vhost, 1201)
    seen: dict[str, list[int]] = {}
    for effect in probe.effects(receiver)[:-1]:
        seen.setdefault(effect.subject, []).append(effect.sequence)
    assert len(seen) == 40
    assert all(sequences == list(range(1, 31)) for sequences in seen.values())


def test_published_again_twice_nothing_more_happens(
    vhost: str, sender: Database, receiver: Database
) -> None:
    record(sender, {uuid4(): Aggregate()}, times=10)
    relay_all(sender, vhost)
    before = history(sender)

    assert republish("orders", sender, vhost, a_day_ago()) == 10
    assert republish("orders", sender, vhost, a_day_ago()) == 10

    assert history(sender) == before
    wait_until(lambda: depth(vhost) == 30, 20, "each event three times")
    last = uuid4()
    record(sender, {last: Aggregate()}, times=1)
    relay_all(sender, vhost)
    consume_until(receiver, vhost, 11)
    *others, end = probe.effects(receiver)
    assert end.subject == f"order/{last}"
    assert [effect.sequence for effect in others] == list(range(1, 11))


def test_the_message_is_the_one_that_the_relay_sent(vhost: str, sender: Database) -> None:
    record(sender, {uuid4(): Aggregate()}, times=1)
    with sender.sessions.begin() as session:
        session.execute(update(Outbox).values(traceparent=f"00-{'a' * 32}-{'b' * 16}-01"))
    relay_all(sender, vhost)

    republish("orders", sender, vhost, a_day_ago())

    first, second = take(vhost, 2)
    assert first == second
    assert second[0].delivery_mode == 2


def test_only_what_was_published_since_then_is_published_again(
    vhost: str, sender: Database
) -> None:
    record(sender, {uuid4(): Aggregate()}, times=5)
    relay_all(sender, vhost)
    age(sender, last=3, days=2)
    record(sender, {uuid4(): Aggregate()}, times=1)  # waits for the relay
    take(vhost, 5)

    assert republish("orders", sender, vhost, a_day_ago()) == 2
    assert republish("orders", sender, vhost, now() + timedelta(days=1)) == 0

    wait_until(lambda: depth(vhost) == 2, 20, "the two newest")


def test_an_event_without_a_queue_is_refused_and_told_what_to_do(
    vhost: str, sender: Database
) -> None:
    record(sender, {uuid4(): Aggregate()}, times=2)
    relay_all(sender, vhost)
    before = history(sender)
    with pika.BlockingConnection(pika.URLParameters(vhost)) as connection:
        connection.channel().queue_unbind("notifications.events", "events", "orders.order_paid.v1")

    with pytest.raises(Refused, match="farmgate topology"):
        republish("orders", sender, vhost, a_day_ago())

    assert history(sender) == before
