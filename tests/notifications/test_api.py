"""Notifications over HTTP: one's own inbox and wishes, and every message for operators."""

from typing import Any

import pytest

from services.notifications.models import Preference
from shared.events import CollectionCodeIssued, ContactGiven, OrderPlaced, PaymentFailed
from shared.runtime.ids import new_id
from tests.support import UNKNOWN_ID

V1 = "/api/notifications/v1"


def test_the_inbox_shows_ones_own_messages_newest_first(client, token, confirmed):
    answer = client.get(f"{V1}/inbox", headers=token("messages:read", subject="dolma"))

    items = answer.json["items"]
    assert answer.status_code == 200
    assert [each["template"] for each in items] == ["order_confirmed", "order_placed"]
    assert items[0]["body"].startswith("订单 ORD-7KQ2M9XH 已确认：松茸（鲜） [1] 1.5公斤（3斤）。")
    assert answer.json["next"] is None


def test_an_enterprise_reads_its_inbox_with_a_token_of_its_own(client, token, confirmed):
    headers = token("messages:read", subject=f"enterprise:{confirmed.producer_id}")

    items = client.get(f"{V1}/inbox", headers=headers).json["items"]

    assert [each["template"] for each in items] == ["goods_sold"]


def test_a_stranger_sees_nothing_of_it(client, token, confirmed):
    answer = client.get(f"{V1}/inbox", headers=token("messages:read", subject="tashi"))

    assert answer.json == {"items": [], "next": None}


@pytest.mark.parametrize(
    ("language", "title"),
    [("en", "Order received"), ("bo", "མངགས་ཉོ་འབྱོར་སོང་།"), ("zh", "已收到订单")],
)
def test_the_inbox_is_read_in_the_language_asked_for(client, token, placed, language, title):
    headers = token("messages:read", subject="dolma")

    (item,) = client.get(f"{V1}/inbox?language={language}", headers=headers).json["items"]

    assert (item["language"], item["title"]) == (language, title)


def test_a_page_of_the_inbox_leads_to_the_next(client, token, confirmed):
    headers = token("messages:read", subject="dolma")

    first = client.get(f"{V1}/inbox?limit=1", headers=headers).json
    second = client.get(f"{V1}/inbox?limit=1&cursor={first['next']}", headers=headers).json

    assert [page["items"][0]["template"] for page in (first, second)] == [
        "order_confirmed",
        "order_placed",
    ]
    assert second["next"] is None


def test_a_message_whose_words_are_not_known_yet_is_shown_without_them(
    client, token, deliver, an_order
):
    order = an_order()
    deliver(ContactGiven, **order.contact())
    deliver(OrderPlaced, **order.placed())

    (item,) = client.get(f"{V1}/inbox", headers=token("messages:read", subject="dolma")).json[
        "items"
    ]

    assert (item["title"], item["body"]) == ("…", "…")


def test_reading_a_message_is_noted_once(client, token, placed, messages):
    message_id = messages()[0].id

    def read() -> Any:
        headers = token("messages:read", subject="dolma")
        return client.post(f"{V1}/inbox/{message_id}/read", headers=headers)

    first, second = read(), read()

    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json["read_at"] == second.json["read_at"] is not None
    assert messages()[0].status == "delivered"
    unread = client.get(f"{V1}/inbox?unread=true", headers=token("messages:read", subject="dolma"))
    assert unread.json["items"] == []


@pytest.mark.parametrize("whose", ["tashi's", "nobody's"])
def test_anothers_message_does_not_exist(client, token, placed, messages, whose):
    message_id = messages()[0].id if whose == "tashi's" else new_id()
    headers = token("messages:read", subject="tashi")

    answer = client.post(f"{V1}/inbox/{message_id}/read", headers=headers)

    assert (answer.status_code, answer.json["type"]) == (404, "/problems/message-not-found")
    assert messages()[0].read_at is None


def test_operators_see_what_became_of_messages_but_not_their_texts(
    client, token, deliver, confirmed
):
    deliver(CollectionCodeIssued, **confirmed.shipment(site_id=confirmed.site_id, code="471108"))

    answer = client.get(
        f"{V1}/messages?order_id={confirmed.order_id}", headers=token("messages:operate")
    )

    assert [each["template"] for each in answer.json["items"]] == [
        "collection_code",
        "goods_sold",
        "order_confirmed",
        "order_placed",
    ]
    assert "471108" not in answer.text and "13889041234" not in answer.text


@pytest.mark.parametrize(
    ("query", "templates"),
    [
        ("status=sent", ["order_placed"]),
        ("status=dead", []),
        ("recipient=buyer:dolma", ["order_confirmed", "order_placed"]),
        ("recipient=buyer:tashi", []),
    ],
)
def test_messages_are_found_by_state_and_recipient(client, token, confirmed, query, templates):
    answer = client.get(f"{V1}/messages?{query}", headers=token("messages:operate"))

    assert [each["template"] for each in answer.json["items"]] == templates


