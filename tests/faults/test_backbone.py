"""Faults on the backbone with a ledger, and the proof that the ledger sees what it looks for.

Each fault is played twice: as the code is, where nothing may be lost, doubled or out of order;
and with one of its mechanisms taken out, where the ledger must tell the damage.
"""

import os
import pickle
import random
from pathlib import Path
from typing import Any
from uuid import UUID

import pika
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

import shared.messaging.relay
from shared.events import Fact
from shared.messaging import inbox, topology
from shared.messaging.batch import Batch, transaction
from shared.messaging.relay import Relay
from shared.messaging.tables import Outbox
from shared.runtime.ids import new_id
from shared.runtime.supervision import Stopping, supervise
from tests.faults.bench import (
    DRAINED,
    ORDERS,
    PAID,
    TIMES,
    Aggregate,
    Bench,
    Verdict,
    all_kept,
    verdict,
)
from tests.support import probe
from tests.support.servers import RabbitMQ, wait_until

pytestmark = [pytest.mark.broker, pytest.mark.postgres]

COPIES = 20
#: Seconds of the broker's alarm: with `--long`, and without.
ALARM = {True: 300, False: 1}


# --- Every message twenty times, shuffled ---------------------------------------------------------


def deliver_often(bench: Bench) -> None:
    """Let all arrive, and then nineteen copies more of each, in any order."""
    bench.pay_all()
    with bench.relaying():
        wait_until(lambda: bench.waiting() == 0, DRAINED, "everything is published")
    with bench.sender.readers() as session:
        bodies = list(session.scalars(select(Outbox.body)).all()) * (COPIES - 1)
    random.Random(4).shuffle(bodies)
    with bench.channel() as channel:
        channel.confirm_delivery()
        for body in bodies:
            channel.basic_publish("events", PAID, bytes(body), mandatory=True)
    bench.drain()


def test_every_message_twenty_times_takes_effect_once_and_in_order(bench: Bench) -> None:
    deliver_often(bench)
    assert bench.verdict() == all_kept(ORDERS * TIMES + 1)


