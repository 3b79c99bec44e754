"""A lot is recalled: the orders that have taken it ask for other stock, or give the money back."""

from collections.abc import Callable
from datetime import date
from typing import Any
from uuid import UUID

import pytest

from services.orders.models import Order
from shared.events import (
    DeliveryFailed,
    LotRecalled,
    OrderReinstated,
    ShipmentCancelled,
    ShipmentCollected,
    ShipmentDispatched,
    ShipmentPacked,
    ShipmentPlanned,
    ShipmentRecalled,
    StockRefused,
    StockReserved,
)
from shared.messaging.tables import Parked
from shared.runtime.database import Database
from shared.runtime.ids import new_id

Deliver = Callable[..., list[UUID]]
Place = Callable[..., dict[str, Any]]
ReadOrder = Callable[[UUID | str], Order]
Recorded = Callable[[], list[tuple[str, dict[str, Any]]]]


def types(recorded_events: Recorded) -> list[str]:
    return [type_.split(".")[1] for type_, _ in recorded_events()]


def lot_of(order: Order) -> dict[str, Any]:
    assert order.lines[0].lots
    return order.lines[0].lots[0]


class Goods:
    """Catalog and logistics as orders hears them, about one order."""

    def __init__(self, deliver: Deliver, order: dict[str, Any], lines: Any) -> None:
        self.deliver, self.lines = deliver, lines
        self.order = order
        self.about = {"shipment_id": new_id(), "order_id": UUID(order["order_id"])}

    def reserve(self) -> "Goods":
        self.deliver(StockReserved, order_id=self.about["order_id"], lines=self.lines(self.order))
        return self

    def refuse(self) -> None:
        short = {"line_no": 1, "variant_id": new_id(), "requested": 1000, "available": 0}
        self.deliver(StockRefused, order_id=self.about["order_id"], shortfalls=[short])

    def go(self, *steps: str) -> "Goods":
        for step in steps:
            match step:
                case "plan":
                    planned = {"shipment_ref": "SHP-1", "site_id": new_id()}
                    promised = {"promised_on": date(2026, 8, 2)}
                    self.deliver(ShipmentPlanned, **self.about, **planned, **promised)
                case "pack":
                    self.deliver(ShipmentPacked, **self.about)
                case "dispatch":
                    about = self.about | {"shipment_ref": "SHP-1", "lines": []}
                    self.deliver(ShipmentDispatched, **about)
        return self

    def recall(self, where: str, lot: dict[str, Any]) -> None:
        lot = lot | {name: UUID(lot[name]) for name in ("lot_id", "location_id", "producer_id")}
        self.deliver(ShipmentRecalled, **self.about, where=where, lots=[lot])


@pytest.fixture
def goods(deliver: Deliver, reserved_lines: Any) -> Callable[[dict[str, Any]], Goods]:
    """Follow the goods of an order."""
    return lambda order: Goods(deliver, order, reserved_lines)


@pytest.mark.parametrize("done", [("plan",), ("plan", "pack")])
def test_an_order_whose_parcel_is_stopped_for_a_recall_is_confirmed_again_with_other_lots(
    place: Place, goods: Any, read_order: ReadOrder, recorded_events: Recorded, done: Any
) -> None:
    order = place()
    way = goods(order).reserve().go(*done)
    before = lot_of(read_order(order["order_id"]))

    way.recall("here", before)

    asked = read_order(order["order_id"])
    assert (asked.state, asked.payment_state) == ("placed", "cod_due")
    assert (asked.fulfilment_state, asked.reason) == ("planned", "lot_recalled")
    type_, fact = recorded_events()[-1]
    assert type_ == OrderReinstated.routing_key
    assert [line["quantity"] for line in fact["lines"]] == [1000]
    way.reserve()
    now = read_order(order["order_id"])
    assert (now.state, now.reason) == ("confirmed", None)
    assert lot_of(now)["lot_id"] != before["lot_id"]
    assert recorded_events()[-1][1]["lines"][0]["lots"] == now.lines[0].lots
    way.go("pack", "dispatch")
    assert read_order(order["order_id"]).state == "shipped"


def test_without_other_lots_the_order_is_rejected_and_refunded_once(
    place: Place,
    goods: Any,
    provider: Callable[..., Any],
    read_order: ReadOrder,
    recorded_events: Recorded,
    parked: Callable[[], list[Parked]],
    deliver: Deliver,
) -> None:
    order = place(payment_method="prepaid")
    way = goods(order).reserve()
    provider(order)
    way.go("plan")
    lot = lot_of(read_order(order["order_id"]))

    way.recall("here", lot)
    way.refuse()
    way.recall("here", lot)
    deliver(ShipmentCancelled, **way.about)

    now = read_order(order["order_id"])
    assert (now.state, now.payment_state, now.reason) == ("rejected", "refunded", "lot_recalled")
    assert (now.paid_fen, now.refunded_fen) == (13_600, 13_600)
    told = types(recorded_events)
    assert (told.count("payment_refunded"), told.count("order_paid")) == (1, 1)
    rejected = next(data for type_, data in recorded_events() if "order_rejected" in type_)
    assert rejected["reason"] == "lot_recalled"
    assert parked() == []


