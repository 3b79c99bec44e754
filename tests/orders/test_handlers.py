"""What orders does with facts of catalog and logistics: once, in any batch, and never half."""

from collections.abc import Callable
from datetime import date
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from services.orders.models import Order, PriceReadModel, SiteReadModel, VariantReadModel
from shared.events import (
    DeliveryFailed,
    OrderPlaced,
    PriceChanged,
    ProductListed,
    ProductWithdrawn,
    ShipmentCancelled,
    ShipmentCollected,
    ShipmentDelivered,
    ShipmentDispatched,
    ShipmentPacked,
    ShipmentPlanned,
    ShipmentReturned,
    SiteClosed,
    SiteOpened,
    StockRefused,
    StockReserved,
)
from shared.messaging.tables import Parked
from shared.runtime.database import Database
from shared.runtime.ids import new_id

Place = Callable[..., dict[str, Any]]
Deliver = Callable[..., list[UUID]]
Reserve = Callable[[dict[str, Any]], UUID]
ReadOrder = Callable[[UUID | str], Order]
Recorded = Callable[[], list[tuple[str, dict[str, Any]]]]
Builder = Callable[..., dict[str, Any]]


def _types(events: list[tuple[str, dict[str, Any]]]) -> list[str]:
    return [type_.split(".")[1] for type_, _ in events]


# --- Copies --------------------------------------------------------------------------------------


def _variants(database: Database) -> dict[str, bool]:
    with database.readers() as reader:
        return {row.sku: row.on_sale for row in reader.scalars(select(VariantReadModel))}


def test_a_variant_that_is_listed_no_more_is_not_sold_any_more(
    deliver: Deliver, a_product: Builder, database: Database
) -> None:
    product = a_product()
    (first,) = product["variants"]
    second = first | {"variant_id": new_id(), "sku": "MATSUTAKE-B"}
    deliver(ProductListed, **product | {"variants": [first, second]})

    deliver(ProductListed, **product | {"variants": [second]})

    assert _variants(database) == {"MATSUTAKE-A": False, "MATSUTAKE-B": True}


def test_a_listing_that_comes_late_does_not_undo_the_withdrawal(
    deliver: Deliver, a_product: Builder, database: Database
) -> None:
    product = a_product()
    deliver(ProductListed, **product, _sequence=1)
    deliver(ProductWithdrawn, product_id=product["product_id"], _sequence=3)

    deliver(ProductListed, **product, _sequence=2)

    assert _variants(database) == {"MATSUTAKE-A": False}


def test_a_withdrawal_may_come_for_a_product_never_heard_of(
    deliver: Deliver, a_product: Builder, database: Database
) -> None:
    product = a_product()
    deliver(ProductWithdrawn, product_id=product["product_id"], _sequence=2)

    deliver(ProductListed, **product, _sequence=1)

    assert _variants(database) == {}


def test_an_older_price_does_not_replace_a_newer_one(
    deliver: Deliver, a_price: Builder, database: Database
) -> None:
    variant_id = new_id()
    deliver(PriceChanged, **a_price(variant_id, price_fen=2), _sequence=2)

    deliver(PriceChanged, **a_price(variant_id, price_fen=1), _sequence=1)
    deliver(PriceChanged, **a_price(variant_id, price_fen=9, channel="company"), _sequence=1)

    with database.readers() as reader:
        prices = {row.channel: row.price_fen for row in reader.scalars(select(PriceReadModel))}
    assert prices == {"online": 2, "company": 9}


def test_an_opening_that_comes_late_does_not_open_a_closed_site(
    deliver: Deliver, database: Database
) -> None:
    site = {"site_id": new_id(), "code": "T", "level": "township", "parent_id": new_id()}
    opening = site | {"names": {"zh": "镇"}}
    deliver(SiteOpened, **opening, _sequence=1)
    deliver(SiteClosed, site_id=site["site_id"], _sequence=3)

    deliver(SiteOpened, **opening, _sequence=2)

    with database.readers() as reader:
        assert reader.scalars(select(SiteReadModel)).one().closed


