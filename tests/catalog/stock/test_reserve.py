"""Orders ask for stock: all lines are reserved or none, and a batch costs few statements."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select

from services.catalog.models import Location, Reservation, StockMovement
from services.catalog.use_cases.stock import ledger, picking, reconciliation
from shared.events import (
    OrderConfirmed,
    OrderPlaced,
    SiteClosed,
    SiteOpened,
)
from shared.messaging.tables import Parked
from shared.runtime.database import Database
from shared.runtime.ids import new_id

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


# --- An order asks for stock ----------------------------------------------------------------


def test_an_order_is_reserved_and_told_from_which_lot(shop: Any, said: Any) -> None:
    lot = shop.add_lot("L-1", 1000)

    order_id = shop.place(400)

    assert shop.level(lot) == {"available": 600, "reserved": 400}
    taken = {
        "lot_id": str(lot),
        "lot_code": "L-1",
        "location_id": str(shop.centre),
        "producer_id": str(shop.producer),
        "quantity": 400,
    }
    line = {"line_no": 1, "variant_id": str(shop.variant), "lots": [taken]}
    assert said(order_id) == [(RESERVED, {"order_id": str(order_id), "lines": [line]})]


def test_an_order_for_more_than_there_is_gets_nothing_and_is_told_what_there_is(
    shop: Any, said: Any, database: Database
) -> None:
    lot = shop.add_lot("L-1", 300)

    order_id = shop.place(400)

    shortfall = {
        "line_no": 1,
        "variant_id": str(shop.variant),
        "requested": 400,
        "available": 300,
    }
    assert said(order_id) == [(REFUSED, {"order_id": str(order_id), "shortfalls": [shortfall]})]
    assert shop.level(lot) == {"available": 300}
    assert status_of(database, order_id) == "refused"


def test_an_order_for_an_unknown_variant_is_refused(shop: Any, said: Any) -> None:
    order = shop.an_order(5)
    order["lines"][0]["variant_id"] = new_id()

    shop.deliver(OrderPlaced, **order)

    assert [kind for kind, _ in said(order["order_id"])] == [REFUSED]


def test_the_lot_that_expires_first_is_taken_first(shop: Any) -> None:
    young = shop.add_lot("A-late", 100, keeps_days=9)
    old = shop.add_lot("B-early", 100, keeps_days=3)

    shop.place(150)

    assert shop.level(old) == {"reserved": 100}
    assert shop.level(young) == {"available": 50, "reserved": 50}


def test_a_lot_that_does_not_keep_long_enough_is_not_sold(shop: Any, said: Any) -> None:
    shop.add_lot("L-1", 100, keeps_days=1)

    order_id = shop.place(50)

    assert [kind for kind, _ in said(order_id)] == [REFUSED]


def test_a_lot_that_is_not_released_is_not_sold(shop: Any, said: Any) -> None:
    lot = shop.add_lot("L-1", 100, released=False)

    order_id = shop.place(50)

    assert [kind for kind, _ in said(order_id)] == [REFUSED]
    assert shop.level(lot) == {"held": 100}


@pytest.mark.parametrize("channel", ["online", "company", "cooperative"])
def test_what_lies_at_a_station_is_not_sold_by_other_channels(
    shop: Any, said: Any, channel: str
) -> None:
    """What is promised is what is reserved, at the location that serves the channel.

    medusajs/medusa#16502, #16569, #14987, #15132, #10658, #16488; openfoodnetwork#7503
    """
    lot = shop.add_lot("L-1", 100, at=shop.station)

    order_id = shop.place(50, channel=channel)

    assert [kind for kind, _ in said(order_id)] == [REFUSED]
    assert shop.level(lot, shop.station) == {"available": 100}


def test_a_station_sells_its_own_stock_first_and_then_the_centres(shop: Any) -> None:
    early = shop.add_lot("L-centre", 100, keeps_days=3)
    late = shop.add_lot("L-station", 100, at=shop.station, keeps_days=9)

    shop.place(120, channel="station")

    assert shop.level(late, shop.station) == {"reserved": 100}
    assert shop.level(early) == {"available": 80, "reserved": 20}


def test_all_channels_sell_from_one_pile(shop: Any, said: Any) -> None:
    """One pile, one number: a channel price is never a second stock.

    openfoodnetwork#6220, #4122; vendure#4030; magento/inventory#2269
    """
    shop.add_lot("L-1", 100)

    answers = [
        said(shop.place(40, channel=channel))[0][0]
        for channel in ("online", "station", "company", "cooperative")
    ]

    assert answers == [RESERVED, RESERVED, REFUSED, REFUSED]


def test_a_closed_centre_sells_nothing(shop: Any, said: Any) -> None:
    shop.add_lot("L-1", 100)
    shop.deliver(SiteClosed, site_id=shop.centre)

    order_id = shop.place(50)

    assert [kind for kind, _ in said(order_id)] == [REFUSED]


def test_two_lines_of_one_order_on_one_lot_reserve_no_more_than_there_is(
    shop: Any, said: Any
) -> None:
    """Two lines of one order on one lot reserve no more than there is.

    medusajs/medusa#16502, #16569, #14987, #15132, #10658, #16488; openfoodnetwork#7503
    """
    lot = shop.add_lot("L-1", 10)

    refused = shop.place(6, 6)
    reserved = shop.place(6, 4)

    assert [kind for kind, _ in said(refused)] == [REFUSED]
    assert [kind for kind, _ in said(reserved)] == [RESERVED]
    assert shop.level(lot) == {"reserved": 10}


def test_fifty_orders_in_one_batch_for_the_last_ten_leave_ten_reserved(
    shop: Any, recorded_events: Recorded, database: Database
) -> None:
    """100 buyers at once, 10 units: exactly 10, no line of quantity 0, sum conserved.

    openfoodnetwork#5300, #277; dotnet/eShop#888, #732; dotnet-architecture/
    eShopOnContainers#2001; saleor/saleor#543; vendurehq/vendure#1738, #3508, #1355, #4930;
    magento/magento2#25653; nopSolutions/nopCommerce#4184; opencart/opencart#4811;
    awesto/django-shop#888
    """
    lot = shop.add_lot("L-1", 10)

    shop.deliver(OrderPlaced, _many=[shop.an_order(1) for _ in range(100)])

    kinds = [kind for kind, _ in recorded_events()]
    assert (kinds.count(RESERVED), kinds.count(REFUSED)) == (10, 90)
    assert shop.level(lot) == {"reserved": 10}
    assert_balanced(database)


def test_a_repeated_delivery_changes_nothing(
    shop: Any, deliver: Callable[..., Any], recorded_events: Recorded
) -> None:
    lot = shop.add_lot("L-1", 100)
    order = shop.an_order(40) | {"_event_id": new_id(), "_sequence": 1}
    deliver(OrderPlaced, **order)
    before = recorded_events()

    deliver(OrderPlaced, **order)

    assert recorded_events() == before
    assert shop.level(lot) == {"available": 60, "reserved": 40}


def test_an_order_that_asks_twice_is_reserved_once(
    shop: Any, deliver: Callable[..., Any], recorded_events: Recorded
) -> None:
    lot = shop.add_lot("L-1", 100)
    order = shop.an_order(40)

    deliver(OrderPlaced, _many=[order, order])

    assert [kind for kind, _ in recorded_events()].count(RESERVED) == 1
    assert shop.level(lot) == {"available": 60, "reserved": 40}


def test_an_order_from_more_lots_than_an_event_can_hold_is_refused(
    shop: Any, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.catalog.rules.stock.reservations.MOST_LOTS", 2)
    for number in range(3):
        shop.add_lot(f"L-{number}", 10)

    order_id = shop.place(30)

    assert said(order_id)[0][1]["shortfalls"][0]["available"] == 20


# --- Which lots are locked ------------------------------------------------------------------


def test_an_order_locks_only_the_first_lots_that_cover_it(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lots = [shop.add_lot(f"L-{day}", 100, keeps_days=day) for day in range(3, 9)]
    locked: list[set[UUID]] = []

    def lock_lots(batch: Any, lot_ids: Iterable[UUID]) -> None:
        locked.append({*lot_ids})
        ledger.lock_lots(batch, lot_ids)

    monkeypatch.setattr(picking, "lock_lots", lock_lots)

    shop.deliver(OrderPlaced, _many=[shop.an_order(150), shop.an_order(100)])

    assert set().union(*locked) == {*lots[:3]}
    assert [shop.level(lot).get("reserved") for lot in lots] == [100, 100, 50, None, None, None]


def test_an_order_gets_the_later_lots_if_others_took_the_first_before_they_were_locked(
    shop: Any, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    early, late = (shop.add_lot(f"L-{day}", 100, keeps_days=day) for day in (3, 4))
    candidates = picking._candidates

    def as_seen_before(batch: Any, variant_ids: Any) -> list[Any]:
        return [
            SimpleNamespace(**dict(row._mapping) | {"available": 1000})
            for row in candidates(batch, variant_ids)
        ]

    monkeypatch.setattr(picking, "_candidates", as_seen_before)

    order_id = shop.place(150)

    assert [kind for kind, _ in said(order_id)] == [RESERVED]
    assert shop.level(early) == {"reserved": 100}
    assert shop.level(late) == {"available": 50, "reserved": 50}


# --- Batches --------------------------------------------------------------------------------

Counting = Callable[[], AbstractContextManager[list[str]]]


def test_a_batch_of_500_orders_on_one_lot_costs_no_more_statements_than_a_batch_of_5(
    shop: Any, count_statements: Counting, database: Database
) -> None:
    lot = shop.add_lot("L-1", 1_000_000)

    counts = []
    for size in (5, 500):
        with count_statements() as statements:
            shop.deliver(OrderPlaced, _many=[shop.an_order(500) for _ in range(size)])
        counts.append(len(statements))

    assert counts[0] == counts[1] <= 16
    assert shop.level(lot) == {"available": 1_000_000 - 505 * 500, "reserved": 505 * 500}
    assert_balanced(database)


def test_following_500_orders_to_their_end_costs_no_more_statements_than_following_5(
    shop: Any, said: Any, count_statements: Counting, database: Database
) -> None:
    shop.add_lot("L-1", 1_000_000)

    counts = []
    for size in (5, 500):
        orders = [shop.an_order(10) for _ in range(size)]
        shop.deliver(OrderPlaced, _many=orders)
        facts = [shop.a_confirmation(order["order_id"]) for order in orders]
        with count_statements() as statements:
            shop.deliver(OrderConfirmed, _many=facts)
        counts.append(len(statements))

    assert counts[0] == counts[1] <= 13
    assert_balanced(database)


def test_the_ledger_names_the_event_and_the_order_behind_each_movement(
    shop: Any, database: Database
) -> None:
    shop.add_lot("L-1", 100)
    order = shop.an_order(40)

    (event_id,) = shop.deliver(OrderPlaced, **order)

    with database.readers() as reader:
        movement = reader.scalars(
            select(StockMovement).where(StockMovement.to_bucket == "reserved")
        ).one()
        assert reader.scalar(select(func.count()).select_from(StockMovement)) == 2
    assert (movement.cause, movement.order_id, movement.actor) == (
        str(event_id),
        order["order_id"],
        "orders",
    )


# --- Locations ------------------------------------------------------------------------------


def test_a_site_that_changes_its_name_changes_here(shop: Any, database: Database) -> None:
    shop.deliver(
        SiteOpened,
        site_id=shop.county,
        code="540421",
        level="county",
        parent_id=shop.centre,
        names={"zh": "工布江达县"},
    )

    with database.readers() as reader:
        assert reader.get_one(Location, shop.county).names == {"zh": "工布江达县"}


def test_a_site_that_was_never_opened_cannot_be_closed(
    shop: Any, parked: Callable[[], list[Parked]]
) -> None:
    shop.deliver(SiteClosed, site_id=new_id())

    assert "UnknownLocation" in (parked()[0].error or "")
