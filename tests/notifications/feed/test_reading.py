"""Partners read their feeds over HTTP."""

import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import insert, update

from services.notifications.api import events as routes
from services.notifications.api import waiting
from services.notifications.batch import NotificationsBatch
from services.notifications.use_cases.feed import prune_feeds
from shared.events import OrderPlaced
from shared.messaging.batch import transaction
from shared.messaging.tables import RelayState
from shared.runtime.database import Database

Headers = dict[str, str]
URL = "/api/events/v1/events"


@pytest.fixture(autouse=True)
def seats(monkeypatch: pytest.MonkeyPatch) -> waiting.Seats:
    """Seats of this test alone: the application outlives it."""
    own = waiting.Seats()
    monkeypatch.setattr(routes, "_seats", own)
    return own


def _positions(answer: Any) -> list[int]:
    return [each["position"] for each in answer["events"]]


def test_pages_follow_each_other_without_a_gap(
    place: Callable[..., Any], subscribed: Callable[..., Headers], read: Callable[..., Any]
) -> None:
    market = subscribed("market")
    for _ in range(4):
        place("market")

    first = read(market, limit=5)
    second = read(market, limit=5, after=first["next"])
    third = read(market, limit=5, after=second["next"])
    fourth = read(market, limit=5, after=third["next"])

    assert [_positions(each) for each in (first, second, third, fourth)] == [
        [1, 2, 3, 4, 5],
        [6, 7, 8, 9, 10],
        [11, 12],
        [],
    ]
    assert [each["more"] for each in (first, second, third, fourth)] == [True, True, False, False]
    assert fourth["next"] == third["next"]


def test_the_cursor_of_any_event_is_a_place_to_go_on_from(
    place: Callable[..., Any], subscribed: Callable[..., Headers], read: Callable[..., Any]
) -> None:
    market = subscribed("market")
    place("market")
    seen = read(market)["events"][1]["cursor"]

    assert _positions(read(market, after=seen)) == [3]
    assert _positions(read(market, after=seen)) == [3]


def test_types_filter_a_read_and_the_cursor_passes_what_was_left_out(
    place: Callable[..., Any], subscribed: Callable[..., Headers], read: Callable[..., Any]
) -> None:
    market = subscribed("market")
    place("market")
    place("market")

    answer = read(market, types="logistics.*,orders.order_paid.v1")

    assert _positions(answer) == [3, 6]
    assert _positions(read(market, after=answer["next"])) == []
    half = read(market, types="logistics.*", limit=1)
    assert _positions(half) == [3]
    assert _positions(read(market, types="logistics.*", after=half["next"])) == [6]


def test_lines_are_the_same_events(
    client: FlaskClient,
    place: Callable[..., Any],
    subscribed: Callable[..., Headers],
    read: Callable[..., Any],
) -> None:
    market = subscribed("market")
    place("market")
    answer = client.get(URL, headers={**market, "Accept": "application/x-ndjson"})

    lines = [json.loads(line) for line in answer.data.splitlines()]
    assert answer.content_type == "application/x-ndjson"
    assert lines == read(market)["events"]
    assert answer.headers["Link"].endswith('; rel="next"')
    following = answer.headers["Link"].split(";")[0].strip("<>")
    assert client.get(following, headers=market).json["events"] == []


def test_without_a_subscription_the_answer_says_how_to_make_one(
    client: FlaskClient, partner: Callable[[str], Headers]
) -> None:
    answer = client.get(URL, headers=partner("market"))

    assert answer.status_code == 404
    assert answer.json["type"] == "/problems/subscription-not-found"
    assert "PUT /api/events/v1/subscription" in answer.json["detail"]


def test_another_partners_feed_and_cursor_are_refused(
    client: FlaskClient,
    place: Callable[..., Any],
    subscribed: Callable[..., Headers],
    token: Callable[..., Headers],
    read: Callable[..., Any],
) -> None:
    market, shop = subscribed("market"), subscribed("shop")
    place("market")
    cursor = read(market)["next"]

    named = client.get(URL, headers=shop, query_string={"partner": "market"})
    stolen = client.get(URL, headers=shop, query_string={"after": cursor})

    assert (named.status_code, stolen.status_code) == (403, 422)
    operator = token("events:read", "events:operate")
    assert len(read(operator, partner="market")["events"]) == 3


@pytest.mark.parametrize("after", ["x", "AAAA", "ä", "1" * 400, "bm90IGEgY3Vyc29y"])
def test_a_malformed_cursor_is_refused(
    client: FlaskClient, subscribed: Callable[..., Headers], after: str
) -> None:
    answer = client.get(URL, headers=subscribed("market"), query_string={"after": after})

    assert answer.status_code == 422
    assert answer.json["type"] == "/problems/malformed-cursor"


