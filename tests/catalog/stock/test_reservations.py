"""Reserved stock is committed, freed, shipped, or comes back."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from services.catalog.batch import CatalogBatch
from services.catalog.models import Reservation
from services.catalog.rules import WrongLotState
from services.catalog.use_cases.stock import lots, reconciliation
from shared.events import (
    OrderCancelled,
    OrderExpired,
    OrderPlaced,
    OrderReinstated,
    ShipmentCancelled,
    ShipmentDispatched,
    ShipmentReturned,
)
from shared.messaging.batch import transaction
from shared.messaging.tables import Parked
from shared.runtime.database import Database
from shared.runtime.ids import new_id
from tests.support.chance import examples

Recorded = Callable[[], list[tuple[str, dict[str, Any]]]]
RESERVED = "catalog.stock_reserved.v1"
REFUSED = "catalog.stock_refused.v1"
RELEASED = "catalog.stock_released.v1"


def status_of(database: Database, order_id: UUID) -> str | None:
    with database.readers() as reader:
        return reader.scalar(select(Reservation.status).where(Reservation.order_id == order_id))


def assert_balanced(database: Database) -> None:
    with database.readers() as reader:
        assert reconciliation.reconcile(reader).differences == []


def test_a_confirmed_order_has_its_stock_committed(shop: Any, database: Database) -> None:
    lot = shop.add_lot("L-1", 100)
    order_id = shop.place(40)

    shop.confirm(order_id)

    assert shop.level(lot) == {"available": 60, "committed": 40}
    assert status_of(database, order_id) == "committed"
    assert_balanced(database)


@pytest.mark.parametrize(
    ("contract", "reason"), [(OrderCancelled, "cancelled"), (OrderExpired, "expired")]
)
def test_reserved_stock_is_free_again_when_its_order_ends(
    shop: Any, said: Any, contract: type[Any], reason: str, database: Database
) -> None:
    """Unpaid prepaid orders expire and release.

    vendure#3509, #2030; shopperlabs/shopper#607; saleor#8313, #11257
    """
    lot = shop.add_lot("L-1", 100)
    order_id = shop.place(40)

    shop.end(contract, order_id)

    assert shop.level(lot) == {"available": 100}
    assert said(order_id)[-1] == (RELEASED, {"order_id": str(order_id), "reason": reason})
    assert_balanced(database)


def test_stock_freed_and_asked_for_in_one_batch_is_sold(shop: Any, said: Any) -> None:
    shop.add_lot("L-1", 10)
    first, second = shop.place(10), shop.an_order(10)

    shop.deliver(
        OrderPlaced,
        _many=[
            {
                "_contract": OrderCancelled,
                "order_id": first,
                "order_ref": "ORD-23456789",
                "reason": "changed my mind",
            },
            second,
        ],
    )

    assert [kind for kind, _ in said(second["order_id"])] == [RESERVED]


def test_committed_stock_never_expires(shop: Any, parked: Callable[[], list[Parked]]) -> None:
    """Cash on delivery never expires: a fact that says so is kept for an operator.

    vendure#3509, #2030; shopperlabs/shopper#607; saleor#8313, #11257
    """
    lot = shop.add_lot("L-1", 100)
    order_id = shop.place(40)
    shop.confirm(order_id)

    shop.end(OrderExpired, order_id)

    assert shop.level(lot) == {"available": 60, "committed": 40}
    assert [row.type for row in parked()] == ["orders.order_expired.v1"]


def test_committed_stock_of_a_cancelled_order_is_not_sold_while_it_may_be_on_its_way(
    shop: Any, said: Any
) -> None:
    lot = shop.add_lot("L-1", 100)
    order_id = shop.place(100)
    shop.confirm(order_id)
    shop.end(OrderCancelled, order_id)

    other = shop.place(1)

    assert shop.level(lot) == {"committed": 100}
    assert [kind for kind, _ in said(other)] == [REFUSED]


def test_stock_of_a_shipment_that_was_stopped_is_free_again(
    shop: Any, said: Any, database: Database
) -> None:
    lot = shop.add_lot("L-1", 100)
    order_id = shop.place(40)
    shop.confirm(order_id)
    shop.end(OrderCancelled, order_id)

    shop.deliver(ShipmentCancelled, shipment_id=new_id(), order_id=order_id)

    assert shop.level(lot) == {"available": 100}
    assert said(order_id)[-1] == (RELEASED, {"order_id": str(order_id), "reason": "cancelled"})
    assert_balanced(database)


def test_a_shipment_stopped_before_catalog_hears_of_confirmation_and_cancelling(
    shop: Any, parked: Callable[[], list[Parked]], database: Database
) -> None:
    lot = shop.add_lot("L-1", 100)
    order_id = shop.place(40)

    shop.deliver(ShipmentCancelled, shipment_id=new_id(), order_id=order_id)
    shop.confirm(order_id)
    shop.end(OrderCancelled, order_id)

    assert shop.level(lot) == {"available": 100}
    assert status_of(database, order_id) == "released"
    assert parked() == []


def test_dispatched_goods_are_out_of_stock(shop: Any, said: Any, database: Database) -> None:
    lot = shop.add_lot("L-1", 100)
    order_id = shop.place(40)
    shop.confirm(order_id)

    shop.dispatch(order_id, new_id())

    assert shop.level(lot) == {"available": 60}
    assert status_of(database, order_id) == "consumed"
    assert_balanced(database)


def test_goods_dispatched_before_catalog_hears_of_the_confirmation_are_out_of_stock(
    shop: Any, said: Any, parked: Callable[[], list[Parked]], database: Database
) -> None:
    lot = shop.add_lot("L-1", 100)
    order_id = shop.place(40)

    shop.dispatch(order_id, new_id())
    shop.confirm(order_id)

    assert shop.level(lot) == {"available": 60}
    assert status_of(database, order_id) == "consumed"
    assert parked() == []
    assert_balanced(database)


def test_goods_that_left_before_the_order_was_cancelled_come_back_to_their_pile(
    shop: Any, said: Any, database: Database
) -> None:
    """Returns go back to the pile they came from.

    openfoodnetwork#6220, #4122; vendure#4030; magento/inventory#2269
    """
    first = shop.add_lot("L-1", 100, keeps_days=3)
    second = shop.add_lot("L-2", 100, keeps_days=4)
    order_id, shipment_id = shop.place(150), new_id()
    shop.confirm(order_id)
    shop.dispatch(order_id, shipment_id)
    shop.end(OrderCancelled, order_id)

    shop.bring_back(order_id, shipment_id, restock=True)

    assert shop.level(first) == {"available": 100}
    assert shop.level(second) == {"available": 100}
    assert status_of(database, order_id) == "returned"
    assert_balanced(database)


def test_goods_that_come_back_spoiled_are_written_off(
    shop: Any, said: Any, database: Database
) -> None:
    lot = shop.add_lot("L-1", 100)
    order_id, shipment_id = shop.place(40), new_id()
    shop.confirm(order_id)
    shop.dispatch(order_id, shipment_id)

    shop.bring_back(order_id, shipment_id, restock=False)

    assert shop.level(lot) == {"available": 60}
    with database.readers() as reader:
        (variant,) = reconciliation.reconcile(reader).variants
    assert variant.balanced
    assert (variant.flows["restocked"], variant.flows["lost"]) == (40, 40)


def test_goods_restocked_can_be_sold_to_the_next_order_of_the_same_batch(
    shop: Any, said: Any
) -> None:
    shop.add_lot("L-1", 10)
    first, shipment_id = shop.place(10), new_id()
    shop.confirm(first)
    shop.dispatch(first, shipment_id)
    second = shop.an_order(10)
    returned = {
        "_contract": ShipmentReturned,
        "shipment_id": shipment_id,
        "order_id": first,
        "restock": True,
        "lines": shop.shipped(first),
    }

    shop.deliver(OrderPlaced, _many=[returned, second])

    assert [kind for kind, _ in said(second["order_id"])] == [RESERVED]


@pytest.mark.parametrize("stop", [lots.hold_lot, lots.recall_lot])
def test_stock_freed_while_its_lot_is_stopped_is_not_for_sale(
    shop: Any, database: Database, stop: Callable[..., Any]
) -> None:
    lot = shop.add_lot("L-1", 100)
    order_id = shop.place(40)
    with transaction(database, CatalogBatch) as batch:
        stop(batch, lot, "mould", "inspector")
    assert shop.level(lot) == {"held": 60, "reserved": 40}

    shop.end(OrderCancelled, order_id)

    assert shop.level(lot) == {"held": 100}
    assert_balanced(database)


def test_other_goods_than_were_set_aside_are_not_booked(
    shop: Any, said: Any, parked: Callable[[], list[Parked]]
) -> None:
    lot = shop.add_lot("L-1", 100)
    order_id = shop.place(40)
    lines = shop.shipped(order_id)
    lines[0]["lots"][0]["quantity"] = 41

    shop.deliver(
        ShipmentDispatched,
        shipment_id=new_id(),
        shipment_ref="SHP-23456789",
        order_id=order_id,
        lines=lines,
    )

    assert shop.level(lot) == {"available": 60, "reserved": 40}
    assert "ShippedOtherwise" in (parked()[0].error or "")


def test_a_late_payment_gets_the_stock_again_when_it_is_still_there(
    shop: Any, said: Any, database: Database
) -> None:
    lot = shop.add_lot("L-1", 100)
    order = shop.an_order(40)
    shop.deliver(OrderPlaced, **order)
    order_id = order["order_id"]
    shop.end(OrderExpired, order_id)

    shop.deliver(OrderReinstated, order_id=order_id, order_ref="ORD-23456789", lines=order["lines"])

    assert [kind for kind, _ in said(order_id)] == [RESERVED, RELEASED, RESERVED]
    assert shop.level(lot) == {"available": 60, "reserved": 40}
    assert_balanced(database)


def test_a_late_payment_is_refused_the_stock_that_others_have_bought(
    shop: Any, said: Any, database: Database
) -> None:
    shop.add_lot("L-1", 100)
    order = shop.an_order(40)
    shop.deliver(OrderPlaced, **order)
    shop.end(OrderExpired, order["order_id"])
    shop.place(80)

    shop.deliver(
        OrderReinstated, order_id=order["order_id"], order_ref="ORD-2", lines=order["lines"]
    )

    assert [kind for kind, _ in said(order["order_id"])] == [RESERVED, RELEASED, REFUSED]
    assert_balanced(database)


@pytest.mark.parametrize("contract", [OrderCancelled, OrderExpired])
def test_an_order_without_stock_ends_without_a_word(
    shop: Any, said: Any, contract: type[Any]
) -> None:
    order_id = shop.place(40)

    shop.end(contract, order_id)

    assert [kind for kind, _ in said(order_id)] == [REFUSED]


def test_a_fact_about_an_order_that_has_not_asked_yet_waits(
    shop: Any, parked: Callable[[], list[Parked]]
) -> None:
    shop.deliver(ShipmentCancelled, shipment_id=new_id(), order_id=new_id())

    assert [(row.type, row.state) for row in parked()] == [
        ("logistics.shipment_cancelled.v1", "waiting")
    ]


def test_confirming_a_refused_order_is_kept_for_an_operator(
    shop: Any, parked: Callable[[], list[Parked]]
) -> None:
    order_id = shop.place(40)

    shop.confirm(order_id)

    assert "WrongReservationState" in (parked()[0].error or "")


STEPS = ("confirm", "cancel", "expire", "dispatch", "stop", "restock", "write off", "hold", "free")


@given(steps=st.lists(st.tuples(st.integers(0, 2), st.sampled_from(STEPS)), max_size=14))
@settings(
    max_examples=examples(25),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_the_books_balance_whatever_is_heard_in_whatever_order(
    shop: Any, database: Database, steps: list[tuple[int, str]]
) -> None:
    lot = shop.add_lot(f"L-{new_id().hex}", 100, at=shop.station)
    orders = [shop.place(quantity, channel="station") for quantity in (40, 40, 20)]
    shipments = [new_id() for _ in orders]

    for number, step in steps:
        take_step(shop, database, step, lot, orders[number], shipments[number])

    assert_balanced(database)
    with database.readers() as reader:
        (variant,) = reconciliation.reconcile(reader).variants
    assert variant.balanced
    assert variant.flows["consumed"] <= variant.flows["received"]


def take_step(
    shop: Any, database: Database, step: str, lot: UUID, order_id: UUID, shipment_id: UUID
) -> None:
    """Let something happen to an order or its lot; what does not fit is parked or refused."""
    if step == "confirm":
        shop.confirm(order_id)
    elif step in ("cancel", "expire"):
        shop.end(OrderCancelled if step == "cancel" else OrderExpired, order_id)
    elif step == "dispatch":
        shop.dispatch(order_id, shipment_id)
    elif step == "stop":
        shop.deliver(ShipmentCancelled, shipment_id=shipment_id, order_id=order_id)
    elif step in ("restock", "write off"):
        shop.bring_back(order_id, shipment_id, restock=step == "restock")
    else:
        with suppress(WrongLotState), transaction(database, CatalogBatch) as batch:
            if step == "hold":
                lots.hold_lot(batch, lot, "mould", "inspector")
            else:
                lots.release_lot(batch, lot, "inspector")
