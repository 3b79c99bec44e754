"""Races, and what only the database can show: several transactions at the same time."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import Select, delete, func, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from services.catalog.batch import CatalogBatch
from services.catalog.models import Lot, Reservation, StockLevel, StockMovement
from services.catalog.rules import Account, Bucket, Reason
from services.catalog.use_cases.goods import enterprises, products
from services.catalog.use_cases.stock import levels, lots, reconciliation
from services.catalog.use_cases.stock.ledger import OutOfStock, level_at, lock_lot, move
from services.catalog.use_cases.stock.reserve import reserve_stock
from shared.messaging.batch import transaction
from shared.messaging.tables import Outbox
from shared.runtime.database import Database


def at_once(database: Database, works: list[Callable[[CatalogBatch], Any]]) -> list[Any]:
    """Run each work in a transaction and thread of its own, all released together.

    Returns what each returned, or the domain error it raised.
    """
    together = Barrier(len(works))

    def run(work: Callable[[CatalogBatch], Any]) -> Any:
        together.wait(30)
        try:
            with transaction(database, CatalogBatch) as batch:
                return work(batch)
        except OutOfStock as error:
            return error

    with ThreadPoolExecutor(len(works)) as pool:
        return [future.result(60) for future in [pool.submit(run, work) for work in works]]


def an_order_for(shop: Any, *wanted: tuple[Any, int]) -> Callable[[CatalogBatch], Any]:
    order = shop.an_order_for(*wanted)
    return lambda batch: reserve_stock(batch, order)


def count_of(database: Database, status: str) -> int:
    with database.readers() as reader:
        statement = select(func.count()).select_from(Reservation)
        return reader.scalar(statement.where(Reservation.status == status)) or 0


def differences(database: Database) -> list[reconciliation.BalanceDifference]:
    with database.readers() as reader:
        return reconciliation.reconcile(reader).differences


# --- Buyers at once --------------------------------------------------------------------------


def test_fifty_buyers_at_once_get_exactly_the_last_ten(shop: Any, database: Database) -> None:
    """100 buyers at once, 10 units: exactly 10, no line of quantity 0, sum conserved.

    openfoodnetwork#5300, #277; dotnet/eShop#888, #732; dotnet-architecture/
    eShopOnContainers#2001; saleor/saleor#543; vendurehq/vendure#1738, #3508, #1355, #4930;
    magento/magento2#25653; nopSolutions/nopCommerce#4184; opencart/opencart#4811;
    awesto/django-shop#888
    """
    lot = shop.add_lot("L-1", 10)

    at_once(database, [an_order_for(shop, (shop.variant, 1)) for _ in range(50)])

    assert (count_of(database, "held"), count_of(database, "refused")) == (10, 40)
    assert shop.level(lot) == {"reserved": 10}
    assert differences(database) == []


@pytest.mark.postgres
@pytest.mark.parametrize("harness", ["postgresql"], indirect=True)
def test_without_the_row_lock_the_same_buyers_are_seen_to_get_more(
    shop: Any, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test above can fail: with its lock taken out, it tells the overselling."""
    shop.add_lot("L-1", 10)
    monkeypatch.setattr(Select, "with_for_update", lambda statement, **_: statement)

    at_once(database, [an_order_for(shop, (shop.variant, 1)) for _ in range(50)])

    assert count_of(database, "held") > 10
    assert differences(database) != []


def test_orders_that_share_lots_in_any_order_do_not_wait_for_each_other(
    shop: Any, database: Database
) -> None:
    """Two calls at once reserve no more than there is.

    medusajs/medusa#16502, #16569, #14987, #15132, #10658, #16488; openfoodnetwork#7503
    """
    other = shop.add_variant("CORDYCEPS")
    for number in range(4):
        shop.add_lot(f"M-{number}", 5)
        shop.add_lot(f"C-{number}", 5, variant=other)
    forwards = ((shop.variant, 2), (other, 2))

    at_once(
        database,
        [an_order_for(shop, *(forwards if n % 2 else forwards[::-1])) for n in range(16)],
    )

    assert (count_of(database, "held"), count_of(database, "refused")) == (10, 6)
    assert differences(database) == []


def test_stock_set_to_0_while_orders_run_is_sold_or_taken_away_and_never_both(
    shop: Any, database: Database
) -> None:
    """Stock set to 0 while orders run: nothing is sold afterwards, no one needs refunding.

    openfoodfoundation/openfoodnetwork#6417, #14174, #12586
    """
    lot = shop.add_lot("L-1", 20)

    def set_to_0(batch: CatalogBatch) -> int:
        free = level_at(lock_lot(batch, lot), shop.centre).available
        if free:
            levels.adjust_stock(batch, lot, shop.centre, -free, "counted", "clerk")
        return free

    orders = [an_order_for(shop, (shop.variant, 1)) for _ in range(30)]
    answers = at_once(database, [*orders[:15], set_to_0, *orders[15:]])
    late = shop.place(1)

    taken_away = answers[15]
    assert count_of(database, "held") == 20 - taken_away
    assert shop.level(lot) == ({"reserved": 20 - taken_away} if taken_away < 20 else {})
    with database.readers() as reader:
        assert reader.get_one(Reservation, late).status == "refused"
    assert differences(database) == []


def test_a_hold_at_the_same_time_as_orders_leaves_nothing_for_sale(
    shop: Any, database: Database
) -> None:
    lot = shop.add_lot("L-1", 20)
    orders = [an_order_for(shop, (shop.variant, 1)) for _ in range(20)]

    at_once(
        database,
        [*orders[:10], lambda s: lots.hold_lot(s, lot, "mould", "inspector"), *orders[10:]],
    )

    reserved = count_of(database, "held")
    expected = {"reserved": reserved, "held": 20 - reserved}
    assert shop.level(lot) == {bucket: n for bucket, n in expected.items() if n}
    assert differences(database) == []


