"""An integrator's first program: each order event once, whatever fails, and nothing else."""

import signal
import subprocess
from collections.abc import Callable
from typing import Any

import pika
import pytest
import requests
from pika.exceptions import ChannelClosedByBroker, ProbableAccessDeniedError
from sqlalchemy import select, update

from shared.messaging.tables import Outbox
from tests.examples.conftest import Partner
from tests.faults.bench import ORDERS, PAID, Bench, verdict
from tests.support.servers import RabbitMQ, stop, wait_until

#: Seconds in which everything must have arrived, also on a machine that does much else.
DRAINED = 120

pytestmark = [pytest.mark.broker, pytest.mark.postgres]


def publish(bench: Bench, times: int) -> None:
    """Let events of all orders leave the outbox."""
    bench.pay_all(times)
    with bench.relaying() as failures:
        wait_until(lambda: bench.waiting() == 0, DRAINED, "everything is published")
    assert failures == []


def everything_once(bench: Bench, partner: Partner) -> None:
    """Wait for all that was acknowledged; it is there once, and each order's in its order."""
    expected = len(bench.acknowledged)
    wait_until(lambda: len(partner.stored()) >= expected, DRAINED, "all events are stored")
    found = verdict(bench.acknowledged, partner.stored())
    assert (found.kept, found.lost, found.doubled, found.unexpected) == (expected, 0, 0, 0)
    assert found.out_of_order == 0


def test_order_events_arrive_once_over_a_kill_and_a_restart(bench: Bench, partner: Partner) -> None:
    publish(bench, 60)
    killed = partner.start()
    wait_until(lambda: len(partner.stored()) >= 50, DRAINED, "it is in the middle of it")
    killed.kill()
    killed.wait()
    place = len(partner.stored())
    publish(bench, 5)

    partner.start()

    everything_once(bench, partner)
    beginnings = [line for line in partner.log() if "waiting for more" in line]
    assert beginnings == [f"{n} events are stored; waiting for more" for n in (0, place)]


def test_an_event_that_is_published_again_is_known_by_its_id(
    bench: Bench, partner: Partner
) -> None:
    partner.start()
    publish(bench, 2)
    everything_once(bench, partner)
    with bench.sender.sessions.begin() as session:
        session.execute(update(Outbox).values(position=None, published_at=None))
        again = len(session.scalars(select(Outbox.id)).all())
    publish(bench, 0)

    def doubles() -> int:
        return sum(line.startswith("double") for line in partner.log())

    wait_until(lambda: doubles() == again, DRAINED, "all came again")
    everything_once(bench, partner)


@pytest.mark.harms_broker
def test_a_broker_that_restarts_is_waited_for(
    bench: Bench, partner: Partner, broker: RabbitMQ
) -> None:
    """Slow: the broker starts again."""
    process = partner.start()
    publish(bench, 2)
    everything_once(bench, partner)

    assert broker.process is not None
    broker.ctl("stop")
    broker.process.wait(DRAINED)
    bench.pay_all(2)
    wait_until(lambda: any("again in" in line for line in partner.log()), DRAINED, "it noticed")
    broker.start()
    publish(bench, 2)

    everything_once(bench, partner)
    assert process.poll() is None


def test_sigterm_ends_it_after_the_event_in_hand_and_the_next_start_goes_on(
    bench: Bench, partner: Partner
) -> None:
    publish(bench, 60)
    process = partner.start()
    wait_until(lambda: len(partner.stored()) >= 20, DRAINED, "it is in the middle of it")

    process.send_signal(signal.SIGTERM)

    assert process.wait(20) == 0
    place = len(partner.stored())
    assert place < ORDERS * 60
    assert partner.log()[-1] == f"{place} events are stored; ended"
    partner.start()
    everything_once(bench, partner)
    # What was stored had been acknowledged: nothing of it came a second time.
    assert not any(line.startswith("double") for line in partner.log())


def test_while_nothing_comes_it_ends_as_well(bench: Bench, partner: Partner) -> None:
    process = partner.start()
    wait_until(lambda: "waiting for more" in str(partner.log()), DRAINED, "it has begun")

    stop(process)

    assert process.returncode == 0