def test_unknown_types_are_refused(client: FlaskClient, subscribed: Callable[..., Headers]) -> None:
    market = subscribed("market")

    read = client.get(URL, headers=market, query_string={"types": "order.*"})
    put = client.put("/api/events/v1/subscription", headers=market, json={"types": ["order.*"]})
    lots = client.put(
        "/api/events/v1/subscription", headers=market, json={"types": ["catalog.lot_*"]}
    )

    assert [each.json["type"] for each in (read, put, lots)] == [
        "/problems/unknown-types",
        "/problems/unknown-types",
        "/problems/not-granted",
    ]


def test_a_cursor_beyond_retention_is_gone_and_names_the_oldest(
    client: FlaskClient,
    database: Database,
    at: Callable[[datetime], None],
    place: Callable[..., Any],
    subscribed: Callable[..., Headers],
    read: Callable[..., Any],
) -> None:
    market, day = subscribed("market"), datetime(2026, 8, 1, tzinfo=UTC)
    at(day)
    place("market")
    first = read(market, limit=1)["next"]
    at(day + timedelta(days=20))
    place("market")
    at(day + timedelta(days=31))
    with transaction(database, NotificationsBatch) as batch:
        assert not prune_feeds(batch, 30)

    answer = client.get(URL, headers=market, query_string={"after": first})

    assert answer.status_code == 410
    assert answer.json["type"] == "/problems/cursor-expired"
    assert _positions(read(market, after=answer.json["oldest_cursor"])) == [4, 5, 6]
    assert _positions(read(market)) == [4, 5, 6]
    shown = client.get("/api/events/v1/subscription", headers=market).json
    assert (shown["oldest_position"], shown["newest_position"]) == (4, 6)


def test_a_feed_whose_events_are_all_pruned_goes_on_counting(
    database: Database,
    at: Callable[[datetime], None],
    place: Callable[..., Any],
    subscribed: Callable[..., Headers],
    read: Callable[..., Any],
) -> None:
    market, day = subscribed("market"), datetime(2026, 8, 1, tzinfo=UTC)
    at(day)
    place("market")
    newest = read(market)["next"]
    at(day + timedelta(days=31))
    with transaction(database, NotificationsBatch) as batch:
        prune_feeds(batch, 30)
    place("market")

    assert _positions(read(market, after=newest)) == [4, 5, 6]


def test_a_restored_backup_names_the_new_epoch_and_the_last_certain_place(
    client: FlaskClient,
    database: Database,
    place: Callable[..., Any],
    subscribed: Callable[..., Headers],
    read: Callable[..., Any],
) -> None:
    """The backup was made after the first order, the cursor given after the second."""
    market = subscribed("market")
    place("market")
    early = read(market)["events"][0]["cursor"]
    subscription = client.get("/api/events/v1/subscription", headers=market).json
    place("market")
    late = read(market)["next"]

    _restore(database, position=3, epoch=7)
    answers = [client.get(URL, headers=market, query_string={"after": c}) for c in (early, late)]
    place("market")
    after_more = client.get(URL, headers=market, query_string={"after": late})

    assert subscription["newest_position"] == 3
    assert [each.status_code for each in (*answers, after_more)] == [409, 409, 409]
    assert {each.json["type"] for each in answers} == {"/problems/epoch-changed"}
    assert {each.json["epoch"] for each in answers} == {7}
    resumed = [read(market, after=each.json["cursor"]) for each in (*answers, after_more)]
    assert [_positions(each) for each in resumed] == [[2, 3, 4, 5, 6], [4, 5, 6], [4, 5, 6]]


def _restore(database: Database, position: int, epoch: int) -> None:
    """Make the database as a backup of that position would be after its restore."""
    from services.notifications.models import FeedEntry, Subscription

    with database.sessions.begin() as session:
        session.query(FeedEntry).filter(FeedEntry.position > position).delete()
        session.execute(update(Subscription).values(last_position=position))
        if session.get(RelayState, 1) is None:
            session.execute(insert(RelayState).values(id=1, epoch=epoch, position=0))
        session.execute(update(RelayState).values(epoch=epoch))


def test_a_wait_ends_with_the_next_event(
    client: FlaskClient,
    place: Callable[..., Any],
    subscribed: Callable[..., Headers],
) -> None:
    market = subscribed("market")
    answers: list[Any] = []
    waiter = threading.Thread(
        target=lambda: answers.append(
            client.get(URL, headers=market, query_string={"wait": 20, "limit": 1}).json
        )
    )
    waiter.start()
    time.sleep(0.3)
    began = time.monotonic()
    place("market")
    waiter.join(10)

    assert _positions(answers[0]) == [1]
    assert time.monotonic() - began < 5


def test_a_wait_without_an_event_ends_with_its_time(
    subscribed: Callable[..., Headers], read: Callable[..., Any]
) -> None:
    market = subscribed("market")
    began = time.monotonic()

    assert read(market, wait=1)["events"] == []
    assert 1 <= time.monotonic() - began < 5