# --- Catalog's answers ---------------------------------------------------------------------------


def test_reserved_stock_confirms_a_cash_order_with_its_lots(
    place: Place, reserve: Reserve, read_order: ReadOrder, recorded_events: Recorded
) -> None:
    order = place()

    reserve(order)

    now = read_order(order["order_id"])
    assert (now.state, now.payment_state) == ("confirmed", "cod_due")
    assert now.decided_at is not None
    type_, confirmed = recorded_events()[-1]
    assert type_ == "orders.order_confirmed.v1"
    assert confirmed["due_fen"] == confirmed["total_fen"] == 13_600
    assert confirmed["lines"][0]["lots"] == now.lines[0].lots


def test_refused_stock_rejects_the_order_and_says_what_was_short(
    place: Place, deliver: Deliver, read_order: ReadOrder, recorded_events: Recorded
) -> None:
    order = place()
    short = {"line_no": 1, "variant_id": new_id(), "requested": 1000, "available": 400}

    deliver(StockRefused, order_id=UUID(order["order_id"]), shortfalls=[short])

    now = read_order(order["order_id"])
    assert (now.state, now.payment_state, now.reason) == ("rejected", "voided", "out_of_stock")
    assert now.shortfalls == [short | {"variant_id": str(short["variant_id"])}]
    assert recorded_events()[-1][1]["shortfalls"] == now.shortfalls


def test_a_repeated_answer_changes_nothing(
    place: Place,
    deliver: Deliver,
    reserved_lines: Callable[..., Any],
    recorded_events: Recorded,
    parked: Callable[[], list[Parked]],
) -> None:
    order = place()
    answer = {"order_id": UUID(order["order_id"]), "lines": reserved_lines(order)}
    event_id = new_id()
    deliver(StockReserved, **answer, _event_id=event_id, _sequence=1)
    told = recorded_events()

    deliver(StockReserved, **answer, _event_id=event_id, _sequence=1)
    deliver(
        StockReserved,
        _many=[answer | {"_event_id": event_id, "_sequence": 1} for _ in range(2)],
    )

    assert recorded_events() == told
    assert parked() == []


@pytest.mark.parametrize("contract", [StockReserved, StockRefused])
def test_an_answer_for_an_order_cancelled_meanwhile_changes_nothing(
    place: Place,
    deliver: Deliver,
    read_order: ReadOrder,
    cancel: Callable[[dict[str, Any]], None],
    reserved_lines: Callable[..., Any],
    parked: Callable[[], list[Parked]],
    contract: Any,
) -> None:
    order = place()
    cancel(order)
    answer = {"lines": reserved_lines(order)} if contract is StockReserved else {"shortfalls": []}

    deliver(contract, order_id=UUID(order["order_id"]), **answer)

    assert read_order(order["order_id"]).state == "cancelled"
    assert parked() == []


def test_an_answer_for_an_order_nobody_placed_is_parked_and_holds_up_nothing_else(
    place: Place,
    deliver: Deliver,
    read_order: ReadOrder,
    reserved_lines: Callable[..., Any],
    parked: Callable[[], list[Parked]],
) -> None:
    order, unknown = place(), new_id()
    lines = reserved_lines(order)

    deliver(
        StockReserved,
        _many=[
            {"order_id": unknown, "lines": lines},
            {"order_id": UUID(order["order_id"]), "lines": lines},
        ],
    )

    assert read_order(order["order_id"]).state == "confirmed"
    (kept,) = parked()
    assert (kept.subject, kept.reason) == (f"order/{unknown}", "handler_failed")
    assert "OrderNotFound" in (kept.error or "")


def test_a_second_decision_is_parked_with_the_state_it_met(
    place: Place,
    reserve: Reserve,
    deliver: Deliver,
    read_order: ReadOrder,
    parked: Callable[[], list[Parked]],
) -> None:
    order = place()
    order_id = reserve(order)

    deliver(StockRefused, order_id=order_id, shortfalls=[])

    assert read_order(order_id).state == "confirmed"
    assert "is confirmed and cannot become rejected" in (parked()[0].error or "")


