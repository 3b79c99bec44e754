"""A recalled lot leaves the orders that it was set aside for; they ask for other stock."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from services.catalog.batch import CatalogBatch
from services.catalog.models import Reservation
from services.catalog.use_cases import verify
from services.catalog.use_cases.stock import lots, reconciliation
from shared.events import (
    OrderCancelled,
    OrderPlaced,
    OrderReinstated,
    ShipmentCancelled,
    StationSaleRecorded,
)
from shared.messaging.batch import transaction
from shared.messaging.tables import Parked
from shared.runtime.database import Database
from shared.runtime.ids import new_id

RESERVED = "catalog.stock_reserved.v1"
REFUSED = "catalog.stock_refused.v1"
RELEASED = "catalog.stock_released.v1"


def stop(database: Database, how: Callable[..., Any], lot_id: Any) -> None:
    with transaction(database, CatalogBatch) as batch:
        how(batch, lot_id, "residue", "inspector")


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
        assert reconciliation.reconcile(reader).differences == []


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


def test_a_lot_names_each_order_that_ever_had_a_part_of_it(
    shop: Any, database: Database, get: Callable[..., Any]
) -> None:
    bad = shop.add_lot("L-1", 100, keeps_days=3)
    shop.add_lot("L-2", 100, keeps_days=4)
    replaced, waiting, gone, back = (shop.an_order(quantity) for quantity in (10, 20, 30, 15))
    for order in (replaced, waiting, gone, back):
        shop.deliver(OrderPlaced, **order)
        shop.confirm(order["order_id"])
    for order in (gone, back):
        shop.dispatch(order["order_id"], shipment_id := new_id())
    shop.bring_back(back["order_id"], shipment_id, restock=True)
    shop.place(100)
    stop(database, lots.recall_lot, bad)
    ask_again(shop, replaced)

    pages = [get(f"/lots/{bad}/orders", limit=3)]
    pages.append(get(f"/lots/{bad}/orders", limit=3, cursor=pages[0].json["next"]))

    listed = {item["order_id"]: item for page in pages for item in page.json["items"]}
    shown = {
        order_id: (item["status"], item["set_aside"], item["handed_out"])
        for order_id, item in listed.items()
    }
    assert len(shown) == 5
    assert shown[str(replaced["order_id"])] == ("held", 0, 0)
    assert shown[str(waiting["order_id"])] == ("committed", 20, 0)
    assert shown[str(gone["order_id"])] == ("consumed", 0, 30)
    assert shown[str(back["order_id"])] == ("returned", 0, 0)


def test_a_lot_names_each_sale_over_a_counter_also_one_that_nothing_covers(
    shop: Any,
    till: Any,
    grant: Callable[..., Any],
    deliver: Callable[..., Any],
    get: Callable[..., Any],
) -> None:
    lot, other = shop.add_lot("L-1", 100), shop.add_lot("L-2", 100)
    grant(till, lot, 50)
    grant(till, other, 50)
    booked = till.a_sale((lot, 20), (other, 5))
    beyond = till.a_sale((lot, 900))
    elsewhere = till.a_sale((other, 1))
    for sale in (booked, beyond, elsewhere):
        deliver(StationSaleRecorded, **sale)

    items = get(f"/lots/{lot}/station-sales").json["items"]

    assert {item["sale_id"]: (item["status"], item["quantity"]) for item in items} == {
        str(booked["sale_id"]): ("booked", 20),
        str(beyond["sale_id"]): ("overdrawn", 900),
    }


@pytest.mark.parametrize("what", ["orders", "station-sales"])
def test_a_lot_that_does_not_exist_concerns_nobody(get: Callable[..., Any], what: str) -> None:
    assert get(f"/lots/{new_id()}/{what}").status_code == 404


def test_a_recalled_lot_that_an_order_keeps_is_a_difference(shop: Any, database: Database) -> None:
    bad = shop.add_lot("L-1", 100, keeps_days=3)
    shop.add_lot("L-2", 100, keeps_days=4)
    order = shop.an_order(40)
    shop.deliver(OrderPlaced, **order)
    stop(database, lots.recall_lot, bad)

    def found() -> list[tuple[str, str]]:
        with database.readers() as reader:
            differences = verify.compare(reader).differences
        return [(each.check, str(each.ids["order_id"])) for each in differences]

    before = found()
    ask_again(shop, order)

    assert before == [("recalled_lot", str(order["order_id"]))]
    assert found() == []
