"""Placements that arrive together share a transaction, with the same rules as one by one."""

import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import event

from services.orders.batch import OrdersBatch
from services.orders.models import Order
from services.orders.use_cases import place
from shared.runtime.config import Settings
from shared.runtime.database import Database
from shared.runtime.ids import new_id
from tests.orders.reading import ORDERS, Builder, Recorded, Token, count_of_orders, types_of
from tests.support.together import send_together

#: The telephone of the placement that is held at work while the others come.
HELD = "138 0013 9999"


class Shop:
    """An application of orders to which placements come at the same moment."""

    def __init__(self, app: Flask, token: Token, an_order: Builder) -> None:
        self.app, self._token, self._an_order = app, token, an_order
        self.inside, self.opened = threading.Event(), threading.Event()

    def place(
        self, phone: str, scope: str = "orders:operate", subject: str = "shop", **changes: Any
    ) -> Any:
        """Place an order as `subject`, an operator unless told otherwise; return the answer."""
        order = self._an_order(**changes)
        order["contact"]["phone"] = phone
        headers = self._token("orders:place", scope, subject=subject)
        return self.app.test_client().post(ORDERS, json=order, headers=headers)

    def together(self, *placements: dict[str, Any]) -> list[Any]:
        """Place orders that are one group; return their answers."""
        self.inside.clear()
        self.opened.clear()
        return send_together(
            self.app,
            lambda: self.place(HELD, subject="held", buyer_id=None),
            [lambda changes=changes: self.place(**changes) for changes in placements],
            inside=self.inside,
            opened=self.opened,
        )


@pytest.fixture
def shop(
    app_of: Callable[[Settings], Flask],
    app_settings: Settings,
    token: Token,
    an_order: Builder,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Shop]:
    """Make an application of orders with these limits of unpaid orders."""
    place_order = place.place_order

    def open_shop(**settings: int) -> Shop:
        given = {f"FARMGATE_ORDERS_{name.upper()}": str(value) for name, value in settings.items()}
        changed = Settings.from_environment("orders", {**app_settings.environment, **given})
        shop = Shop(app_of(changed), token, an_order)

        def hold(batch: OrdersBatch, placement: place.Placement) -> place.PlacedOrder:
            placed = place_order(batch, placement)
            if placement.contact["phone"].endswith("9999"):
                shop.inside.set()
                assert shop.opened.wait(10)
            return placed

        monkeypatch.setattr(place, "place_order", hold)
        return shop

    return open_shop


def phone(number: int) -> dict[str, Any]:
    return {"phone": f"138 0013 {number:04d}"}


def test_each_order_of_a_group_is_stored_and_asks_for_its_own_stock(
    shop: Any, database: Database, recorded_events: Recorded, variant_id: UUID
) -> None:
    wanted = [
        {
            **phone(number),
            "subject": f"buyer-{number}",
            "buyer_id": None,
            "scope": "orders:read",
            "lines": [{"variant_id": str(variant_id), "quantity": 500 * number}],
        }
        for number in range(1, 9)
    ]

    answers = shop().together(*wanted)

    orders = [answer.json for answer in answers]
    assert [answer.status_code for answer in answers] == [202] * 8
    assert [order["total_fen"] for order in orders] == [6800 * number for number in range(1, 9)]
    assert [order["buyer_id"] for order in orders] == [each["subject"] for each in wanted]
    assert [answer.headers["Location"] for answer in answers] == [
        f"{ORDERS}/{order['order_id']}" for order in orders
    ]
    assert count_of_orders(database) == 9
    placed = {
        data["order_id"]: data["total_fen"]
        for type_, data in recorded_events()
        if type_ == "orders.order_placed.v1"
    }
    assert {order["order_id"]: order["total_fen"] for order in orders}.items() < placed.items()
    assert types_of(recorded_events()) == ["contact_given", "order_placed"] * 9


def test_many_clients_at_once_each_get_their_own_order(
    shop: Any, in_threads: Callable[..., list[Any]], database: Database
) -> None:
    counter = shop()

    def buy(number: int) -> list[Any]:
        buyer = {"subject": f"buyer-{number}", "buyer_id": None, "scope": "orders:read"}
        buyer |= phone(number)
        return [counter.place(**buyer).json for _ in range(5)]

    bought = in_threads([lambda number=number: buy(number) for number in range(12)])

    for number, orders in enumerate(bought):
        assert {order["buyer_id"] for order in orders} == {f"buyer-{number}"}
    ids = [order["order_id"] for orders in bought for order in orders]
    with database.readers() as reader:
        stored = {str(order.id): order for order in reader.query(Order)}
    assert len(ids) == 60
    assert stored.keys() == {*ids}
    assert all(len(order.lines) == 1 for order in stored.values())


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"site_id": str(new_id())}, "unknown-site"),
        ({"channel": "company"}, "no-price"),
        ({"lines": [{"variant_id": str(new_id()), "quantity": 500}]}, "unknown-variant"),
    ],
)
def test_a_placement_refused_in_a_group_leaves_the_others_as_they_are(
    shop: Any, database: Database, recorded_events: Recorded, changes: Any, problem: str
) -> None:
    answers = shop().together(phone(1), phone(2) | changes, phone(3))

    assert [answer.status_code for answer in answers] == [202, 422, 202]
    assert answers[1].json["type"] == f"/problems/{problem}"
    assert count_of_orders(database) == 3
    assert len(recorded_events()) == 6


def test_the_last_order_allowed_is_given_once_in_a_group_that_asks_for_it_twice(
    shop: Any, database: Database
) -> None:
    buyer = {"subject": "buyer-1", "scope": "orders:read"}
    counter = shop(open_holds=2)
    counter.place(**buyer, **phone(1))

    answers = counter.together(*(buyer | phone(number) for number in (1, 2, 3)))

    assert sorted(answer.status_code for answer in answers) == [202, 409, 409]
    refused = next(answer for answer in answers if answer.status_code == 409)
    assert refused.json["type"] == "/problems/too-many-open-holds"
    assert count_of_orders(database) == 3


def test_orders_of_a_group_with_one_telephone_add_up(shop: Any) -> None:
    guest = {"buyer_id": None, "scope": "orders:place_for", **phone(1)}
    counter = shop(open_fen=2 * 13_600)
    counter.place(**guest)

    answers = counter.together(guest, guest, guest, guest | phone(2))

    assert [answer.status_code for answer in answers] == [202] * 4
    waits = [answer.json["awaits_approval"] for answer in answers]
    assert sorted(waits[:3]) == [False, True, True]
    assert waits[3] is False


def test_orders_of_a_group_from_one_caller_add_up(shop: Any) -> None:
    guest = {"buyer_id": None, "scope": "orders:place_for"}
    counter = shop(caller_open_holds=3)
    counter.place(**guest, **phone(0))

    answers = counter.together(*(guest | phone(number) for number in range(1, 5)))

    assert sorted(answer.status_code for answer in answers) == [202, 202, 409, 409]


def test_ten_placements_take_as_many_statements_as_two(shop: Any) -> None:
    counter = shop()
    seen: list[str] = []
    engine = counter.app.extensions["farmgate"].database.engine
    event.listen(engine, "before_cursor_execute", lambda *args: seen.append(args[2]))

    def count(number: int) -> int:
        seen.clear()
        counter.together(*(phone(each) for each in range(number)))
        return len(seen)

    count(1)
    assert count(2) == count(10)
