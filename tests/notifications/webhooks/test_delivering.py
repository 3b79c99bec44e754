"""What an endpoint gets: signed, in order, each event until it is taken."""

import time
from collections import Counter
from datetime import timedelta

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from services.notifications.batch import NotificationsBatch
from services.notifications.use_cases import feed, webhooks
from shared.messaging.batch import transaction
from shared.runtime import clock
from tests.support.servers import wait_until


def test_an_event_comes_signed_and_unchanged(world, receive, sending):
    receiver = receive()
    endpoint_id = world.endpoint("acme", receiver.url)
    (event_id,) = world.events("acme", "order/1")

    with sending():
        wait_until(lambda: world.statuses(endpoint_id) == {"delivered": 1}, 10, "delivered")

    (received,) = receiver.requests
    assert Webhook(world.secret(endpoint_id)).verify(received.body, dict(received.headers))
    assert received.headers["webhook-id"] == received.event["id"] == str(event_id)
    assert received.headers["farmgate-position"] == "1"
    assert received.headers["content-type"].startswith("application/cloudevents+json")
    with world.database.readers() as session:
        found = feed.find_feed(session, "acme")
        (entry,) = feed.read_entries(session, found.subscription.id, 0, 10)
        assert feed.position_of(found, received.headers["farmgate-cursor"]) == 1
    assert received.body == entry.body
    (delivery,) = world.deliveries(endpoint_id)
    assert delivery.tries[0]["status"] == 200 and delivery.tries[0]["reason"] is None


def test_events_before_the_endpoint_are_not_sent_unless_asked_for(world, receive, sending):
    receiver = receive()
    world.events("acme", "order/1")
    with world.database.readers() as session:
        begin = feed.cursor_of(feed.find_feed(session, "acme"), 0)
    newer = world.endpoint("acme", receiver.url)
    older = world.endpoint("acme", receiver.url, after=begin)
    world.events("acme", "order/2")

    with sending():
        wait_until(lambda: world.statuses(older) == {"delivered": 2}, 10, "delivered")
        wait_until(lambda: world.statuses(newer) == {"delivered": 1}, 10, "delivered")


def test_an_endpoint_gets_only_the_types_that_it_wants(world, receive, sending):
    receiver = receive()
    endpoint_id = world.endpoint("acme", receiver.url, types=["orders.order_c*"])
    world.events("acme", "order/1")
    (wanted,) = world.events("acme", "order/1", type="orders.order_cancelled.v1")

    with sending():
        wait_until(lambda: world.find(endpoint_id).position == 2, 10, "read")
        wait_until(lambda: world.statuses(endpoint_id) == {"delivered": 1}, 10, "delivered")

    assert [each.event["id"] for each in receiver.requests] == [str(wanted)]


def test_each_partner_gets_its_own_events(world, receive, sending):
    mine, theirs = receive(), receive()
    world.subscribe("other")
    ours = world.endpoint("acme", mine.url)
    others = world.endpoint("other", theirs.url)
    world.events("acme", *(f"order/{n}" for n in range(100)))
    world.events("other", *(f"order/{n}" for n in range(100, 200)))

    with sending():
        wait_until(lambda: world.statuses(ours) == {"delivered": 100}, 20, "delivered")
        wait_until(lambda: world.statuses(others) == {"delivered": 100}, 20, "delivered")

    assert {each.event["subject"] for each in mine.requests} == {f"order/{n}" for n in range(100)}
    assert {e.event["subject"] for e in theirs.requests} == {f"order/{n}" for n in range(100, 200)}


def test_the_events_of_a_subject_come_one_after_the_other(world, receive, sending):
    under_way: Counter[str] = Counter()
    overlaps = []

    def answer(received):
        subject = received.event["subject"]
        under_way[subject] += 1
        overlaps.append(under_way[subject] > 1)
        time.sleep(0.005)  # a slow subscriber
        under_way[subject] -= 1
        return 200, {}

    receiver = receive(answer)
    endpoint_id = world.endpoint("acme", receiver.url)
    world.events("acme", *(f"order/{n % 5}" for n in range(60)))

    with sending():
        wait_until(lambda: world.statuses(endpoint_id) == {"delivered": 60}, 20, "delivered")

    assert not any(overlaps)
    for subject in (f"order/{n}" for n in range(5)):
        numbers = receiver.numbers(subject)
        assert numbers == sorted(numbers) and len(numbers) == 12


def test_a_failing_subject_blocks_only_itself(world, receive, sending):
    broken = {"order/1"}
    receiver = receive(lambda got: (500 if got.event["subject"] in broken else 200, {}))
    endpoint_id = world.endpoint("acme", receiver.url)
    world.events("acme", "order/1", "order/2", "order/1", "order/3")

    with sending():
        wait_until(lambda: world.statuses(endpoint_id).get("delivered") == 2, 10, "the others")
        first, _, second, _ = world.deliveries(endpoint_id)
        assert (first.status, second.status, second.attempts) == ("retrying", "waiting", 0)
        assert first.tries[0]["reason"] == "http_500" and second.next_try_at is None
        broken.clear()
        world.hurry()
        wait_until(lambda: world.statuses(endpoint_id) == {"delivered": 4}, 10, "all")

    assert receiver.numbers("order/1") == [1, 3]


def test_both_secrets_sign_while_one_is_rotated(world, receive, sending):
    receiver = receive()
    endpoint_id = world.endpoint("acme", receiver.url)
    with transaction(world.database, NotificationsBatch) as batch:
        webhooks.rotate_secret(batch, endpoint_id, "acme", "acme", 24)
    world.events("acme", "order/1")
    with sending():
        wait_until(lambda: world.statuses(endpoint_id) == {"delivered": 1}, 10, "the first")
        world.set(endpoint_id, previous_until=clock.now() - timedelta(seconds=1))
        world.events("acme", "order/2")
        wait_until(lambda: world.statuses(endpoint_id) == {"delivered": 2}, 10, "the second")

    both, new = receiver.requests
    for secret in (world.secret(endpoint_id, 1), world.secret(endpoint_id, 2)):
        assert Webhook(secret).verify(both.body, dict(both.headers))
    assert Webhook(world.secret(endpoint_id, 2)).verify(new.body, dict(new.headers))
    with pytest.raises(WebhookVerificationError):
        Webhook(world.secret(endpoint_id, 1)).verify(new.body, dict(new.headers))
