"""Endpoints that fail: retries, pauses, suspension, and that nothing is left out."""

from datetime import timedelta
from uuid import UUID

import pytest

from services.notifications.batch import NotificationsBatch
from services.notifications.models import FeedEntry
from services.notifications.use_cases import feed, webhooks
from shared.messaging.batch import transaction
from shared.runtime import clock
from tests.support.servers import wait_until


def act(world, do, endpoint_id: UUID, *more: object, **options: object):
    with transaction(world.database, NotificationsBatch) as batch:
        return do(batch, endpoint_id, "acme", "acme", *more, **options)


def test_410_disables_an_endpoint_and_resuming_leaves_nothing_out(world, receive, sending):
    status = [410]
    receiver = receive(lambda received: (status[0], {}))
    endpoint_id = world.endpoint("acme", receiver.url)
    world.events("acme", "order/1")

    with sending() as sender:
        wait_until(lambda: world.find(endpoint_id).status == "disabled", 10, "disabled")
        world.events("acme", "order/1", "order/2")
        asked = len(receiver.requests)
        world.hurry()
        sender.go_on()
        assert (world.find(endpoint_id).reason, len(receiver.requests)) == ("gone", asked)
        status[0] = 200
        act(world, webhooks.resume_endpoint, endpoint_id)
        wait_until(lambda: world.statuses(endpoint_id) == {"delivered": 3}, 10, "all")

    assert receiver.numbers("order/1") == [1, 2]
    with world.database.readers() as session:
        actions = feed.list_actions(session, limit=10, partner="acme").items
    assert [(each.action, each.actor) for each in actions][:2] == [
        ("endpoint_resumed", "acme"),
        ("endpoint_disabled", "farmgate"),
    ]


def test_retry_after_is_obeyed(world, receive, sending):
    replies = [(503, {"Retry-After": "3600"})]
    receiver = receive(lambda received: replies[-1])
    endpoint_id = world.endpoint("acme", receiver.url)
    world.events("acme", "order/1")

    with sending() as sender:
        wait_until(lambda: world.statuses(endpoint_id) == {"retrying": 1}, 10, "a failure")
        world.events("acme", "order/2")
        sender.go_on()
    endpoint = world.find(endpoint_id)

    wait = timedelta(seconds=3500)
    assert endpoint.paused_until - clock.now() > wait
    assert all(each.next_try_at - clock.now() > wait for each in world.deliveries(endpoint_id))
    assert len(receiver.requests) == 1


def test_a_redirect_is_a_failure_and_is_not_followed(world, receive, sending):
    target = receive()
    receiver = receive(lambda received: (307, {"Location": target.url}))
    endpoint_id = world.endpoint("acme", receiver.url)
    world.events("acme", "order/1")

    with sending():
        wait_until(lambda: world.statuses(endpoint_id) == {"retrying": 1}, 10, "a failure")

    (delivery,) = world.deliveries(endpoint_id)
    assert delivery.tries[0]["reason"] == "redirect"
    assert target.requests == []


def test_a_server_that_is_down_gets_one_attempt_at_a_time_and_then_everything(
    world, receive, sending
):
    status = [500]
    receiver = receive(lambda received: (status[0], {}))
    endpoint_id = world.endpoint("acme", receiver.url)
    world.events("acme", *(f"order/{n % 30}" for n in range(90)))

    with sending():
        wait_until(lambda: world.find(endpoint_id).health.is_down, 10, "down")
        wait_until(lambda: world.find(endpoint_id).paused_until is not None, 10, "paused")
        scheduled = [d for d in world.deliveries(endpoint_id) if d.next_try_at is not None]
        assert len(scheduled) == 1
        status[0] = 200

        def all_delivered() -> bool:
            if world.find(endpoint_id).paused_until is not None:
                world.hurry()
            return world.statuses(endpoint_id) == {"delivered": 90}

        wait_until(all_delivered, 30, "all")

    for n in range(30):
        numbers = receiver.numbers(f"order/{n}")
        assert numbers == sorted(numbers) and len(numbers) == 3


def test_events_that_the_server_cannot_handle_do_not_hide_that_it_works(world, receive, sending):
    broken = {f"order/{n}" for n in range(6)}
    receiver = receive(lambda got: (500 if got.event["subject"] in broken else 200, {}))
    endpoint_id = world.endpoint("acme", receiver.url)
    world.events("acme", *sorted(broken))

    with sending() as sender:
        wait_until(lambda: world.find(endpoint_id).health.is_down, 20, "down")
        world.events("acme", "order/77")
        for _ in range(10):
            before = len(receiver.requests)
            world.hurry()
            wait_until(lambda: len(receiver.requests) > before, 10, "an attempt")  # noqa: B023
            sender.go_on()
        wait_until(lambda: world.statuses(endpoint_id).get("delivered") == 1, 10, "the other one")

    assert world.find(endpoint_id).status == "active"


def test_an_endpoint_that_fails_for_three_days_is_suspended_and_resumes_from_its_place(
    world, receive, sending
):
    status = [500]
    receiver = receive(lambda received: (status[0], {}))
    endpoint_id = world.endpoint("acme", receiver.url)
    world.events("acme", "order/1", "order/2", "order/1")
    with sending():
        wait_until(lambda: world.statuses(endpoint_id).get("retrying") == 2, 10, "failures")
        world.set(endpoint_id, failing_since=clock.now() - timedelta(days=3))
        world.hurry()
        wait_until(lambda: world.find(endpoint_id).status == "suspended", 10, "suspended")
        world.events("acme", *(f"order/{n}" for n in range(3, 200)))
        assert world.find(endpoint_id).reason == "failing"
        status[0] = 200
        act(world, webhooks.resume_endpoint, endpoint_id)
        wait_until(lambda: world.statuses(endpoint_id) == {"delivered": 200}, 30, "all")

    assert receiver.numbers("order/1") == [1, 3]


