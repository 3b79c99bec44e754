"""An integrator's first program: each of its events once, whatever fails, and nothing else."""

import random
import re
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from time import sleep
from typing import Any

import pika
import pytest
import requests
from pika.exceptions import ChannelClosedByBroker, ProbableAccessDeniedError
from sqlalchemy import update

from farmgate.broker_inspector import ManagementInspector
from services.notifications.models import QueueFeed
from services.notifications.use_cases import feed
from services.notifications.worker import SERVICE
from shared.messaging.dead_letters import drain
from shared.messaging.processing import Processor
from shared.messaging.reconciler import TopologyReconciler
from tests.examples.conftest import Partner
from tests.faults.bench import PAID, running, verdict
from tests.support import probe
from tests.support.feeding import Feeds, take_one
from tests.support.servers import RabbitMQ, stop, wait_until

#: Seconds in which everything must have arrived, also on a machine that does much else.
DRAINED = 120
#: Events of each partner at a time, of ten orders.
SOME, MANY = 20, 600

pytestmark = [pytest.mark.broker]


def publish(feeds: Feeds, partner: Partner, count: int) -> None:
    """Let events reach the partner's queue."""
    feeds.enter(partner.name, count)
    last = len(feeds.entered[partner.name])
    with feeds.feeding() as failures:
        wait_until(
            lambda: feeds.state(partner.queue).position == last, DRAINED, "everything is published"
        )
    assert failures == []


def everything_once(feeds: Feeds, partner: Partner) -> None:
    """Wait for all of the partner's events; each is there once, and each order's in its order."""
    expected = feeds.entered[partner.name]
    wait_until(lambda: len(partner.stored()) >= len(expected), DRAINED, "all events are stored")
    found = verdict(expected, partner.stored())
    assert (found.kept, found.lost, found.doubled, found.unexpected) == (len(expected), 0, 0, 0)
    assert found.out_of_order == 0


def doubles(partner: Partner) -> int:
    return sum(line.startswith("double") for line in partner.log())


def test_its_events_arrive_once_over_a_kill_and_a_restart(feeds: Feeds, partner: Partner) -> None:
    publish(feeds, partner, MANY)
    killed = partner.start()
    wait_until(lambda: len(partner.stored()) >= 50, DRAINED, "it is in the middle of it")
    killed.kill()
    killed.wait()
    place = len(partner.stored())
    publish(feeds, partner, SOME)

    partner.start()

    everything_once(feeds, partner)
    beginnings = [line for line in partner.log() if "waiting for more" in line]
    assert beginnings == [f"{n} events are stored; waiting for more" for n in (0, place)]


def test_killed_at_random_it_ends_with_its_own_events_in_order(
    feeds: Feeds, partners: Callable[[], Partner]
) -> None:
    one, other = partners(), partners()
    chance = random.Random(18)
    with feeds.feeding():
        for _ in range(6):
            started = [each.start() for each in (one, other)]
            for each in (one, other):
                feeds.enter(each.name, 300)
            sleep(chance.uniform(0.5, 1.5))
            for process in started:
                process.kill()
                process.wait()
        one.start(), other.start()
        everything_once(feeds, one)
        everything_once(feeds, other)


def test_of_two_subscribers_one_gets_all_in_order_and_the_other_one_goes_on(
    feeds: Feeds, partner: Partner
) -> None:
    first = partner.start()
    wait_until(lambda: "waiting for more" in str(partner.log()), DRAINED, "the first one waits")
    partner.start()
    with feeds.feeding():
        feeds.enter(partner.name, MANY)
        wait_until(lambda: len(partner.stored()) >= 100, DRAINED, "it is in the middle of it")
        first.kill()
        first.wait()
        everything_once(feeds, partner)

    # In the order of the feed, over both.
    assert partner.stored() == feeds.entered[partner.name]


def test_an_event_that_is_fed_again_is_known_by_its_id(feeds: Feeds, partner: Partner) -> None:
    partner.start()
    publish(feeds, partner, SOME)
    everything_once(feeds, partner)
    with feeds.database.sessions.begin() as session:
        session.execute(update(QueueFeed).values(position=0))

    publish(feeds, partner, 0)

    wait_until(lambda: doubles(partner) == SOME, DRAINED, "all came again")
    everything_once(feeds, partner)


def test_it_sees_a_gap_and_names_the_cursor_behind_which_the_missing_events_are(
    feeds: Feeds, partner: Partner
) -> None:
    process = partner.start()
    publish(feeds, partner, SOME)
    everything_once(feeds, partner)
    stop(process)
    publish(feeds, partner, 7)
    with partner.connect() as connection:
        # RabbitMQ lets everybody purge who may read.
        connection.channel().queue_purge(partner.queue)

    partner.start()
    publish(feeds, partner, 1)

    wait_until(lambda: len(partner.stored()) == SOME + 1, DRAINED, "the next event is stored")
    (line,) = [line for line in partner.log() if line.startswith("gap")]
    assert "7 events are missing" in line
    cursor = re.search("after=([^&]+)&", line)
    assert cursor is not None
    with feeds.database.readers() as session:
        assert feed.position_of(feed.find_feed(session, partner.name), cursor[1]) == SOME