@pytest.mark.parametrize("prepaid", [0, 1, 2], ids=["cash", "prepaid", "mixed"])
def test_a_batch_of_answers_takes_a_number_of_statements_that_does_not_grow_with_it(
    place: Place,
    deliver: Deliver,
    reserved_lines: Callable[..., Any],
    count_statements: Callable[..., Any],
    prepaid: int,
) -> None:
    def statements_for(size: int) -> int:
        batch = []
        for number in range(size):
            is_prepaid = prepaid == 1 or (prepaid == 2 and number % 2 == 1)
            method = "prepaid" if is_prepaid else "cash_on_delivery"
            order = place(payment_method=method, buyer_id=None)
            batch.append({"order_id": UUID(order["order_id"]), "lines": reserved_lines(order)})
        with count_statements() as statements:
            deliver(StockReserved, _many=batch)
        return len(statements)

    few, many = statements_for(2), statements_for(40)

    assert many <= few


def test_a_batch_of_shipment_facts_takes_a_number_of_statements_that_does_not_grow_with_it(
    place: Place,
    reserve: Reserve,
    deliver: Deliver,
    count_statements: Callable[..., Any],
) -> None:
    def statements_for(size: int) -> int:
        batch: list[dict[str, Any]] = []
        for _ in range(size):
            order_id, shipment_id = reserve(place(buyer_id=None)), new_id()
            about = {"shipment_id": shipment_id, "order_id": order_id}
            planned = {"shipment_ref": "SHP-1", "site_id": new_id()}
            batch += [
                {**about, **planned, "promised_on": date(2026, 8, 2)},
                {"_contract": ShipmentPacked, **about},
            ]
        with count_statements() as statements:
            deliver(ShipmentPlanned, _many=batch)
        return len(statements)

    assert statements_for(20) <= statements_for(2)


def test_a_batch_of_listings_and_prices_takes_a_number_of_statements_that_does_not_grow_with_it(
    deliver: Deliver, a_product: Builder, a_price: Builder, count_statements: Callable[..., Any]
) -> None:
    def statements_for(size: int) -> int:
        products = [a_product() for _ in range(size)]
        prices = [a_price(product["variants"][0]["variant_id"]) for product in products]
        with count_statements() as statements:
            deliver(
                ProductListed,
                _many=products + [price | {"_contract": PriceChanged} for price in prices],
            )
            deliver(ProductListed, _many=products)
        return len(statements)

    assert statements_for(30) <= statements_for(2)


# --- The way of the goods ------------------------------------------------------------------------


class Shipment:
    """Logistics as orders hears it: facts about one shipment."""

    def __init__(self, deliver: Deliver, order_id: UUID) -> None:
        self.deliver = deliver
        self.about = {"shipment_id": new_id(), "order_id": order_id}

    def plan(self) -> "Shipment":
        planned = {"shipment_ref": "SHP-1", "site_id": new_id(), "promised_on": date(2026, 8, 2)}
        self.deliver(ShipmentPlanned, **self.about, **planned)
        return self

    def pack(self) -> "Shipment":
        self.deliver(ShipmentPacked, **self.about)
        return self

    def dispatch(self) -> "Shipment":
        self.deliver(ShipmentDispatched, **self.about, shipment_ref="SHP-1", lines=[])
        return self

    def send(self) -> "Shipment":
        return self.plan().pack().dispatch()

    def fail(self) -> "Shipment":
        self.deliver(DeliveryFailed, **self.about, reason="absent")
        return self

    def come_back(self) -> "Shipment":
        self.deliver(ShipmentReturned, **self.about, restock=True, lines=[])
        return self


@pytest.fixture
def shipment(deliver: Deliver) -> Callable[[UUID], Shipment]:
    """Make the shipment of an order."""
    return lambda order_id: Shipment(deliver, order_id)