def test_without_the_inbox_the_bench_tells_the_doubling(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def believe_all(session: Session, events: Any) -> set[UUID]:
        return {event.event_id for event in events}

    monkeypatch.setattr(inbox, "take", believe_all)
    deliver_often(bench)
    found = bench.verdict()
    assert found.doubled == ORDERS * TIMES
    assert found.lost == 0


# --- A binding is deleted while the relay runs ----------------------------------------------------


def unbind_meanwhile(bench: Bench) -> None:
    """Delete bindings, sell on, and declare the topology again only much later."""
    bench.pay_all(1)
    with bench.relaying():
        wait_until(lambda: bench.waiting() == 0, DRAINED, "the first are published")
    with bench.channel() as channel:
        channel.queue_unbind("notifications.events", "events", PAID)
    bench.pay_all(2)
    ended: list[BaseException] = []
    stopping = Stopping()
    relay = Relay("orders", bench.sender, bench.url, stopping)
    thread = supervise("relay", relay.run, stopping, ended.append)
    wait_until(lambda: bool(ended) or bench.waiting() == 0, DRAINED, "the relay saw the hole")
    stopping.set()
    thread.join(15)
    topology.declare(bench.url, [probe.PUBLISHER, probe.SERVICE])
    bench.drain()


def test_a_deleted_binding_loses_nothing(bench: Bench) -> None:
    unbind_meanwhile(bench)
    assert bench.verdict() == all_kept(ORDERS * 3 + 1)


def test_without_the_wait_for_confirms_the_bench_tells_the_loss(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_of_relay = shared.messaging.relay._Session
    send = session_of_relay._pump

    def send_and_mark(self: Any) -> None:
        send(self)
        if self.rows:
            self.pending.clear()
            self._mark()

    monkeypatch.setattr(session_of_relay, "_pump", send_and_mark)
    monkeypatch.setattr(session_of_relay, "_confirmed", lambda self, frame: None)
    unbind_meanwhile(bench)
    assert bench.verdict().lost == ORDERS * 2


# --- The broker's alarm, and connections that are cut ---------------------------------------------


@pytest.mark.harms_broker
@pytest.mark.parametrize(
    ("limit", "alarming", "harmless"),
    [
        ("set_vm_memory_high_watermark", "0.00001", "0.6"),
        ("set_disk_free_limit", "900000GB", "50MB"),
    ],
    ids=["memory", "disk"],
)
def test_an_alarm_of_the_broker_holds_the_relay_back_and_loses_nothing(
    bench: Bench, broker: RabbitMQ, limit: str, alarming: str, harmless: str, long: bool
) -> None:
    bench.pay_all(1)
    with bench.relaying():
        wait_until(lambda: bench.waiting() == 0, DRAINED, "the first are in the queue")
    stopping = Stopping()
    relay = Relay("orders", bench.sender, bench.url, stopping)
    failures: list[BaseException] = []
    thread = supervise("relay", relay.run, stopping, failures.append)
    broker.ctl(limit, alarming)
    try:
        bench.pay_all(2)
        wait_until(lambda: relay.blocked, DRAINED, "the relay is told to wait")
        held_back = bench.waiting()
        with bench.listening():
            wait_until(lambda: bench.effects() >= ORDERS, DRAINED, "consumers go on")
        bench.pay_for(ALARM[long])
        assert relay.blocked
        assert bench.waiting() >= held_back > 0
    finally:
        broker.ctl(limit, harmless)
    wait_until(lambda: not relay.blocked and bench.waiting() == 0, DRAINED, "it goes on by itself")
    stopping.set()
    thread.join(15)

    # After half a minute its silent session at the database ends, and it begins a new one.
    assert len(failures) <= (1 if long else 0)
    bench.drain()
    assert bench.verdict() == all_kept(len(bench.acknowledged))


def test_connections_closed_again_and_again_lose_nothing(bench: Bench, broker: RabbitMQ) -> None:
    vhost = bench.url.rpartition("/")[2]
    with bench.relaying(), bench.listening():
        for _ in range(5):
            bench.pay_all(2)
            broker.ctl("close_all_connections", "--vhost", vhost, "a fault")
    bench.drain()
    assert bench.verdict() == all_kept(ORDERS * 10 + 1)


# --- What strangers put on the exchange -----------------------------------------------------------


def publish_by_hand(bench: Bench, body: bytes, content_type: str) -> None:
    with bench.channel() as channel:
        channel.confirm_delivery()
        properties = pika.BasicProperties(content_type=content_type, delivery_mode=2)
        channel.basic_publish("events", PAID, body, properties, mandatory=True)


def test_a_message_of_20_mb_is_parked_and_the_loop_lives(bench: Bench) -> None:
    with bench.listening() as failures:
        publish_by_hand(bench, b'{"id": "' + b"x" * 20_000_000 + b'"}', "application/json")
        bench.drain()
    assert failures == []
    assert bench.parked() == [("unreadable", "dead")]
    assert bench.verdict() == all_kept(1)


class Bomb:
    """Makes a folder where it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.place),)


def test_a_pickle_is_parked_and_never_opened(bench: Bench, tmp_path: Path) -> None:
    opened = tmp_path / "opened"
    with bench.listening() as failures:
        publish_by_hand(bench, pickle.dumps(Bomb(opened)), "application/x-python-serialize")
        bench.drain()
    assert failures == []
    assert bench.parked() == [("unreadable", "dead")]
    assert not opened.exists()
    pickle.loads(pickle.dumps(Bomb(opened)))
    assert opened.exists()  # so it would have been seen


# --- Death between the change and its commit ------------------------------------------------------


def die_now_and_then(bench: Bench) -> None:
    chance = random.Random(4)
    for _ in range(TIMES):
        for order_id in list(bench.orders):
            bench.pay(order_id, dies=chance.random() < 0.3)
    bench.drain()


def test_what_dies_before_its_commit_is_said_to_nobody(bench: Bench) -> None:
    die_now_and_then(bench)
    found = bench.verdict()
    assert found == all_kept(len(bench.acknowledged))
    assert found.kept < ORDERS * TIMES


def test_without_the_transaction_of_the_outbox_the_bench_tells_what_nobody_did(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Batch.record

    def record_at_once(batch: Batch, aggregate: Aggregate, fact: Fact) -> None:
        with transaction(bench.sender, Batch) as another:
            record(another, aggregate, fact)

    monkeypatch.setattr(Batch, "record", record_at_once)
    # A number that was said cannot be said again: each payment is the first of its order.
    for _ in range(TIMES):
        order_id = new_id()
        bench.orders[order_id] = Aggregate()
        bench.pay(order_id, dies=True)
    monkeypatch.setattr(Batch, "record", record)
    bench.drain()
    assert bench.verdict().unexpected == TIMES


# --- The ledger itself ----------------------------------------------------------------------------


def test_the_ledger_sorts_what_it_is_shown() -> None:
    acknowledged = [("a", 1), ("a", 2), ("b", 1), ("c", 1)]
    effects = [("a", 2), ("a", 1), ("b", 1), ("b", 1), ("d", 1)]
    found = verdict(acknowledged, effects)
    assert found == Verdict(kept=3, lost=1, doubled=1, unexpected=1, out_of_order=1)