def test_waiting_clients_never_take_every_thread(
    client: FlaskClient, subscribed: Callable[..., Headers], seats: waiting.Seats
) -> None:
    market, shop = subscribed("market"), subscribed("shop")
    leave = [seats.take("market") for _ in range(waiting.SEATS_OF_ONE)]

    refused = client.get(URL, headers=market, query_string={"wait": 1})
    plain = client.get(URL, headers=market)
    other = client.get(URL, headers=shop, query_string={"wait": 1})
    for each in leave:
        each()
        each()
    again = client.get(URL, headers=market, query_string={"wait": 1})

    assert refused.status_code == 503
    assert refused.json["type"] == "/problems/too-many-waiting"
    assert int(refused.headers["Retry-After"]) >= 1
    assert [each.status_code for each in (plain, other, again)] == [200, 200, 200]
    for number in range(waiting.SEATS):
        seats.take(f"partner {number}")
    assert client.get(URL, headers=shop, query_string={"wait": 1}).status_code == 503


def _streamed(answer: Any, events: int) -> list[dict[str, str]]:
    """Return the first events of a stream, by their fields."""
    found: list[dict[str, str]] = []
    text = ""
    for chunk in answer.response:
        text += chunk.decode()
        *whole, text = text.split("\n\n")
        for block in whole:
            fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
            if "data" in fields:
                found.append(fields)
        if len(found) >= events:
            break
    answer.close()
    return found


def test_a_stream_sends_the_events_and_goes_on_behind_the_last_one(
    client: FlaskClient,
    place: Callable[..., Any],
    subscribed: Callable[..., Headers],
    read: Callable[..., Any],
    seats: waiting.Seats,
) -> None:
    market = {**subscribed("market"), "Accept": "text/event-stream"}
    place("market")

    first = _streamed(client.get(URL, headers=market, buffered=False), 2)
    place("market")
    last_id = first[1]["id"]
    second = _streamed(
        client.get(URL, headers={**market, "Last-Event-ID": last_id}, buffered=False), 4
    )

    sent = [json.loads(each["data"]) for each in (*first[:2], *second)]
    assert sent == read({**market, "Accept": "application/json"})["events"]
    assert [each["id"] for each in (*first[:2], *second)] == [each["cursor"] for each in sent]
    assert seats._taken.total() == 0


def test_a_silent_stream_sends_comments_and_ends(
    client: FlaskClient, subscribed: Callable[..., Headers], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "HEARTBEAT", 0.3)
    monkeypatch.setattr(routes, "LONGEST_STREAM", 1.0)
    market = {**subscribed("market"), "Accept": "text/event-stream"}

    answer = client.get(URL, headers=market)

    assert answer.content_type.startswith("text/event-stream")
    assert answer.data.count(b"\n:\n\n") >= 2 or answer.data.count(b":\n\n") >= 2


def test_actions_are_recorded_with_their_actor(
    client: FlaskClient,
    subscribed: Callable[..., Headers],
    token: Callable[..., Headers],
    partner: Callable[[str], Headers],
) -> None:
    market = subscribed("market", "orders.*")
    subscribed("market", "orders.*")
    subscribed("shop")
    operator = token("events:operate", "events:read", subject="tashi")
    client.put(
        "/api/events/v1/subscriptions/market/grants", headers=operator, json={"grants": ["lots"]}
    )
    removed = client.delete("/api/events/v1/subscriptions/market", headers=operator)

    own = client.get("/api/events/v1/actions", headers=market).json["items"]
    all_ = client.get("/api/events/v1/actions", headers=operator).json["items"]

    assert removed.status_code == 204
    assert [(each["actor"], each["action"]) for each in own] == [
        ("tashi", "unsubscribed"),
        ("tashi", "subscription_changed"),
        ("market", "subscription_changed"),
        ("market", "subscribed"),
    ]
    assert own[1]["details"]["after"] == {"types": ["orders.*"], "grants": ["lots"]}
    assert {each["partner"] for each in all_} == {"market", "shop"}


def test_a_cursor_skips_nothing_while_another_transaction_is_open(
    database: Database,
    deliver: Callable[..., Any],
    deliver_beside: Callable[..., Any],
    an_order: Callable[[], Any],
    subscribed: Callable[..., Headers],
    read: Callable[..., Any],
) -> None:
    """Two writers at once: the second must not get a smaller position than the first commits."""
    market = subscribed("market")
    seen: list[int] = []
    stop = threading.Event()
    cursor: list[str | None] = [None]

    def follow() -> None:
        has_ended = False
        while not has_ended:
            was_stopped = stop.is_set()
            query = {} if cursor[0] is None else {"after": cursor[0]}
            answer = read(market, limit=7, **query)
            seen.extend(_positions(answer))
            cursor[0] = answer["next"]
            has_ended = was_stopped and not answer["events"]

    def write(give: Callable[..., Any]) -> None:
        for _ in range(10):
            give(OrderPlaced, _many=[an_order().placed(partner="market") for _ in range(10)])

    reader = threading.Thread(target=follow)
    writers = [threading.Thread(target=write, args=(each,)) for each in (deliver, deliver_beside)]
    reader.start()
    for each in writers:
        each.start()
    for each in writers:
        each.join()
    stop.set()
    reader.join(30)

    assert seen == list(range(1, 201))