def test_an_order_that_waits_for_its_money_asks_again_at_once(
    place: Place,
    goods: Any,
    provider: Callable[..., Any],
    read_order: ReadOrder,
    recorded_events: Recorded,
    deliver: Deliver,
) -> None:
    order, other = (place(payment_method="prepaid", buyer_id=None) for _ in range(2))
    way = goods(order).reserve()
    goods(other).reserve()
    lot = lot_of(read_order(order["order_id"]))

    deliver(LotRecalled, lot_id=UUID(lot["lot_id"]), reason="residue")

    assert read_order(other["order_id"]).state == "reserved"
    asked = read_order(order["order_id"])
    assert (asked.state, asked.payment_state, asked.expires_at) == ("placed", "pending", None)
    assert types(recorded_events)[-1] == "order_reinstated"
    provider(order)
    assert read_order(order["order_id"]).state == "placed"
    way.reserve()
    assert read_order(order["order_id"]).state == "confirmed"


def test_the_buyer_of_an_order_that_gets_other_lots_is_not_asked_for_its_money_again(
    place: Place,
    goods: Any,
    read_order: ReadOrder,
    recorded_events: Recorded,
    deliver: Deliver,
) -> None:
    order = place(payment_method="prepaid")
    way = goods(order).reserve()
    deliver(LotRecalled, lot_id=UUID(lot_of(read_order(order["order_id"]))["lot_id"]), reason="r")

    way.reserve()

    assert read_order(order["order_id"]).state == "reserved"
    assert types(recorded_events).count("payment_requested") == 1


def test_an_order_that_waits_for_its_money_and_gets_no_other_lots_ends_unpaid(
    place: Place, goods: Any, read_order: ReadOrder, deliver: Deliver
) -> None:
    order = place(payment_method="prepaid")
    way = goods(order).reserve()
    deliver(LotRecalled, lot_id=UUID(lot_of(read_order(order["order_id"]))["lot_id"]), reason="r")

    way.refuse()

    now = read_order(order["order_id"])
    assert (now.state, now.payment_state, now.reason) == ("rejected", "voided", "lot_recalled")


def test_a_confirmed_order_is_left_alone_until_logistics_says_that_it_has_not_left(
    place: Place, goods: Any, read_order: ReadOrder, deliver: Deliver
) -> None:
    order = place()
    goods(order).reserve().go("plan")

    deliver(LotRecalled, lot_id=UUID(lot_of(read_order(order["order_id"]))["lot_id"]), reason="r")

    assert read_order(order["order_id"]).state == "confirmed"


def test_a_word_about_lots_that_the_order_has_no_more_changes_nothing(
    place: Place, goods: Any, read_order: ReadOrder, recorded_events: Recorded
) -> None:
    """Else goods would be set free that have left with their new lots."""
    order = place()
    way = goods(order).reserve().go("plan")
    lot = lot_of(read_order(order["order_id"]))
    way.recall("here", lot)
    way.reserve()
    told = recorded_events()

    way.recall("here", lot)

    assert read_order(order["order_id"]).state == "confirmed"
    assert recorded_events() == told


@pytest.mark.parametrize("ended", ["cancelled", "shipped"])
def test_a_recall_that_comes_too_late_changes_nothing(
    place: Place,
    goods: Any,
    read_order: ReadOrder,
    client: Any,
    token: Callable[..., dict[str, str]],
    parked: Callable[[], list[Parked]],
    ended: str,
) -> None:
    order = place()
    way = goods(order).reserve().go("plan")
    lot = lot_of(read_order(order["order_id"]))
    if ended == "cancelled":
        client.post(
            f"/api/orders/v1/orders/{order['order_id']}/cancel",
            json={"reason": "changed_mind"},
            headers=token("orders:place", subject="shop"),
        )
    else:
        way.go("pack", "dispatch")

    way.recall("here", lot)

    assert read_order(order["order_id"]).state == ended
    assert parked() == []


def test_an_order_cancelled_while_it_asks_again_stays_cancelled(
    place: Place,
    goods: Any,
    read_order: ReadOrder,
    client: Any,
    token: Callable[..., dict[str, str]],
    parked: Callable[[], list[Parked]],
) -> None:
    order = place()
    way = goods(order).reserve().go("plan")
    way.recall("here", lot_of(read_order(order["order_id"])))

    client.post(
        f"/api/orders/v1/orders/{order['order_id']}/cancel",
        json={"reason": "changed_mind"},
        headers=token("orders:place", subject="shop"),
    )
    way.reserve()

    now = read_order(order["order_id"])
    assert (now.state, now.payment_state, now.reason) == ("cancelled", "voided", "changed_mind")
    assert parked() == []


def test_an_order_whose_goods_come_back_for_a_recall_says_so(
    place: Place, goods: Any, read_order: ReadOrder, database: Database
) -> None:
    order = place()
    way = goods(order).reserve().go("plan", "pack", "dispatch")

    way.recall("on_its_way", lot_of(read_order(order["order_id"])))

    now = read_order(order["order_id"])
    assert (now.state, now.reason) == ("shipped", "lot_recalled")


def test_an_order_that_a_cut_off_till_gave_away_before_the_recall_completes_with_its_cash(
    place: Place,
    goods: Any,
    read_order: ReadOrder,
    deliver: Deliver,
    parked: Callable[[], list[Parked]],
) -> None:
    order = place(collect=True)
    way = goods(order).reserve().go("plan", "pack", "dispatch")
    lot = lot_of(read_order(order["order_id"]))
    way.recall("on_its_way", lot)
    deliver(DeliveryFailed, **way.about, reason="lot_recalled")
    before = read_order(order["order_id"])

    deliver(ShipmentCollected, **way.about, collected_fen=13_600)
    way.recall("with_buyer", lot)

    now = read_order(order["order_id"])
    assert (before.state, before.payment_state) == ("shipped", "cod_refused")
    assert (now.state, now.payment_state, now.difference_fen) == ("completed", "cod_collected", 0)
    assert parked() == []