def test_a_suspended_endpoint_goes_on_where_it_stopped(world, receive, sending):
    receiver = receive()
    endpoint_id = world.endpoint("acme", receiver.url)
    with sending() as sender:
        world.events("acme", "order/1")
        wait_until(lambda: world.statuses(endpoint_id) == {"delivered": 1}, 10, "the first")
        act(world, webhooks.suspend_endpoint, endpoint_id)
        world.events("acme", *(f"order/{n}" for n in range(120)))
        sender.go_on()
        assert len(receiver.requests) == 1
        act(world, webhooks.resume_endpoint, endpoint_id)
        wait_until(lambda: world.statuses(endpoint_id) == {"delivered": 121}, 20, "all")

    assert len(receiver.requests) == 121


def test_a_deleted_endpoint_gets_nothing_more_and_its_log_goes(world, receive, sending):
    receiver = receive(lambda received: (500, {}))
    endpoint_id = world.endpoint("acme", receiver.url)
    world.events("acme", "order/1", "order/2")
    with sending() as sender:
        wait_until(lambda: world.statuses(endpoint_id) == {"retrying": 2}, 10, "failures")
        act(world, webhooks.delete_endpoint, endpoint_id)
        asked = len(receiver.requests)
        world.hurry()
        world.events("acme", "order/3")
        sender.go_on()

    assert len(receiver.requests) == asked
    with transaction(world.database, NotificationsBatch) as batch:
        webhooks.prune_deliveries(batch, 30)
    assert world.deliveries(endpoint_id) == []
    with pytest.raises(webhooks.EndpointNotFound), world.database.readers() as session:
        webhooks.read_endpoint(session, endpoint_id, None)


def test_a_delivery_expires_when_the_feed_has_its_event_no_more(world, receive, sending):
    failing = [True]
    receiver = receive(lambda received: (500 if failing[0] else 200, {}))
    endpoint_id = world.endpoint("acme", receiver.url)
    world.events("acme", "order/1", "order/1")
    with sending():
        wait_until(lambda: world.statuses(endpoint_id).get("retrying") == 1, 10, "a failure")
        with world.database.sessions.begin() as session:
            subscription_id = world.find(endpoint_id).subscription_id
            session.delete(session.get_one(FeedEntry, (subscription_id, 1)))
        failing[0] = False
        world.hurry()
        wait_until(
            lambda: world.statuses(endpoint_id) == {"expired": 1, "delivered": 1}, 10, "both ended"
        )


def test_one_event_a_range_and_all_since_are_sent_again(world, receive, sending):
    receiver = receive()
    world.events("acme", "order/0")
    endpoint_id = world.endpoint("acme", receiver.url)
    world.events("acme", *(f"order/{n % 7}" for n in range(1, 150)))
    with world.database.readers() as session:
        found = feed.find_feed(session, "acme")
    with sending():
        wait_until(lambda: world.statuses(endpoint_id) == {"delivered": 149}, 20, "all")
        one = world.deliveries(endpoint_id)[10]
        act(world, webhooks.resend_delivery, endpoint_id, one.id)
        wait_until(lambda: len(receiver.requests) == 150, 10, "one again")
        assert receiver.requests[-1].headers["webhook-id"] == str(one.event_id)

        cursors = {"after": feed.cursor_of(found, 20), "until": feed.cursor_of(found, 90)}
        act(world, webhooks.resend_range, endpoint_id, **cursors)
        with pytest.raises(webhooks.resend.ResendInProgress):
            act(world, webhooks.resend_range, endpoint_id, **cursors)
        wait_until(lambda: len(receiver.requests) == 220, 20, "a range again")
        again = receiver.requests[150:]
        assert {int(e.headers["farmgate-position"]) for e in again} == set(range(21, 91))

        act(world, webhooks.resend_range, endpoint_id, after=feed.cursor_of(found, 0))
        wait_until(lambda: len(receiver.requests) == 370, 20, "all since")
        wait_until(lambda: world.statuses(endpoint_id) == {"delivered": 150}, 10, "all")

    positions = [int(e.headers["farmgate-position"]) for e in receiver.requests[220:]]
    assert set(positions) == set(range(1, 151))
    for subject in (f"order/{n}" for n in range(7)):
        order = [e.event["data"]["number"] for e in again if e.event["subject"] == subject]
        assert order == sorted(order)


def test_a_ping_is_sent_once_also_to_a_suspended_endpoint(world, receive, sending):
    receiver = receive(lambda received: (500, {}))
    endpoint_id = world.endpoint("acme", receiver.url)
    act(world, webhooks.suspend_endpoint, endpoint_id)
    delivery = act(world, webhooks.ping, endpoint_id)
    with pytest.raises(webhooks.resend.PingInProgress):
        act(world, webhooks.ping, endpoint_id)

    with sending():
        wait_until(lambda: world.statuses(endpoint_id) == {"failed": 1}, 10, "sent")

    (received,) = receiver.requests
    assert received.event["type"] == "notifications.ping.v1"
    assert received.headers["webhook-id"] == str(delivery.event_id)
    assert world.find(endpoint_id).health.failures == 0
