"""Partners' queues are fed from their feeds: in order, without loss, within bounds."""

import json
from collections.abc import Callable
from typing import Any

import pika
import pytest
from sqlalchemy import update

from services.notifications.batch import NotificationsBatch
from services.notifications.models import QueueFeed
from services.notifications.use_cases import feed, queues
from shared.messaging import topology
from shared.messaging.batch import transaction
from shared.messaging.feeding import Outcome, Result
from shared.messaging.topology import Integrator
from tests.notifications.queues.conftest import channel_of
from tests.support.feeding import Feeds, take_one
from tests.support.servers import wait_until

pytestmark = [pytest.mark.broker]

#: Seconds in which everything must have happened, also on a machine that does much else.
SOON = 60
MEGABYTE = 1_048_576

Received = tuple[int, str, int, str]


def take(url: str, queue: str, count: int) -> list[Received]:
    """Take messages: position, subject, sequence and id."""
    taken: list[Received] = []
    with channel_of(url) as channel:
        channel.basic_qos(prefetch_count=500)
        for method, properties, body in channel.consume(queue, inactivity_timeout=SOON):
            assert method is not None, f"only {len(taken)} of {count} came"
            taken.append(received(properties, body))
            channel.basic_ack(method.delivery_tag)
            if len(taken) == count:
                return taken
    raise AssertionError("the subscription ended")


def received(properties: Any, body: bytes) -> Received:
    event = json.loads(body)
    assert properties.message_id == event["id"]
    position = properties.headers[topology.POSITION_HEADER]
    return position, event["subject"], int(event["sequence"]), event["id"]


def depth(url: str, queue: str) -> int:
    with channel_of(url) as channel:
        return int(channel.queue_declare(queue, passive=True).method.message_count)


def fed(feeds: Feeds, queue: str, position: int) -> None:
    wait_until(
        lambda: feeds.state(queue).position == position, SOON, f"{queue} is fed to {position}"
    )


def test_each_partner_gets_its_own_events_in_order_with_their_positions(
    feeds: Feeds, queue_of: Callable[..., str], vhost: str
) -> None:
    one, other = queue_of("one"), queue_of("other")
    with feeds.feeding() as failures:
        for _ in range(5):
            feeds.enter("one", 100)
            feeds.enter("other", 60)
        mine, theirs = take(vhost, one, 500), take(vhost, other, 300)

    assert failures == []
    assert [(s, n) for _, s, n, _ in mine] == feeds.entered["one"]
    assert [(s, n) for _, s, n, _ in theirs] == feeds.entered["other"]
    assert [position for position, *_ in mine] == list(range(1, 501))
    assert [event_id for *_, event_id in mine] == [str(each) for each in feeds.ids("one")]


def test_the_cursor_of_a_message_leads_behind_it(
    feeds: Feeds, queue_of: Callable[..., str], vhost: str
) -> None:
    queue = queue_of("one")
    feeds.enter("one", 3)
    with feeds.feeding():
        fed(feeds, queue, 3)

    with channel_of(vhost) as channel:
        cursors = [take_one(channel, queue)[1].headers[topology.CURSOR_HEADER] for _ in range(3)]

    with feeds.database.readers() as session:
        here = feed.find_feed(session, "one")
        assert [feed.position_of(here, cursor) for cursor in cursors] == [1, 2, 3]


def test_a_full_queue_keeps_its_bound_stops_only_itself_and_goes_on_when_there_is_room(
    feeds: Feeds, queue_of: Callable[..., str], vhost: str
) -> None:
    full, other = queue_of("full", MEGABYTE), queue_of("other")
    with feeds.feeding() as failures:
        for _ in range(10):
            feeds.enter("full", 200, padding=1500)
            feeds.enter("other", 20)
        wait_until(lambda: feeds.state(full).outcome == "full", SOON, "the queue is full")
        assert len(take(vhost, other, 200)) == 200
        waiting = depth(vhost, full)
        assert 200 * feeds.longest() < waiting * feeds.longest() <= MEGABYTE
        mine = take(vhost, full, 2000)

    assert failures == []
    assert [(s, n) for _, s, n, _ in mine] == feeds.entered["full"]
    assert [position for position, *_ in mine] == list(range(1, 2001))


def test_after_a_kill_before_the_position_is_stored_events_come_again_with_their_positions(
    feeds: Feeds, queue_of: Callable[..., str], vhost: str
) -> None:
    queue = queue_of("one")
    feeds.enter("one", 50)
    with feeds.feeding():
        fed(feeds, queue, 50)
    # What a kill between the confirms and the commit leaves behind.
    with feeds.database.sessions.begin() as session:
        session.execute(update(QueueFeed).values(position=20))

    with feeds.feeding():
        mine = take(vhost, queue, 80)

    assert [position for position, *_ in mine] == [*range(1, 51), *range(21, 51)]
    assert mine[50:] == mine[20:50]


def test_a_replay_of_one_queue_is_paced_by_its_bound_and_reaches_nobody_else(
    feeds: Feeds, queue_of: Callable[..., str], vhost: str
) -> None:
    queue, other = queue_of("one", MEGABYTE), queue_of("other")
    with feeds.feeding():
        feeds.enter("one", 1500, padding=1500)
        feeds.enter("other", 10)
        take(vhost, queue, 1500)
        take(vhost, other, 10)
        fed(feeds, queue, 1500)  # the position is stored after the confirms
        with transaction(feeds.database, NotificationsBatch) as batch:
            assert queues.replay_queue(batch, queue, "test", None) == (1500, 1)
        wait_until(lambda: feeds.state(queue).outcome == "full", SOON, "the queue is full")
        assert depth(vhost, queue) * feeds.longest() <= MEGABYTE
        again = take(vhost, queue, 1500)

    assert [position for position, *_ in again] == list(range(1, 1501))
    assert depth(vhost, other) == 0


def test_a_queue_that_is_missing_stops_only_itself_and_is_fed_when_it_is_back(
    feeds: Feeds, queue_of: Callable[..., str], vhost: str
) -> None:
    queue, other = queue_of("one"), queue_of("other")
    with channel_of(vhost) as channel:
        channel.queue_delete(queue)
    with feeds.feeding() as failures:
        feeds.enter("one", 10)
        feeds.enter("other", 10)
        assert len(take(vhost, other, 10)) == 10
        wait_until(lambda: feeds.state(queue).outcome == "missing", SOON, "it is missed")
        with pika.BlockingConnection(pika.URLParameters(vhost)) as connection:
            topology.declare_integrator(connection, Integrator("one"), None)
        assert len(take(vhost, queue, 10)) == 10

    assert failures == []


def test_a_position_that_was_set_back_meanwhile_is_not_overwritten(
    feeds: Feeds, queue_of: Callable[..., str]
) -> None:
    queue = queue_of("one")
    feeds.enter("one", 10)
    with feeds.database.readers() as session:
        (window,) = queues.next_windows(session, ())
    with transaction(feeds.database, NotificationsBatch) as batch:
        queues.set_back_lost(batch, queue)

    with transaction(feeds.database, NotificationsBatch) as batch:
        queues.record_results(batch, [Result(window, 10, Outcome.FED)])

    assert feeds.state(queue).position == 0