@pytest.fixture
def cancel(client: Any, token: Callable[..., dict[str, str]]) -> Callable[[dict[str, Any]], None]:
    """Cancel an order over HTTP."""

    def do(order: dict[str, Any]) -> None:
        answer = client.post(
            f"/api/orders/v1/orders/{order['order_id']}/cancel",
            json={"reason": "changed_mind"},
            headers=token("orders:place", subject="shop"),
        )
        assert answer.status_code == 200, answer.text

    return do


def test_an_order_follows_its_goods(
    place: Place, reserve: Reserve, read_order: ReadOrder, shipment: Callable[[UUID], Shipment]
) -> None:
    order_id = reserve(place())
    goods = shipment(order_id)

    def states() -> tuple[str, str | None]:
        order = read_order(order_id)
        return order.state, order.fulfilment_state

    goods.plan()
    assert states() == ("confirmed", "planned")
    assert read_order(order_id).promised_on == date(2026, 8, 2)
    assert read_order(order_id).shipment_id == goods.about["shipment_id"]
    goods.pack()
    assert states() == ("in_fulfilment", "packed")
    goods.dispatch()
    assert states() == ("shipped", "dispatched")


@pytest.mark.parametrize("contract", [ShipmentDelivered, ShipmentCollected])
def test_handed_over_goods_complete_the_order_and_book_its_cash(
    place: Place,
    reserve: Reserve,
    deliver: Deliver,
    read_order: ReadOrder,
    shipment: Callable[[UUID], Shipment],
    recorded_events: Recorded,
    contract: Any,
) -> None:
    order_id = reserve(place())
    goods = shipment(order_id).send()

    deliver(contract, **goods.about, collected_fen=13_600)

    now = read_order(order_id)
    assert (now.state, now.payment_state) == ("completed", "cod_collected")
    assert (now.paid_fen, now.difference_fen) == (13_600, 0)
    assert _types(recorded_events())[-2:] == ["order_paid", "order_completed"]


def test_too_little_cash_is_recorded_as_a_difference_and_not_called_paid(
    place: Place,
    reserve: Reserve,
    deliver: Deliver,
    read_order: ReadOrder,
    shipment: Callable[[UUID], Shipment],
    recorded_events: Recorded,
) -> None:
    order_id = reserve(place())
    goods = shipment(order_id).send()

    deliver(ShipmentDelivered, **goods.about, collected_fen=13_000)

    assert read_order(order_id).difference_fen == -600
    assert "order_paid" not in _types(recorded_events())


def test_a_prepaid_order_completes_without_cash(
    place: Place,
    reserve: Reserve,
    provider: Callable[..., Any],
    deliver: Deliver,
    read_order: ReadOrder,
    shipment: Callable[[UUID], Shipment],
    recorded_events: Recorded,
) -> None:
    order = place(payment_method="prepaid")
    order_id = reserve(order)
    provider(order)
    goods = shipment(order_id).send()

    deliver(ShipmentDelivered, **goods.about, collected_fen=0)

    now = read_order(order_id)
    assert (now.state, now.payment_state, now.difference_fen) == ("completed", "paid", 0)
    assert _types(recorded_events())[-1] == "order_completed"
    assert _types(recorded_events()).count("order_paid") == 1


def test_goods_that_come_back_end_the_order_and_give_the_money_back(
    place: Place,
    reserve: Reserve,
    provider: Callable[..., Any],
    read_order: ReadOrder,
    shipment: Callable[[UUID], Shipment],
    recorded_events: Recorded,
) -> None:
    order = place(payment_method="prepaid")
    order_id = reserve(order)
    provider(order)
    goods = shipment(order_id).send()

    goods.fail()
    failed = read_order(order_id)
    goods.come_back()

    assert (failed.state, failed.fulfilment_state) == ("shipped", "failed")
    now = read_order(order_id)
    assert (now.state, now.payment_state) == ("returned", "refunded")
    assert _types(recorded_events())[-2:] == ["order_returned", "payment_refunded"]