def test_each_attempt_of_a_message_is_shown(client, token, send, placed, deliver, messages):
    # An urgent one, since the clock of this test may stand in quiet hours.
    deliver(PaymentFailed, **placed.ref(reason="declined"))
    (message,) = messages("payment_failed")
    send()

    answer = client.get(f"{V1}/messages/{message.id}", headers=token("messages:operate"))

    assert answer.status_code == 200
    assert [(each["number"], each["results"]) for each in answer.json["tries"]] == [
        (1, {"file": "sent"})
    ]


WISHES = {
    "language": "bo",
    "quiet_from": "21:30",
    "quiet_to": "08:00",
    "channels": ["apprise"],
    "daily_cap": 5,
}


def test_a_person_without_wishes_has_the_usual_ones(client, token):
    answer = client.get(
        f"{V1}/preferences/buyer:dolma", headers=token("messages:read", subject="dolma")
    )

    assert answer.json == {
        "person": "buyer:dolma",
        "language": None,
        "quiet_from": "22:00",
        "quiet_to": "07:00",
        "channels": ["file", "apprise"],
        "daily_cap": None,
    }


def test_wishes_are_replaced_and_kept(client, token, session):
    headers = token("messages:read", subject="dolma")
    client.put(f"{V1}/preferences/buyer:dolma", json=WISHES | {"daily_cap": 9}, headers=headers)

    answer = client.put(f"{V1}/preferences/buyer:dolma", json=WISHES, headers=headers)

    kept = session.get_one(Preference, "buyer:dolma")
    assert answer.json == {"person": "buyer:dolma"} | WISHES
    assert (kept.quiet_from, kept.quiet_to, kept.daily_cap) == (21 * 60 + 30, 8 * 60, 5)


@pytest.mark.parametrize(
    "change",
    [
        {"language": "fr"},
        {"quiet_from": "24:00"},
        {"quiet_from": "7:00"},
        {"quiet_to": "07:00\n"},
        {"channels": ["pigeon"]},
        {"channels": ["file"] * 3},
        {"daily_cap": -1},
        {"daily_cap": 1.5},
        {"daily_cap": 10**30},
        {"phone": "+8613889041234"},
    ],
)
def test_impossible_wishes_are_refused(client, token, session, change):
    headers = token("messages:read", subject="dolma")

    answer = client.put(f"{V1}/preferences/buyer:dolma", json=WISHES | change, headers=headers)

    assert answer.status_code == 422
    assert next(iter(change)) in str(answer.json["errors"])
    assert session.get(Preference, "buyer:dolma") is None


@pytest.mark.parametrize("method", ["get", "put"])
def test_anothers_wishes_do_not_exist_but_for_operators(client, token, method):
    url = f"{V1}/preferences/buyer:dolma"
    body = {"json": WISHES} if method == "put" else {}

    stranger = getattr(client, method)(url, headers=token("messages:read", subject="tashi"), **body)
    operator = getattr(client, method)(
        url, headers=token("messages:read", "messages:operate"), **body
    )

    assert (stranger.status_code, operator.status_code) == (404, 200)


@pytest.mark.parametrize(
    "person", ["dolma", "buyer:", "king:dolma", "buyer:%00", "buyer:" + "x" * 300]
)
def test_a_path_that_names_nobody_finds_nobody(client, token, person):
    answer = client.get(
        f"{V1}/preferences/{person}", headers=token("messages:read", "messages:operate")
    )

    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "scopes", "status"),
    [
        ("get", "/messages", ("messages:read",), 403),
        ("get", f"/messages/{UNKNOWN_ID}", ("messages:read",), 403),
        ("get", f"/messages/{UNKNOWN_ID}", ("messages:operate",), 404),
        ("get", "/inbox", ("messages:operate",), 403),
        ("get", f"/trace/{UNKNOWN_ID}", ("messages:operate",), 403),
        ("get", "/messages?status=lost", ("messages:operate",), 422),
        ("get", "/messages?recipient=dolma", ("messages:operate",), 422),
        ("get", "/messages?limit=201", ("messages:operate",), 422),
        ("get", "/messages?cursor=x", ("messages:operate",), 422),
        ("get", "/inbox?language=fr", ("messages:read",), 422),
    ],
)
def test_what_is_not_allowed_or_not_there(client, token, method, path, scopes, status):
    answer = getattr(client, method)(V1 + path, headers=token(*scopes))

    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"


def test_nobody_reads_an_inbox_without_a_token(client):
    assert client.get(f"{V1}/inbox").status_code == 401


def test_the_trace_names_messages_and_what_they_wait_for(client, token, confirmed):
    answer = client.get(f"{V1}/trace/{confirmed.order_id}", headers=token("operate"))

    trace = answer.json
    assert trace["service"] == "notifications"
    assert trace["state"] == {
        f"order_placed to order:{confirmed.order_id}": "sent",
        f"order_confirmed to order:{confirmed.order_id}": "queued",
        f"goods_sold to enterprise:{confirmed.producer_id}": "queued",
    }
    assert {each["what"] for each in trace["waiting_for"]} == {
        "message order_confirmed: queued",
        "message goods_sold: queued",
    }
    assert trace["published"] == []
    assert "orders.order_confirmed.v1" in {each["type"] for each in trace["handled"]}
