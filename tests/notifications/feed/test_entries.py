"""Which events enter which feed, and how they are numbered."""

import json
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import delete, select

from services.notifications.handlers import SUBSCRIPTIONS
from services.notifications.handlers import orders as order_handlers
from services.notifications.models import EarlyFact, FeedEntry, Subscription
from services.notifications.rules.feed import FEED_TYPES, GRANTS
from services.notifications.use_cases.late import LATE
from shared.events import (
    BY_TYPE,
    CollectionCodeIssued,
    LotReleased,
    OrderCancelled,
    OrderConfirmed,
    OrderPlaced,
    ShipmentPlanned,
    SiteOpened,
)
from shared.runtime import clock
from shared.runtime.database import Database
from shared.runtime.ids import new_id
from shared.runtime.late import find, limits_of

Headers = dict[str, str]
NOW = clock.now()


def _types(answer: Any) -> list[str]:
    return [each["event"]["type"] for each in answer["events"]]


def _orders(answer: Any) -> set[str]:
    return {each["event"]["data"]["order_id"] for each in answer["events"]}


def test_two_partners_with_100_orders_each_see_exactly_their_own(
    deliver: Callable[..., Any],
    an_order: Callable[[], Any],
    subscribed: Callable[..., Headers],
    read: Callable[..., Any],
) -> None:
    tokens = {name: subscribed(name) for name in ("market", "shop")}
    orders = {name: [an_order() for _ in range(100)] for name in ("market", "shop", "nobody")}
    mixed = [
        (name, orders[name][number])
        for number in range(100)
        for name in ("market", "nobody", "shop")
    ]
    for start in range(0, 300, 60):
        batch = mixed[start : start + 60]
        deliver(
            OrderPlaced,
            _many=[
                each.placed(**({} if name == "nobody" else {"partner": name}))
                for name, each in batch
            ],
        )
        deliver(
            ShipmentPlanned,
            _many=[
                each.shipment(shipment_ref="SHP-1", site_id=each.site_id, promised_on="2026-08-22")
                for _, each in batch
            ],
        )

    for name, token in tokens.items():
        answer = read(token, limit=1000)
        assert [each["position"] for each in answer["events"]] == list(range(1, 201))
        assert _orders(answer) == {str(each.order_id) for each in orders[name]}
        assert sorted(_types(answer)) == (
            ["logistics.shipment_planned.v1"] * 100 + ["orders.order_placed.v1"] * 100
        )
        assert not answer["more"]


def test_an_event_is_in_the_feed_with_its_own_bytes(
    place: Callable[..., Any], subscribed: Callable[..., Headers], session: Any
) -> None:
    subscribed("market")
    place("market")

    bodies = session.scalars(select(FeedEntry.body).order_by(FeedEntry.position)).all()

    assert [json.loads(body)["type"] for body in bodies] == [
        "orders.order_placed.v1",
        "orders.order_confirmed.v1",
        "logistics.shipment_planned.v1",
    ]


def test_an_event_that_comes_again_is_entered_once(
    deliver: Callable[..., Any],
    an_order: Callable[[], Any],
    subscribed: Callable[..., Headers],
    read: Callable[..., Any],
) -> None:
    market, order = subscribed("market"), an_order()
    (event_id,) = deliver(OrderPlaced, **order.placed(partner="market"))
    deliver(OrderPlaced, **order.placed(partner="market"), _event_id=event_id, _sequence=1)

    assert len(read(market)["events"]) == 1


def test_an_event_that_fails_leaves_no_gap(
    monkeypatch: pytest.MonkeyPatch,
    deliver: Callable[..., Any],
    an_order: Callable[[], Any],
    subscribed: Callable[..., Headers],
    read: Callable[..., Any],
    parked: Callable[[], Any],
) -> None:
    """The batch with its numbers is rolled back, and its events are handled one by one."""
    market, bad = subscribed("market"), an_order()
    notify = order_handlers.notify_buyer

    def fail_for_one(batch: Any, cause: Any, order: Any, *rest: Any) -> None:
        assert order.order_id != bad.order_id
        notify(batch, cause, order, *rest)

    monkeypatch.setattr(order_handlers, "notify_buyer", fail_for_one)
    invalid = an_order().placed(partner="market", total_fen="much")
    deliver(
        OrderPlaced,
        _many=[
            an_order().placed(partner="market"),
            bad.placed(partner="market"),
            invalid,
            an_order().placed(partner="market"),
        ],
    )

    assert [each["position"] for each in read(market)["events"]] == [1, 2]
    assert len(parked()) == 2