def test_a_cash_order_that_was_not_taken_owes_nothing_when_it_is_back(
    place: Place,
    reserve: Reserve,
    read_order: ReadOrder,
    shipment: Callable[[UUID], Shipment],
    recorded_events: Recorded,
) -> None:
    order_id = reserve(place())

    shipment(order_id).send().fail().come_back()

    now = read_order(order_id)
    assert (now.state, now.payment_state) == ("returned", "cod_refused")
    assert _types(recorded_events())[-1] == "order_returned"


def test_an_order_cancelled_while_its_goods_leave_stays_cancelled_and_follows_them_home(
    place: Place,
    reserve: Reserve,
    cancel: Callable[[dict[str, Any]], None],
    read_order: ReadOrder,
    shipment: Callable[[UUID], Shipment],
    parked: Callable[[], list[Parked]],
) -> None:
    order = place()
    order_id = reserve(order)
    goods = shipment(order_id).plan()
    cancel(order)

    goods.pack().dispatch()
    on_its_way = read_order(order_id)
    goods.come_back()

    assert (on_its_way.state, on_its_way.fulfilment_state) == ("cancelled", "dispatched")
    now = read_order(order_id)
    assert (now.state, now.fulfilment_state) == ("cancelled", "returned")
    assert now.payment_state == "voided"
    assert parked() == []


def test_a_shipment_stopped_in_time_is_noted_with_its_cancelled_order(
    place: Place,
    reserve: Reserve,
    deliver: Deliver,
    cancel: Callable[[dict[str, Any]], None],
    read_order: ReadOrder,
    shipment: Callable[[UUID], Shipment],
) -> None:
    order = place()
    order_id = reserve(order)
    goods = shipment(order_id).plan()
    cancel(order)

    deliver(ShipmentCancelled, **goods.about)

    now = read_order(order_id)
    assert (now.state, now.fulfilment_state) == ("cancelled", "cancelled")


def test_cash_for_goods_that_were_faster_than_the_cancellation_is_booked(
    place: Place,
    reserve: Reserve,
    deliver: Deliver,
    cancel: Callable[[dict[str, Any]], None],
    read_order: ReadOrder,
    shipment: Callable[[UUID], Shipment],
    recorded_events: Recorded,
) -> None:
    order = place()
    order_id = reserve(order)
    goods = shipment(order_id).plan()
    cancel(order)
    goods.pack().dispatch()

    deliver(ShipmentDelivered, **goods.about, collected_fen=13_600)

    now = read_order(order_id)
    assert (now.state, now.fulfilment_state) == ("cancelled", "delivered")
    assert (now.payment_state, now.difference_fen) == ("cod_collected", 0)
    assert _types(recorded_events())[-1] == "order_paid"


def test_a_shipped_order_is_not_cancelled(
    client: Any,
    token: Callable[..., dict[str, str]],
    place: Place,
    reserve: Reserve,
    shipment: Callable[[UUID], Shipment],
) -> None:
    order_id = reserve(place())
    shipment(order_id).send()

    answer = client.post(
        f"/api/orders/v1/orders/{order_id}/cancel",
        json={"reason": "changed_mind"},
        headers=token("orders:place", subject="shop"),
    )

    assert (answer.status_code, answer.json["state"]) == (409, "shipped")


# --- Bad events ----------------------------------------------------------------------------------


def test_a_fact_with_a_bad_body_is_parked_with_its_reason(
    deliver: Deliver, a_price: Builder, parked: Callable[[], list[Parked]], database: Database
) -> None:
    deliver(PriceChanged, **a_price(new_id(), price_unit=0))

    assert [row.reason for row in parked()] == ["invalid"]
    with database.readers() as reader:
        assert reader.scalars(select(PriceReadModel)).all() == []


def test_a_fact_nobody_listens_to_here_is_passed_over(
    deliver: Deliver, parked: Callable[[], list[Parked]]
) -> None:
    deliver(
        OrderPlaced,
        order_id=new_id(),
        order_ref="ORD-1",
        channel="online",
        payment_method="prepaid",
        buyer_id=None,
        site_id=new_id(),
        lines=[],
        total_fen=0,
    )

    assert parked() == []