def test_receipts_at_once_all_count(shop: Any, database: Database) -> None:
    lot = shop.add_lot("L-1", 0)

    at_once(
        database,
        [lambda s: levels.receive_stock(s, lot, shop.centre, 5, "clerk") for _ in range(10)],
    )

    assert shop.level(lot) == {"available": 50}
    assert differences(database) == []


def test_moves_in_both_directions_at_once_lose_nothing(shop: Any, database: Database) -> None:
    """Moving re-checks what is there.

    medusajs/medusa#16502, #16569, #14987, #15132, #10658, #16488; openfoodnetwork#7503
    """
    lot = shop.add_lot("L-1", 10)
    shop_and_back = [(shop.centre, shop.station), (shop.station, shop.centre)] * 6

    def carry(start: Any, goal: Any) -> Callable[[CatalogBatch], Any]:
        return lambda batch: levels.move_stock(batch, lot, start, goal, 4, "clerk")

    at_once(database, [carry(start, goal) for start, goal in shop_and_back])

    lies = [shop.level(lot, at).get("available", 0) for at in (shop.centre, shop.station)]
    assert sum(lies) == 10
    assert differences(database) == []


def test_the_same_thing_registered_twice_at_once_is_there_once(
    shop: Any, database: Database
) -> None:
    variant = {
        "sku": "X",
        "grade": "1",
        "unit": "piece",
        "pack_quantity": 1,
        "min_life_days": 0,
        "gtin": None,
    }
    facts = {
        "names": {"zh": "雪莲花"},
        "category": "medicinal",
        "perishable": False,
        "shelf_life_days": None,
        "storage": None,
    }

    registered = at_once(
        database,
        [
            lambda s: enterprises.register_enterprise(s, "P-7", {"zh": "卓玛"}, ["producer"]).id
            for _ in range(5)
        ],
    )
    listed = at_once(database, [lambda s: products.list_product(s, "X", [variant], **facts).id] * 5)

    assert (len(set(registered)), len(set(listed))) == (1, 1)


# --- The ledger ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change", [update(StockMovement).values(quantity=1), delete(StockMovement)]
)
def test_the_ledger_can_only_be_added_to(shop: Any, session: Session, change: Any) -> None:
    shop.add_lot("L-1", 100)

    with pytest.raises(DBAPIError, match="append-only"):
        session.execute(change)


@pytest.mark.parametrize("bucket", list(Bucket))
def test_the_database_itself_refuses_a_balance_below_0(
    shop: Any, session: Session, bucket: Bucket
) -> None:
    """Below zero is refused, not warned about.

    odoo#79279; opensourcepos#3077, #1879; defendicon/POS-Awesome-V15#330, #128, #1847
    """
    shop.add_lot("L-1", 100)

    with pytest.raises(IntegrityError):
        session.execute(update(StockLevel).values({bucket.value: -1}))


def test_a_movement_of_more_than_there_is_moves_nothing(shop: Any, database: Database) -> None:
    lot = shop.add_lot("L-1", 100)

    with transaction(database, CatalogBatch) as batch:
        level = level_at(lock_lot(batch, lot), shop.centre)
        with pytest.raises(OutOfStock, match="101 asked for, 100 available"):
            move(
                batch,
                level,
                Bucket.AVAILABLE,
                Account.LOST,
                101,
                Reason.COUNTED,
                actor="clerk",
            )

    assert shop.level(lot) == {"available": 100}
    assert differences(database) == []


def test_a_balance_without_its_movement_is_named(shop: Any, database: Database) -> None:
    """A command names every difference between ledger and balances.

    magento/inventory#3165, #2727
    """
    lot = shop.add_lot("L-1", 100)
    shop.place(40)
    with database.sessions.begin() as session:
        session.execute(
            update(StockLevel)
            .where(StockLevel.lot_id == lot)
            .values(available=StockLevel.available + 7, reserved=39)
        )

    with database.readers() as reader:
        found = reconciliation.reconcile(reader)

    assert [
        (d.lot_code, d.location_code, d.bucket, d.balance, d.against, d.expected)
        for d in found.differences
    ] == [
        ("L-1", "540400", "available", 67, "movements", 60),
        ("L-1", "540400", "reserved", 39, "movements", 40),
        ("L-1", "540400", "reserved", 39, "reservations", 40),
    ]
    assert (found.balanced, found.variants[0].balanced) == (False, False)


def test_a_refused_request_leaves_no_movement_and_no_event(shop: Any, database: Database) -> None:
    lot = shop.add_lot("L-1", 100)
    statement = select(func.count()).select_from
    with database.readers() as reader:
        before = reader.scalar(statement(StockMovement)), reader.scalar(statement(Outbox))

    with pytest.raises(OutOfStock), transaction(database, CatalogBatch) as batch:
        levels.move_stock(batch, lot, shop.centre, shop.station, 101, "clerk")

    with database.readers() as reader:
        assert (reader.scalar(statement(StockMovement)), reader.scalar(statement(Outbox))) == before


def test_a_lots_events_are_numbered_without_a_hole(shop: Any, database: Database) -> None:
    lot = shop.add_lot("L-1", 100)

    at_once(
        database,
        [lambda s: levels.adjust_stock(s, lot, shop.centre, -1, "shrunk", "clerk")] * 10,
    )

    with database.readers() as reader:
        sequences = reader.scalars(
            select(Outbox.sequence).where(Outbox.subject == f"lot/{lot}").order_by(Outbox.id)
        ).all()
        assert sequences == list(range(1, 13))
        assert reader.get_one(Lot, lot).version == 12