def test_a_shipments_fact_waits_for_its_order(
    deliver: Callable[..., Any],
    place: Callable[..., Any],
    subscribed: Callable[..., Headers],
    read: Callable[..., Any],
    session: Any,
) -> None:
    market = subscribed("market")
    order = place("market", placed=False)
    assert _types(read(market)) == []

    deliver(OrderPlaced, **order.placed(partner="market"))

    assert _types(read(market)) == ["orders.order_placed.v1", "logistics.shipment_planned.v1"]
    assert session.scalars(select(EarlyFact)).all() == []


def test_facts_that_waited_come_in_their_order_also_within_one_batch(
    deliver: Callable[..., Any],
    an_order: Callable[[], Any],
    subscribed: Callable[..., Headers],
    read: Callable[..., Any],
) -> None:
    market, order = subscribed("market"), an_order()
    planned = order.shipment(
        shipment_ref="SHP-1",
        site_id=order.site_id,
        promised_on="2026-08-22",
        _contract=ShipmentPlanned,
    )
    deliver(OrderPlaced, _many=[planned, order.placed(partner="market")])

    assert _types(read(market)) == ["orders.order_placed.v1", "logistics.shipment_planned.v1"]


def test_others_orders_stations_and_lots_need_a_grant(
    client: FlaskClient,
    deliver: Callable[..., Any],
    place: Callable[..., Any],
    subscribed: Callable[..., Headers],
    token: Callable[..., Headers],
    read: Callable[..., Any],
) -> None:
    market = subscribed("market", "*")
    lot = {
        "lot_id": new_id(),
        "lot_code": "L-1",
        "variant_id": new_id(),
        "producer_id": new_id(),
        "best_before": None,
    }
    place("shop")
    deliver(LotReleased, **lot)
    assert _types(read(market)) == []

    answer = client.put(
        "/api/events/v1/subscriptions/market/grants",
        headers=token("events:operate"),
        json={"grants": ["orders", "lots"]},
    )
    assert answer.status_code == 200, answer.json
    place("shop")
    place(None)
    place("market")
    deliver(LotReleased, **lot | {"lot_id": new_id()})

    types = _types(read(market))
    assert types.count("orders.order_placed.v1") == 3
    assert types.count("catalog.lot_released.v1") == 1
    assert len(types) == 10


def test_a_listing_is_open_to_those_who_ask_for_it(
    deliver: Callable[..., Any], subscribed: Callable[..., Headers], read: Callable[..., Any]
) -> None:
    by_default, asked = subscribed("market"), subscribed("shop", "orders.*", "logistics.site_*")
    deliver(
        SiteOpened,
        site_id=new_id(),
        code="540421103",
        level="township",
        parent_id=new_id(),
        names={"zh": "巴河镇"},
    )

    assert _types(read(by_default)) == []
    assert _types(read(asked)) == ["logistics.site_opened.v1"]


def test_chosen_types_are_the_only_ones_and_are_numbered_without_a_gap(
    place: Callable[..., Any], subscribed: Callable[..., Headers], read: Callable[..., Any]
) -> None:
    market = subscribed("market", "orders.order_placed.v1", "logistics.*")
    place("market")

    answer = read(market)

    assert _types(answer) == ["orders.order_placed.v1", "logistics.shipment_planned.v1"]
    assert [each["position"] for each in answer["events"]] == [1, 2]


def test_internal_events_enter_no_feed(
    client: FlaskClient,
    deliver: Callable[..., Any],
    place: Callable[..., Any],
    subscribed: Callable[..., Headers],
    token: Callable[..., Headers],
    read: Callable[..., Any],
) -> None:
    market = subscribed("market", "*")
    client.put(
        "/api/events/v1/subscriptions/market/grants",
        headers=token("events:operate"),
        json={"grants": list(GRANTS)},
    )
    order = place("market")
    deliver(CollectionCodeIssued, **order.shipment(site_id=order.site_id, code="123456"))

    assert "logistics.collection_code_issued.v1" not in _types(read(market))
    assert all(BY_TYPE[type_].public for type_ in FEED_TYPES)


def test_notifications_hears_every_event_that_a_feed_can_have() -> None:
    heard = {contract.routing_key for contract in SUBSCRIPTIONS}

    assert heard >= FEED_TYPES


@pytest.mark.parametrize("partner", [None, "market"])
def test_orders_without_a_subscription_cost_one_statement_a_batch_and_no_row(
    deliver: Callable[..., Any],
    an_order: Callable[[], Any],
    count_statements: Callable[[], AbstractContextManager[list[str]]],
    session: Any,
    partner: str | None,
) -> None:
    named = {} if partner is None else {"partner": partner}
    with count_statements() as statements:
        deliver(OrderPlaced, _many=[an_order().placed(**named) for _ in range(20)])

    about_feeds = [each for each in statements if "subscriptions" in each or "feed_" in each]
    assert len(about_feeds) == 1
    assert not any("early_facts" in each for each in statements)
    assert session.scalars(select(FeedEntry)).all() == []