def test_what_a_lost_queue_held_comes_again(
    feeds: Feeds, partner: Partner, vhost: str, broker: RabbitMQ
) -> None:
    stop_after = partner.start()
    publish(feeds, partner, SOME)
    everything_once(feeds, partner)
    stop(stop_after)
    publish(feeds, partner, SOME)
    environment = {
        "FARMGATE_BROKER_URL": vhost,
        "FARMGATE_BROKER_MANAGEMENT_URL": broker.management_url,
        "FARMGATE_DATA": str(partner.folder),
    }
    services = [probe.PUBLISHER, replace(probe.SERVICE, on_queue_lost=SERVICE.on_queue_lost)]

    with pika.BlockingConnection(pika.URLParameters(vhost)) as connection:
        connection.channel().queue_delete(partner.queue)
        inspector = ManagementInspector(environment)
        restored = TopologyReconciler(vhost, services, inspector).reconcile(connection)
    assert restored == [partner.queue]
    partner.start()
    processor = Processor(SERVICE, feeds.database)
    with running(partial(drain, vhost, processor)), feeds.feeding():
        everything_once(feeds, partner)


@pytest.mark.harms_broker
def test_a_broker_that_restarts_is_waited_for(
    feeds: Feeds, partner: Partner, broker: RabbitMQ
) -> None:
    """Slow: the broker starts again."""
    process = partner.start()
    publish(feeds, partner, SOME)
    everything_once(feeds, partner)

    assert broker.process is not None
    broker.ctl("stop")
    broker.process.wait(DRAINED)
    feeds.enter(partner.name, SOME)
    wait_until(lambda: any("again in" in line for line in partner.log()), DRAINED, "it noticed")
    broker.start()
    publish(feeds, partner, SOME)

    everything_once(feeds, partner)
    assert process.poll() is None


def test_sigterm_ends_it_after_the_event_in_hand_and_the_next_start_goes_on(
    feeds: Feeds, partner: Partner
) -> None:
    publish(feeds, partner, MANY)
    process = partner.start()
    wait_until(lambda: len(partner.stored()) >= 20, DRAINED, "it is in the middle of it")

    process.send_signal(signal.SIGTERM)

    assert process.wait(20) == 0
    place = len(partner.stored())
    assert place < MANY
    assert partner.log()[-1] == f"{place} events are stored; ended"
    partner.start()
    everything_once(feeds, partner)
    # What was stored had been acknowledged: nothing of it came a second time.
    assert doubles(partner) == 0


def test_while_nothing_comes_it_ends_as_well(feeds: Feeds, partner: Partner) -> None:
    process = partner.start()
    wait_until(lambda: "waiting for more" in str(partner.log()), DRAINED, "it has begun")

    stop(process)

    assert process.returncode == 0


def test_who_is_removed_is_cut_off_and_told_so(
    feeds: Feeds, partner: Partner, operator: Callable[..., str]
) -> None:
    process = partner.start()
    publish(feeds, partner, SOME)
    everything_once(feeds, partner)

    operator("remove", partner.told["name"], "--yes")

    assert process.wait(60) == 1
    assert partner.log()[-1] == "The broker refuses this user or password: ask for a new one."


def test_a_new_password_ends_what_the_old_one_began(
    feeds: Feeds, partner: Partner, operator: Callable[..., str]
) -> None:
    process = partner.start()
    publish(feeds, partner, SOME)
    everything_once(feeds, partner)

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
    "read another's queue": lambda c, me, other: c.basic_get(other.queue),
    "purge another's queue": lambda c, me, other: c.queue_purge(other.queue),
    "publish an event": publish_event,
    "publish to a service": publish_to_a_queue,
    "publish to its own queue": publish_to_its_own,
    "publish as the feeder does": lambda c, me, other: c.basic_publish(
        "integrators", other.queue, b"{}"
    ),
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
    feeds: Feeds, partners: Callable[[], Partner], broker: RabbitMQ
) -> None:
    partner, other = partners(), partners()
    with partner.connect() as connection:
        allowed = []
        for what, act in REFUSED.items():
            channel = connection.channel()
            channel.confirm_delivery()
            try:
                act(channel, partner, other)
            except ChannelClosedByBroker as error:
                if error.reply_code == 403:
                    continue
            allowed.append(what)
        assert allowed == []
        # What it may: its own queue, which is there.
        nothing = take_one(connection.channel(), partner.queue, within=0.5)
        assert nothing == (None, None, None)

    elsewhere = pika.URLParameters(broker.url(partner.told["user"], partner.told["password"]))
    with pytest.raises(ProbableAccessDeniedError):
        pika.BlockingConnection(elsewhere)
    address = broker.management_url.rpartition("@")[2]
    who = (partner.told["user"], partner.told["password"])
    assert requests.get(f"http://{address}/api/overview", auth=who, timeout=10).status_code == 401


def test_one_that_leaks_connections_is_stopped_at_five(feeds: Feeds, partner: Partner) -> None:
    held = [partner.connect() for _ in range(5)]
    try:
        with pytest.raises(pika.exceptions.AMQPConnectionError):
            partner.connect()
    finally:
        for connection in held:
            connection.close()
