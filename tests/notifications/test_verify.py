"""Notifications compares its own rows, and tells in few words what it knows of each order."""

import pytest
from sqlalchemy import delete, update

from services.notifications.models import Message
from services.notifications.use_cases import verify
from shared.events import OrderConfirmed, OrderPaid, OrderPlaced, OrderRejected

VERIFY = "/api/notifications/v1/verify"


def report_of(client, token):
    answer = client.get(VERIFY, headers=token("operate"))
    assert answer.status_code == 200
    return answer.json


def facts_of(client, token, **query):
    answer = client.get(
        f"{VERIFY}/facts", query_string={"kind": "orders"} | query, headers=token("operate")
    )
    assert answer.status_code == 200
    return answer.json


def test_an_untouched_service_agrees_with_itself(client, token, confirmed, send):
    before = report_of(client, token)
    send()

    assert before == report_of(client, token)
    assert before == {
        "service": "notifications",
        "checked": {"messages": 3, "orders": 1, "feeds": 0},
        "differences": [],
        "notes": [],
    }


def test_whoever_was_not_told_of_a_confirmed_order_is_named(client, token, database, confirmed):
    with database.sessions.begin() as session:
        session.execute(delete(Message).where(Message.template != "order_placed"))

    differences = report_of(client, token)["differences"]

    assert [(each["check"], each["expected"]) for each in differences] == [
        ("order_untold", f"goods_sold to enterprise:{confirmed.producer_id}"),
        ("order_untold", f"order_confirmed to order:{confirmed.order_id}"),
    ]
    assert {each["ids"]["order_id"] for each in differences} == {str(confirmed.order_id)}


@pytest.mark.parametrize(
    ("template", "change"),
    [
        ("order_confirmed", {"due_at": None}),
        ("order_confirmed", {"status": "stale"}),
        ("order_placed", {"sent_at": None}),
    ],
)
def test_a_message_that_nothing_will_move_is_named(
    client, token, database, confirmed, template, change
):
    with database.sessions.begin() as session:
        session.execute(update(Message).where(Message.template == template).values(**change))

    [difference] = report_of(client, token)["differences"]

    assert difference["check"] == "message_state"
    assert template in difference["detail"]


def test_many_orders_are_looked_at_in_parts(
    monkeypatch, client, token, deliver, an_order, known_place
):
    monkeypatch.setattr(verify, "AT_ONCE", 2)
    for order in [known_place(an_order()) for _ in range(5)]:
        deliver(OrderConfirmed, **order.confirmed())

    report = report_of(client, token)

    assert (report["checked"]["orders"], report["differences"]) == (5, [])


def test_facts_say_what_is_known_and_what_the_buyer_was_told(client, token, deliver, an_order):
    heard_of, placed, rejected, confirmed = (an_order() for _ in range(4))
    deliver(OrderPaid, **heard_of.ref(amount_fen=204000, method="cash_on_delivery"))
    deliver(OrderPlaced, _many=[order.placed() for order in (placed, rejected, confirmed)])
    deliver(OrderRejected, **rejected.ref(reason="out_of_stock", shortfalls=[]))
    deliver(OrderConfirmed, **confirmed.confirmed())

    items = facts_of(client, token)["items"]

    assert {item["id"]: (item["value"]["state"], item["value"]["told"]) for item in items} == {
        str(heard_of.order_id): ("heard_of", []),
        str(placed.order_id): ("placed", ["order_placed"]),
        str(rejected.order_id): ("placed", ["order_placed", "order_rejected"]),
        str(confirmed.order_id): ("confirmed", ["order_confirmed", "order_placed"]),
    }


def test_facts_come_in_pages_and_by_their_ids(client, token, deliver, an_order):
    orders = [an_order() for _ in range(3)]
    deliver(OrderPlaced, _many=[order.placed() for order in orders])
    ids = sorted(str(order.order_id) for order in orders)

    first = facts_of(client, token, limit=2)
    second = facts_of(client, token, limit=2, cursor=first["next"])

    assert [item["id"] for page in (first, second) for item in page["items"]] == ids
    assert [item["id"] for item in facts_of(client, token, id=ids[1:])["items"]] == ids[1:]


@pytest.mark.parametrize("path", ["", "/facts?kind=orders"])
def test_only_those_who_operate_may_ask(client, token, path):
    assert client.get(VERIFY + path, headers=token("messages:operate")).status_code == 403
