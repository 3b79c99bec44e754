"""Stations upload sales, voids and returns; each counts once."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from random import Random
from typing import Any

import pytest
from sqlalchemy import select

from services.catalog.models import StationSale, StockMovement
from shared.events import OrderPlaced, StationSaleDisputed, StationSaleRecorded
from shared.messaging.tables import Parked
from shared.runtime.database import Database
from shared.runtime.ids import new_id

Recorded = Callable[[], list[tuple[str, dict[str, Any]]]]
OVERDRAWN = "catalog.allotment_overdrawn.v1"
SETTLED = "catalog.overdraft_settled.v1"


def overdrafts(look: Any, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = look("/overdrafts", **query)["items"]
    return found


# --- Sold ---------------------------------------------------------------------------------------


def test_a_sale_within_the_grant_is_booked_and_counts_once(
    shop: Any, till: Any, grant: Any, quota: Any, deliver: Any, balanced: Any
) -> None:
    """Upload twice, from two tabs, after a time-out: one sale.

    BrainWise-DEV/POSNext#50, #97; odoo/odoo#152259; frappe/erpnext#11000, #11230
    """
    lot = shop.add_lot("L-1", 1000)
    grant(till, lot, 400)
    sale = till.a_sale((lot, 150))

    deliver(StationSaleRecorded, _many=[sale, sale])
    deliver(StationSaleRecorded, **sale)

    assert quota(till, lot) == (400, 150, 0, 250, 0)
    assert shop.level(lot) == {"available": 600}
    assert shop.level(lot, shop.station) == {"allotted": 250}
    assert balanced() == []


def test_the_ledger_names_the_sale_and_the_allotment_behind_a_movement(
    shop: Any, till: Any, grant: Any, deliver: Any, database: Database
) -> None:
    lot = shop.add_lot("L-1", 1000)
    allotment_id = grant(till, lot, 400)["allotment_id"]
    sale = till.a_sale((lot, 150))

    (event_id,) = deliver(StationSaleRecorded, **sale)

    with database.readers() as reader:
        sold = reader.scalars(
            select(StockMovement).where(StockMovement.to_bucket == "consumed")
        ).one()
    assert (sold.from_bucket, sold.reason, sold.quantity) == ("allotted", "consumed", 150)
    assert (str(sold.allotment_id), sold.sale_id) == (allotment_id, sale["sale_id"])
    assert (sold.cause, sold.actor) == (str(event_id), "stations")


def test_a_sale_of_several_lots_is_booked_as_a_whole(
    shop: Any, till: Any, grant: Any, quota: Any, deliver: Any, balanced: Any
) -> None:
    """A lot can be chosen offline.

    BrainWise-DEV/POSNext#335
    """
    one, other = shop.add_lot("L-1", 1000), shop.add_lot("L-2", 1000)
    grant(till, one, 400)
    grant(till, other, 100)

    deliver(StationSaleRecorded, **till.a_sale((one, 150), (other, 100), (one, 250)))

    assert quota(till, one) == (400, 400, 0, 0, 0)
    assert quota(till, other) == (100, 100, 0, 0, 0)
    assert balanced() == []


def test_sales_are_booked_in_whatever_order_they_come(
    shop: Any, till: Any, grant: Any, quota: Any, deliver: Any, recorded_events: Recorded
) -> None:
    lot = shop.add_lot("L-1", 1000)
    grant(till, lot, 210)
    sales = [till.a_sale((lot, quantity)) for quantity in range(1, 21)]
    Random(3).shuffle(sales)

    for begin in range(0, 20, 7):
        deliver(StationSaleRecorded, _many=sales[begin : begin + 7] + sales[:2])

    assert quota(till, lot) == (210, 210, 0, 0, 0)
    assert OVERDRAWN not in dict(recorded_events())


@pytest.mark.parametrize("stop", ["hold", "recall"])
def test_what_was_sold_before_a_stop_was_heard_of_is_booked(
    shop: Any, till: Any, grant: Any, quota: Any, deliver: Any, post: Any, stop: str
) -> None:
    lot = shop.add_lot("L-1", 1000)
    grant(till, lot, 400)
    post(f"/lots/{lot}/{stop}", {"reason": "霉"})

    deliver(StationSaleRecorded, **till.a_sale((lot, 150)))

    assert quota(till, lot) == (400, 150, 0, 250, 0)


def test_late_sales_of_a_replaced_machine_are_taken_from_what_it_held(
    shop: Any, till: Any, enrol: Any, grant: Any, quota: Any, deliver: Any
) -> None:
    lot = shop.add_lot("L-1", 1000)
    grant(till, lot, 400)
    newer = enrol(device_id=till.device_id)
    grant(newer, lot, 100)

    deliver(StationSaleRecorded, **till.a_sale((lot, 150)))
    deliver(StationSaleRecorded, **newer.a_sale((lot, 30)))

    assert quota(till, lot) == (400, 150, 0, 250, 0)
    assert quota(newer, lot) == (100, 30, 0, 70, 0)


# --- Beyond the grant ---------------------------------------------------------------------------


def test_a_sale_beyond_the_grant_is_kept_and_none_of_it_is_booked(
    shop: Any,
    till: Any,
    grant: Any,
    quota: Any,
    deliver: Any,
    look: Any,
    balanced: Any,
    recorded_events: Recorded,
) -> None:
    """Below zero is refused, not warned about; and what has happened is never dropped.

    odoo/odoo#79279; opensourcepos/opensourcepos#3077, #1879
    """
    one, other = shop.add_lot("L-1", 1000), shop.add_lot("L-2", 1000)
    grant(till, one, 100)
    grant(till, other, 100)
    sale = till.a_sale((one, 60), (other, 50), (one, 50))

    deliver(StationSaleRecorded, **sale)

    assert (quota(till, one), quota(till, other)) == ((100, 0, 0, 100, 0), (100, 0, 0, 100, 0))
    (overdraft,) = overdrafts(look, open=True)
    assert (overdraft["sale_id"], overdraft["reason"]) == (str(sale["sale_id"]), "beyond_grant")
    assert sum(line["quantity"] for line in overdraft["lines"]) == 160
    assert look(f"/devices/{till.device_id}")["open_overdrafts"] == 1
    said = dict(recorded_events())[OVERDRAWN]
    assert said["lines"] == [
        {"line_no": 3, "lot_id": str(one), "requested": 50, "remaining": 40},
    ]
    assert balanced() == []


def test_one_bad_sale_does_not_stop_the_rest(
    shop: Any, till: Any, grant: Any, quota: Any, deliver: Any, recorded_events: Recorded
) -> None:
    """One bad sale does not stop the rest of the queue.

    BrainWise-DEV/POSNext#50, #97; odoo/odoo#152259; frappe/erpnext#11000, #11230
    """
    lot = shop.add_lot("L-1", 1000)
    grant(till, lot, 100)
    sales = [till.a_sale((lot, 40)), till.a_sale((lot, 999)), till.a_sale((lot, 60))]

    deliver(StationSaleRecorded, _many=sales)

    assert quota(till, lot) == (100, 100, 0, 0, 0)
    assert [kind for kind, _ in recorded_events()].count(OVERDRAWN) == 1


@pytest.mark.parametrize("known", [True, False])
def test_a_sale_of_a_lot_that_was_never_granted_is_kept(
    shop: Any, till: Any, deliver: Any, look: Any, balanced: Any, known: bool
) -> None:
    lot = shop.add_lot("L-1", 1000) if known else new_id()

    deliver(StationSaleRecorded, **till.a_sale((lot, 40)))

    (overdraft,) = overdrafts(look)
    assert overdraft["reason"] == "no_allotment"
    assert balanced() == []


def test_the_grant_of_another_epoch_or_device_covers_nothing_by_itself(
    shop: Any, till: Any, enrol: Any, grant: Any, quota: Any, deliver: Any, look: Any
) -> None:
    lot = shop.add_lot("L-1", 1000)
    grant(till, lot, 400)
    newer, other = enrol(device_id=till.device_id), enrol()

    deliver(StationSaleRecorded, _many=[newer.a_sale((lot, 1)), other.a_sale((lot, 1))])

    assert quota(till, lot) == (400, 0, 0, 400, 0)
    assert {each["reason"] for each in overdrafts(look)} == {"no_allotment"}


def test_a_sale_of_what_was_counted_off_meanwhile_is_kept(
    shop: Any, till: Any, grant: Any, quota: Any, deliver: Any, operate: Any, look: Any
) -> None:
    lot = shop.add_lot("L-1", 1000)
    path = f"/allotments/{grant(till, lot, 400)['allotment_id']}/write-off"
    operate(path, {"counted": 0, "reason": "丢失"})

    deliver(StationSaleRecorded, **till.a_sale((lot, 40)))

    assert quota(till, lot) == (400, 0, 0, 0, 400)
    assert overdrafts(look)[0]["reason"] == "beyond_grant"


def test_a_sale_that_orders_disputes_is_kept_once(
    shop: Any, till: Any, grant: Any, quota: Any, deliver: Any, look: Any, recorded_events: Recorded
) -> None:
    lot = shop.add_lot("L-1", 1000)
    grant(till, lot, 400)
    sale = till.a_sale((lot, 40))
    dispute = {
        name: sale[name]
        for name in ("sale_id", "kind", "device_id", "epoch", "number", "site_id", "lines")
    } | {"reason": "other_content"}
    before = recorded_events()

    deliver(StationSaleDisputed, _many=[dispute, dispute])

    (overdraft,) = overdrafts(look)
    assert (overdraft["reason"], overdraft["status"]) == ("other_content", "open")
    assert quota(till, lot) == (400, 0, 0, 400, 0)
    assert recorded_events() == before  # orders knows already


@pytest.mark.parametrize("changes", [{"kind": "void"}, {"kind": "return"}, {"lines": []}])
def test_disputes_without_goods_to_cover_are_left_to_orders(
    shop: Any, till: Any, deliver: Any, look: Any, changes: dict[str, Any]
) -> None:
    sale = till.a_sale((shop.add_lot("L-1", 1000), 40))
    names = ("sale_id", "kind", "device_id", "epoch", "number", "site_id", "lines")
    dispute = {name: sale[name] for name in names} | {"reason": "unreadable"}

    deliver(StationSaleDisputed, **(dispute | changes))

    assert overdrafts(look) == []


def test_what_orders_says_of_an_overdraft_that_is_known_changes_nothing(
    shop: Any, till: Any, grant: Any, deliver: Any, look: Any
) -> None:
    lot = shop.add_lot("L-1", 1000)
    sale = till.a_sale((lot, 40))
    deliver(StationSaleRecorded, **sale)
    names = ("sale_id", "kind", "device_id", "epoch", "number", "site_id", "lines")

    deliver(StationSaleDisputed, **{name: sale[name] for name in names}, reason="something else")

    assert [each["reason"] for each in overdrafts(look)] == ["no_allotment"]


# --- Undone -----------------------------------------------------------------------------------


def test_a_void_puts_the_goods_back_and_grants_them_again(
    shop: Any,
    till: Any,
    grant: Any,
    quota: Any,
    deliver: Any,
    balanced: Any,
    recorded_events: Recorded,
) -> None:
    lot = shop.add_lot("L-1", 1000)
    grant(till, lot, 400)
    sale = till.a_sale((lot, 150))
    deliver(StationSaleRecorded, **sale)
    before = till.contact().json["revision"]

    void = till.undoing(sale)
    deliver(StationSaleRecorded, _many=[void, void])

    # `sold` is gross: what came back was granted anew, and the till hears of it.
    assert quota(till, lot) == (550, 150, 0, 400, 0)
    assert shop.level(lot, shop.station) == {"allotted": 400}
    assert till.contact().json["revision"] == before + 1
    said = [d for kind, d in recorded_events() if kind == "catalog.allotment_granted.v1"][-1]
    assert (said["quantity"], said["granted"]) == (150, 550)
    assert balanced() == []


def test_a_sale_and_its_void_may_come_in_one_batch(
    shop: Any, till: Any, grant: Any, quota: Any, deliver: Any, balanced: Any
) -> None:
    lot = shop.add_lot("L-1", 1000)
    grant(till, lot, 400)
    sale = till.a_sale((lot, 150))

    deliver(StationSaleRecorded, _many=[sale, till.undoing(sale)])

    assert quota(till, lot) == (550, 150, 0, 400, 0)
    assert balanced() == []


def test_goods_that_came_back_spoiled_are_lost(
    shop: Any, till: Any, grant: Any, quota: Any, deliver: Any, balanced: Any
) -> None:
    lot = shop.add_lot("L-1", 1000)
    grant(till, lot, 400)
    sale = till.a_sale((lot, 150))

    deliver(StationSaleRecorded, _many=[sale, till.undoing(sale, 60, restock=False)])

    assert quota(till, lot) == (400, 150, 0, 250, 0)
    assert shop.level(lot, shop.station) == {"allotted": 250}
    assert balanced() == []


@pytest.mark.parametrize("how", ["closed", "suspended", "recalled", "replaced", "revoked"])
def test_goods_that_came_back_are_not_granted_to_whom_must_not_sell(
    shop: Any,
    till: Any,
    enrol: Any,
    grant: Any,
    quota: Any,
    deliver: Any,
    operate: Any,
    post: Any,
    balanced: Any,
    how: str,
) -> None:
    lot = shop.add_lot("L-1", 1000)
    path = f"/allotments/{grant(till, lot, 150)['allotment_id']}"
    sale = till.a_sale((lot, 150))
    deliver(StationSaleRecorded, **sale)
    match how:
        case "closed":
            operate(f"{path}/close")
        case "suspended":
            operate(f"{path}/suspend", {"reason": "盘点"})
        case "recalled":
            post(f"/lots/{lot}/recall", {"reason": "霉"})
        case "replaced":
            enrol(device_id=till.device_id)
        case "revoked":
            operate(f"/devices/{till.device_id}/revoke", {})

    deliver(StationSaleRecorded, **till.undoing(sale))

    assert quota(till, lot) == (150, 150, 0, 0, 0)
    free = "held" if how == "recalled" else "available"
    assert shop.level(lot, shop.station) == {free: 150}
    assert balanced() == []


def test_goods_that_came_back_can_be_ordered_in_the_same_batch(
    shop: Any, till: Any, grant: Any, deliver: Any, operate: Any, said: Any
) -> None:
    lot = shop.add_lot("L-1", 150)
    path = f"/allotments/{grant(till, lot, 150)['allotment_id']}"
    sale = till.a_sale((lot, 150))
    deliver(StationSaleRecorded, **sale)
    operate(f"{path}/close")
    early, late = (shop.an_order(100, channel="station") for _ in range(2))

    deliver(
        OrderPlaced,
        _many=[
            early,
            till.undoing(sale) | {"_contract": StationSaleRecorded},
            late,
        ],
    )

    assert [said(order["order_id"])[0][0] for order in (early, late)] == [
        "catalog.stock_refused.v1",
        "catalog.stock_reserved.v1",
    ]


def test_a_void_that_is_quicker_than_its_sale_waits_for_it(
    shop: Any,
    till: Any,
    grant: Any,
    quota: Any,
    deliver: Any,
    parked: Callable[[], list[Parked]],
) -> None:
    lot = shop.add_lot("L-1", 1000)
    grant(till, lot, 400)
    sale = till.a_sale((lot, 150))

    deliver(StationSaleRecorded, **till.undoing(sale))

    (waiting,) = parked()
    assert "UnknownSale" in (waiting.error or "")
    assert waiting.state == "waiting"
    assert quota(till, lot) == (400, 0, 0, 400, 0)


def test_no_more_comes_back_than_was_sold(
    shop: Any,
    till: Any,
    grant: Any,
    quota: Any,
    deliver: Any,
    parked: Callable[[], list[Parked]],
    balanced: Any,
) -> None:
    lot = shop.add_lot("L-1", 1000)
    grant(till, lot, 400)
    sale = till.a_sale((lot, 150))
    deliver(StationSaleRecorded, _many=[sale, till.undoing(sale, 100)])

    deliver(StationSaleRecorded, _many=[till.undoing(sale, 50), till.undoing(sale, 1)])

    assert ["BeyondSale" in (each.error or "") for each in parked()] == [True]
    assert quota(till, lot) == (550, 150, 0, 400, 0)
    assert balanced() == []


def test_a_void_of_a_sale_that_was_never_booked_asks_for_less_cover(
    shop: Any, till: Any, deliver: Any, look: Any, balanced: Any, recorded_events: Recorded
) -> None:
    lot = shop.add_lot("L-1", 1000)
    sale = till.a_sale((lot, 150))
    deliver(StationSaleRecorded, **sale)

    deliver(StationSaleRecorded, **till.undoing(sale, 100))
    left = overdrafts(look)[0]["lines"][0]["quantity"]
    deliver(StationSaleRecorded, **till.undoing(sale, 50))

    assert left == 50
    assert [each["status"] for each in overdrafts(look)] == ["voided"]
    settled = [data for kind, data in recorded_events() if kind == SETTLED]
    assert settled == [{"sale_id": str(sale["sale_id"]), "resolution": "voided"}]
    assert shop.level(lot) == {"available": 1000}
    assert balanced() == []


# --- Batches ------------------------------------------------------------------------------------

Counting = Callable[[], AbstractContextManager[list[str]]]


def test_a_batch_of_500_sales_costs_no_more_statements_than_a_batch_of_5(
    shop: Any,
    till: Any,
    grant: Any,
    quota: Any,
    deliver: Any,
    count_statements: Counting,
    balanced: Any,
) -> None:
    one, other = shop.add_lot("L-1", 1_000_000), shop.add_lot("L-2", 1_000_000)
    grant(till, one, 10_000)
    grant(till, other, 10_000)

    counts = []
    for size in (5, 500):
        sales = [till.a_sale((one, 2), (other, 3)) for _ in range(size)]
        with count_statements() as statements:
            deliver(StationSaleRecorded, _many=sales)
        counts.append(len(statements))

    assert counts[0] == counts[1] <= 15
    assert quota(till, one) == (10_000, 1010, 0, 8990, 0)
    assert balanced() == []


def test_a_batch_of_500_sales_beyond_the_grant_costs_no_more_statements_than_a_batch_of_5(
    shop: Any, till: Any, deliver: Any, count_statements: Counting, look: Any
) -> None:
    lot = shop.add_lot("L-1", 1_000_000)

    counts = []
    for size in (5, 500):
        sales = [till.a_sale((lot, 2)) for _ in range(size)]
        with count_statements() as statements:
            deliver(StationSaleRecorded, _many=sales)
        counts.append(len(statements))

    assert counts[0] == counts[1] <= 15
    assert look(f"/devices/{till.device_id}")["open_overdrafts"] == 505


def test_undoing_500_sales_costs_no_more_statements_than_undoing_5(
    shop: Any,
    till: Any,
    grant: Any,
    quota: Any,
    deliver: Any,
    count_statements: Counting,
    balanced: Any,
) -> None:
    lot = shop.add_lot("L-1", 1_000_000)
    grant(till, lot, 10_000)

    counts = []
    for size in (5, 500):
        sales = [till.a_sale((lot, 2)) for _ in range(size)]
        deliver(StationSaleRecorded, _many=sales)
        voids = [till.undoing(sale) for sale in sales]
        with count_statements() as statements:
            deliver(StationSaleRecorded, _many=voids)
        counts.append(len(statements))

    assert counts[0] == counts[1] <= 18
    assert quota(till, lot) == (11_010, 1010, 0, 10_000, 0)
    assert balanced() == []


def test_what_a_station_sold_is_kept_as_it_came(
    shop: Any, till: Any, grant: Any, deliver: Any, database: Database
) -> None:
    lot = shop.add_lot("L-1", 1000)
    grant(till, lot, 400)
    sale = till.a_sale((lot, 150))

    deliver(StationSaleRecorded, _many=[sale, till.undoing(sale, 50)])

    with database.readers() as reader:
        kept = reader.scalars(select(StationSale).order_by(StationSale.number)).all()
    assert [(each.kind, each.status, each.number) for each in kept] == [
        ("sale", "booked", 1),
        ("return", "booked", 2),
    ]
    assert kept[1].of_sale_id == kept[0].sale_id == sale["sale_id"]
    assert [each.lines[0]["quantity"] for each in kept] == [150, 50]
