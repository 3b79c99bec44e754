"""A publisher whose broker is away, whose relay is killed, or whose transaction stays open."""

import random

import pytest
from sqlalchemy import func, select, text

from shared.events import OrderPaid
from shared.messaging.batch import Batch, transaction
from shared.messaging.envelope import decode
from shared.messaging.tables import Outbox
from shared.runtime.ids import new_id
from shared.runtime.supervision import Stopping
from tests.faults.bench import (
    DRAINED,
    MORE_MEMORY,
    ORDERS,
    Aggregate,
    Bench,
    all_kept,
    running,
)
from tests.support.servers import RabbitMQ, wait_until

pytestmark = [pytest.mark.broker, pytest.mark.postgres]

#: Seconds without a broker, kills of the relay, and seconds of a transaction: with `--long`, and
#: without.
AWAY = {True: 600, False: 5}
KILLS = {True: 100, False: 4}
OPEN = {True: 600, False: 2}
#: Events that a consumer surely handles in a second, on a slow machine.
SLOWEST = 300


def position(bench: Bench) -> int:
    """Return the highest position that the publisher gave."""
    with bench.sender.readers() as session:
        return session.scalar(select(func.max(Outbox.position))) or 0


def gap_free(bench: Bench) -> bool:
    """Tell whether all events have a position, without a gap or a double."""
    positions = sorted(at for at in bench.positions() if at is not None)
    return positions == list(range(1, len(bench.positions()) + 1))


def oldest_waiting_seconds(bench: Bench) -> float:
    """Return how long the oldest event without a position waits."""
    oldest = text(
        "SELECT extract(epoch FROM now() - min(recorded_at)) FROM outbox WHERE position IS NULL"
    )
    with bench.sender.readers() as session:
        return float(session.scalar(oldest) or 0)


@pytest.mark.rest
@pytest.mark.harms_broker
def test_while_the_broker_is_away_for_long_events_wait_and_then_drain_in_order(
    bench: Bench, broker: RabbitMQ, long: bool
) -> None:
    with bench.worker("orders") as relay, bench.worker("notifications") as listener:
        bench.pay_all(2)
        wait_until(lambda: bench.effects() == ORDERS * 2, DRAINED, "it works")
        held = [(worker, worker.memory()) for worker in (relay, listener)]
        # RabbitMQ 3.10 forgets queues that were declared less than a second before a kill.
        bench.pay_for(3)
        broker.kill()
        try:
            bench.pay_for(AWAY[long])
            standing = position(bench)
            bench.pay_all(1)
            assert position(bench) == standing
        finally:
            broker.start()
        everything = len(bench.acknowledged)
        wait_until(
            lambda: bench.effects() == everything, DRAINED + everything / SLOWEST, "all drains"
        )
        for worker, before in held:
            assert worker.process.poll() is None
            assert worker.memory() < before + MORE_MEMORY

    assert gap_free(bench)
    bench.drain()
    assert bench.verdict() == all_kept(everything + 1)


@pytest.mark.rest
def test_a_relay_killed_at_random_under_load_publishes_the_same_events_again(
    bench: Bench, long: bool
) -> None:
    chance = random.Random(2)

    def load(stopping: Stopping) -> None:
        while not stopping.is_set():
            bench.pay_all(1)

    with bench.listening(), running(load) as failures:
        for _ in range(KILLS[long]):
            reached = position(bench)
            with bench.worker("orders"):
                wanted = reached + chance.randrange(1, 2000)
                wait_until(
                    lambda wanted=wanted: position(bench) >= wanted,  # type: ignore[misc]
                    DRAINED,
                    "it is in the middle of its work",
                )
        reached = position(bench)
        with bench.worker("orders"):
            wait_until(lambda: position(bench) > reached, DRAINED, "the last relay is at work")
            wait_until(
                lambda: oldest_waiting_seconds(bench) < 1,
                DRAINED,
                "no event is late any more, under the same load",
            )

    assert failures == []
    bench.drain()
    assert gap_free(bench)
    assert bench.verdict() == all_kept(len(bench.acknowledged))


def test_an_event_whose_transaction_stays_open_is_late_and_holds_up_no_other(
    bench: Bench, long: bool
) -> None:
    late, aggregate = new_id(), Aggregate()
    with bench.relaying(), bench.listening():
        with transaction(bench.sender, Batch) as batch:
            facts = {"order_ref": "ORD-1", "amount_fen": 1, "method": "prepaid"}
            batch.record(aggregate, OrderPaid(order_id=late, **facts))
            batch.write()
            bench.pay_for(OPEN[long])
            others = len(bench.acknowledged)
            wait_until(lambda: position(bench) == others, DRAINED, "all others are published")
        bench.acknowledged.append((f"order/{late}", 1))
        wait_until(lambda: bench.effects() == others + 1, DRAINED, "all have arrived")

    with bench.sender.readers() as session:
        last = session.scalars(select(Outbox.body).where(Outbox.position == others + 1)).one()
    assert decode(bytes(last)).subject == f"order/{late}"
    bench.drain()
    assert gap_free(bench)
    assert bench.verdict() == all_kept(others + 2)