def test_who_is_removed_is_cut_off_and_told_so(
    bench: Bench, partner: Partner, operator: Callable[..., str]
) -> None:
    process = partner.start()
    publish(bench, 1)
    everything_once(bench, partner)

    operator("remove", partner.told["name"], "--yes")

    assert process.wait(60) == 1
    assert partner.log()[-1] == "The broker refuses this user or password: ask for a new one."


def test_a_new_password_ends_what_the_old_one_began(
    bench: Bench, partner: Partner, operator: Callable[..., str]
) -> None:
    process = partner.start()
    publish(bench, 1)
    everything_once(bench, partner)

    operator("add", partner.told["name"], "--new-password")

    try:
        assert process.wait(60) == 1
    except subprocess.TimeoutExpired:
        pytest.fail("the old password still works")


def declare_hostile(channel: Any, partner: Partner, other: Partner) -> None:
    arguments = {"x-max-length": 1, "x-overflow": "reject-publish"}
    channel.queue_declare("integrator.hostile", arguments=arguments)


def publish_event(channel: Any, partner: Partner, other: Partner) -> None:
    channel.basic_publish("events", PAID, b"{}")


def publish_to_a_queue(channel: Any, partner: Partner, other: Partner) -> None:
    channel.basic_publish("", "notifications.events", b"{}")


def publish_to_its_own(channel: Any, partner: Partner, other: Partner) -> None:
    channel.basic_publish("", partner.queue, b"{}")


REFUSED: dict[str, Callable[[Any, Partner, Partner], object]] = {
    "read a service's queue": lambda c, me, other: c.basic_get("orders.events"),
    "consume a service's queue": lambda c, me, other: c.basic_consume("orders.events", print),
    "read a dead queue": lambda c, me, other: c.basic_get("orders.events.dead"),
    "read the stream": lambda c, me, other: c.basic_consume("orders.log", print),
    "read another's queue": lambda c, me, other: c.basic_get(other.queue),
    "purge another's queue": lambda c, me, other: c.queue_purge(other.queue),
    "publish an event": publish_event,
    "publish to a service": publish_to_a_queue,
    "publish to its own queue": publish_to_its_own,
    "bind an internal event": lambda c, me, other: c.queue_bind(
        me.queue, "events", "orders.contact_given.v1"
    ),
    "bind everything": lambda c, me, other: c.queue_bind(me.queue, "events", "#"),
    "unbind": lambda c, me, other: c.queue_unbind(me.queue, "events", PAID),
    "declare a queue": declare_hostile,
    "declare a nameless queue": lambda c, me, other: c.queue_declare("", exclusive=True),
    "declare an exchange": lambda c, me, other: c.exchange_declare("integrator.exchange"),
    "delete its own queue": lambda c, me, other: c.queue_delete(me.queue),
    "delete another's queue": lambda c, me, other: c.queue_delete(other.queue),
    "delete the exchange": lambda c, me, other: c.exchange_delete("events"),
}


def test_everything_else_is_refused(
    bench: Bench, partners: Callable[[], Partner], broker: RabbitMQ
) -> None:
    partner, other = partners(), partners()
    with partner.connect() as connection:
        allowed = []
        for what, act in REFUSED.items():
            channel = connection.channel()
            channel.confirm_delivery()
            channel.basic_qos(prefetch_count=1)  # without it a stream refuses for another reason
            try:
                act(channel, partner, other)
            except ChannelClosedByBroker as error:
                if error.reply_code == 403:
                    continue
            allowed.append(what)
        assert allowed == []
        # What it may: its own queue, which is there.
        assert connection.channel().basic_get(partner.queue) == (None, None, None)

    elsewhere = pika.URLParameters(broker.url(partner.told["user"], partner.told["password"]))
    with pytest.raises(ProbableAccessDeniedError):
        pika.BlockingConnection(elsewhere)
    address = broker.management_url.rpartition("@")[2]
    who = (partner.told["user"], partner.told["password"])
    assert requests.get(f"http://{address}/api/overview", auth=who, timeout=10).status_code == 401


def test_one_that_leaks_connections_is_stopped_at_five(bench: Bench, partner: Partner) -> None:
    held = [partner.connect() for _ in range(5)]
    try:
        with pytest.raises(pika.exceptions.AMQPConnectionError):
            partner.connect()
    finally:
        for connection in held:
            connection.close()