def test_entries_of_a_batch_cost_the_same_statements_however_many_they_are(
    deliver: Callable[..., Any],
    an_order: Callable[[], Any],
    subscribed: Callable[..., Headers],
    count_statements: Callable[[], AbstractContextManager[list[str]]],
) -> None:
    subscribed("market")

    def count(orders: int) -> int:
        with count_statements() as statements:
            deliver(OrderPlaced, _many=[an_order().placed(partner="market") for _ in range(orders)])
        return len([each for each in statements if "subscriptions" in each or "feed_" in each])

    assert count(1) == count(30) == 3  # read, count on, insert


def test_an_order_placed_before_the_subscription_is_followed_from_then_on(
    deliver: Callable[..., Any],
    place: Callable[..., Any],
    subscribed: Callable[..., Headers],
    read: Callable[..., Any],
    session: Any,
) -> None:
    order = place("market")
    market = subscribed("market")
    deliver(OrderCancelled, **order.ref(reason="changed_mind"))

    assert _types(read(market)) == ["orders.order_cancelled.v1"]
    assert session.scalars(select(Subscription.last_position)).all() == [1]


def test_an_order_that_names_its_partner_only_later_is_the_partners(
    database: Database,
    deliver: Callable[..., Any],
    an_order: Callable[[], Any],
    subscribed: Callable[..., Headers],
    read: Callable[..., Any],
) -> None:
    """The order was placed before events named partners."""
    market, order = subscribed("market"), an_order()
    deliver(OrderPlaced, **order.placed())
    deliver(OrderConfirmed, **order.confirmed(partner="market"))
    deliver(
        ShipmentPlanned,
        **order.shipment(shipment_ref="SHP-1", site_id=order.site_id, promised_on="2026-08-22"),
    )

    assert _types(read(market)) == ["orders.order_confirmed.v1", "logistics.shipment_planned.v1"]


def test_verify_names_a_feed_that_lacks_a_position(
    client: FlaskClient,
    database: Database,
    place: Callable[..., Any],
    subscribed: Callable[..., Headers],
    token: Callable[..., Headers],
) -> None:
    subscribed("market")
    place("market")

    def differences() -> list[str]:
        answer = client.get("/api/notifications/v1/verify", headers=token("operate"))
        assert answer.json["checked"]["feeds"] == 1
        return [
            each["detail"] for each in answer.json["differences"] if each["check"] == "feed_gap"
        ]

    assert differences() == []
    with database.sessions.begin() as session:
        session.execute(delete(FeedEntry).where(FeedEntry.position == 2))
    assert differences() == ["The feed of market lacks events."]


def test_a_fact_whose_order_does_not_come_is_late(
    database: Database,
    at: Callable[[Any], None],
    place: Callable[..., Any],
    subscribed: Callable[..., Headers],
) -> None:
    subscribed("market")
    at(clock.now() - timedelta(hours=1))
    place("market", placed=False)
    at(NOW)

    with database.readers() as session:
        assert len(find(session, LATE, limits_of(LATE, {}))["early"]) == 1


def test_an_entry_that_is_not_committed_holds_back_those_behind_it(
    deliver: Callable[..., Any],
    deliver_beside: Callable[..., Any],
    an_order: Callable[[], Any],
    subscribed: Callable[..., Headers],
    read: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A second consumer with later events waits for the first one's commit."""
    market, slow = subscribed("market"), an_order()
    began, may_end = threading.Event(), threading.Event()
    notify = order_handlers.notify_buyer

    def wait_for_one(batch: Any, cause: Any, order: Any, *rest: Any) -> None:
        if order.order_id == slow.order_id:
            began.set()
            assert may_end.wait(20)
        notify(batch, cause, order, *rest)

    monkeypatch.setattr(order_handlers, "notify_buyer", wait_for_one)
    first = threading.Thread(target=lambda: deliver(OrderPlaced, **slow.placed(partner="market")))
    second = threading.Thread(
        target=lambda: deliver_beside(OrderPlaced, **an_order().placed(partner="market"))
    )
    first.start()
    assert began.wait(20)
    second.start()
    second.join(0.5)
    seen_meanwhile = read(market)
    may_end.set()
    first.join(20)
    second.join(20)

    assert seen_meanwhile["events"] == []
    answer = read(market, after=seen_meanwhile["next"])
    assert [each["position"] for each in answer["events"]] == [1, 2]
    assert answer["events"][0]["event"]["data"]["order_id"] == str(slow.order_id)
