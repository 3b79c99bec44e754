"""A recalled lot leaves the orders that it was set aside for; they ask for other stock."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from services.catalog.models import Reservation
from services.catalog.use_cases import books, lots
from shared.database import Database
from shared.events import OrderCancelled, OrderPlaced, OrderReinstated, ShipmentCancelled
from shared.ids import new_id
from shared.tables import Parked

RESERVED = "catalog.stock_reserved.v1"
REFUSED = "catalog.stock_refused.v1"
RELEASED = "catalog.stock_released.v1"


def stop(database: Database, how: Callable[..., Any], lot_id: Any) -> None:
    with database.sessions.begin() as session:
        how(session, lot_id, "residue", "inspector")


def ask_again(shop: Any, order: dict[str, Any]) -> None:
    shop.deliver(
        OrderReinstated,
        order_id=order["order_id"],
        order_ref=order["order_ref"],
        lines=order["lines"],
    )


def status_of(database: Database, order_id: Any) -> str | None:
    with database.readers() as reader:
        return reader.scalar(select(Reservation.status).where(Reservation.order_id == order_id))


def assert_balanced(database: Database) -> None:
    with database.readers() as reader:
        assert books.balance_books(reader).differences == []


@pytest.mark.parametrize("confirmed", [False, True])
def test_an_order_with_a_recalled_lot_gets_others_and_keeps_what_is_good(
    shop: Any, said: Any, database: Database, confirmed: bool
) -> None:
    bad = shop.add_lot("L-1", 60, keeps_days=3)
    good = shop.add_lot("L-2", 100, keeps_days=4)
    order = shop.an_order(80, 20)
    shop.deliver(OrderPlaced, **order)
    if confirmed:
        shop.confirm(order["order_id"])

    stop(database, lots.recall_lot, bad)
    ask_again(shop, order)

    assert shop.level(bad) == {"held": 60}
    assert shop.level(good) == {"reserved": 100}
    assert [kind for kind, _ in said(order["order_id"])] == [RESERVED, RELEASED, RESERVED]
    assert said(order["order_id"])[1][1]["reason"] == "recalled"
    assert_balanced(database)
    shop.confirm(order["order_id"])
    shop.dispatch(order["order_id"], new_id())
    assert shop.level(good) == {}
    assert_balanced(database)


def test_an_order_that_gets_no_other_lots_is_refused_and_holds_nothing(
    shop: Any, said: Any, database: Database, parked: Callable[[], list[Parked]]
) -> None:
    bad = shop.add_lot("L-1", 60, keeps_days=3)
    good = shop.add_lot("L-2", 30, keeps_days=4)
    order = shop.an_order(80)
    shop.deliver(OrderPlaced, **order)
    shop.confirm(order["order_id"])

    stop(database, lots.recall_lot, bad)
    ask_again(shop, order)
    shop.deliver(ShipmentCancelled, shipment_id=new_id(), order_id=order["order_id"])

    assert status_of(database, order["order_id"]) == "refused"
    assert said(order["order_id"])[-1][0] == REFUSED
    assert said(order["order_id"])[-1][1]["shortfalls"][0]["available"] == 30
    assert (shop.level(bad), shop.level(good)) == ({"held": 60}, {"available": 30})
    assert parked() == []
    assert_balanced(database)


def test_stock_that_is_set_aside_is_not_given_up_by_asking_for_it_twice(
    shop: Any, said: Any, database: Database, parked: Callable[[], list[Parked]]
) -> None:
    """A hold is no recall: the order keeps what it has, and waits."""
    lot = shop.add_lot("L-1", 100)
    order = shop.an_order(80)
    shop.deliver(OrderPlaced, **order)
    stop(database, lots.hold_lot, lot)

    ask_again(shop, order)

    assert shop.level(lot) == {"held": 20, "reserved": 80}
    assert "WrongReservationState" in (parked()[0].error or "")


def test_a_cancelled_order_that_had_asked_again_sets_its_stock_free_once(
    shop: Any, database: Database, parked: Callable[[], list[Parked]]
) -> None:
    bad = shop.add_lot("L-1", 60, keeps_days=3)
    good = shop.add_lot("L-2", 100, keeps_days=4)
    order = shop.an_order(80)
    shop.deliver(OrderPlaced, **order)
    shop.confirm(order["order_id"])
    stop(database, lots.recall_lot, bad)

    ask_again(shop, order)
    shop.end(OrderCancelled, order["order_id"])
    shop.deliver(ShipmentCancelled, shipment_id=new_id(), order_id=order["order_id"])

    assert (shop.level(bad), shop.level(good)) == ({"held": 60}, {"available": 100})
    assert parked() == []
    assert_balanced(database)


@pytest.mark.parametrize("restock", [True, False])
def test_goods_of_a_recalled_lot_that_come_back_are_not_for_sale(
    shop: Any, database: Database, restock: bool
) -> None:
    lot = shop.add_lot("L-1", 100)
    order_id, shipment_id = shop.place(40), new_id()
    shop.confirm(order_id)
    shop.dispatch(order_id, shipment_id)
    stop(database, lots.recall_lot, lot)

    shop.bring_back(order_id, shipment_id, restock=restock)

    assert shop.level(lot) == ({"held": 100} if restock else {"held": 60})
    assert_balanced(database)
