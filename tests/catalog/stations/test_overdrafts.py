"""Overdrafts, sales beyond the grant: an operator decides once what covers them."""

from collections.abc import Callable
from typing import Any

import pytest

from services.catalog.batch import CatalogBatch
from services.catalog.use_cases.stations import overdrafts
from services.catalog.use_cases.stock import levels
from shared.events import StationSaleRecorded
from shared.messaging.batch import transaction
from shared.runtime.database import Database
from shared.runtime.errors import FarmgateError
from shared.runtime.ids import new_id

Recorded = Callable[[], list[tuple[str, dict[str, Any]]]]
SETTLED = "catalog.overdraft_settled.v1"


def kind_of(answer: Any) -> str:
    """Return the last part of a problem's type."""
    return str(answer.json["type"]).rpartition("/")[2]


@pytest.fixture
def overdraw(deliver: Any, till: Any) -> Callable[..., dict[str, Any]]:
    """Let the till sell what it does not have: (lot, quantity) per line."""

    def sell(*lines: tuple[Any, int]) -> dict[str, Any]:
        sale: dict[str, Any] = till.a_sale(*lines)
        deliver(StationSaleRecorded, **sale)
        return sale

    return sell


@pytest.fixture
def settle(operate: Any) -> Callable[[dict[str, Any], str], Any]:
    """Decide what covers a sale."""

    def decide(sale: dict[str, Any], resolution: str) -> Any:
        return operate(
            f"/overdrafts/{sale['sale_id']}/settle", {"resolution": resolution, "reason": "清点"}
        )

    return decide


def test_it_is_covered_from_what_is_free_at_its_site_and_then_at_the_centre(
    shop: Any,
    till: Any,
    overdraw: Any,
    settle: Any,
    balanced: Any,
    database: Database,
    recorded_events: Recorded,
) -> None:
    lot = shop.add_lot("L-1", 1000)
    with transaction(database, CatalogBatch) as batch:
        levels.move_stock(batch, lot, shop.centre, shop.station, 200, "clerk")
    sale = overdraw((lot, 350))

    answer = settle(sale, "cover")

    assert (answer.status_code, answer.json["status"]) == (200, "covered")
    assert (answer.json["settled_by"], answer.json["settled_reason"]) == ("operator", "清点")
    assert (shop.level(lot, shop.station), shop.level(lot)) == ({}, {"available": 650})
    said = [data for kind, data in recorded_events() if kind == SETTLED]
    assert said == [{"sale_id": str(sale["sale_id"]), "resolution": "covered"}]
    assert balanced() == []


def test_what_a_device_holds_covers_nothing_for_it_may_have_sold_that_too(
    shop: Any, till: Any, enrol: Any, grant: Any, quota: Any, deliver: Any, settle: Any, look: Any
) -> None:
    lot = shop.add_lot("L-1", 150)
    grant(till, lot, 100)
    newer = enrol(device_id=till.device_id)
    grant(newer, lot, 50)
    sale = newer.a_sale((lot, 60))
    deliver(StationSaleRecorded, **sale)

    answer = settle(sale, "cover")
    deliver(StationSaleRecorded, _many=[till.a_sale((lot, 100)), newer.a_sale((lot, 50))])

    assert kind_of(answer) == "out-of-stock"
    assert (quota(till, lot), quota(newer, lot)) == ((100, 100, 0, 0, 0), (50, 50, 0, 0, 0))
    assert len(look("/overdrafts")["items"]) == 1


def test_what_a_count_finds_at_a_device_can_cover(
    shop: Any, till: Any, grant: Any, quota: Any, overdraw: Any, settle: Any, operate: Any
) -> None:
    lot = shop.add_lot("L-1", 100)
    allotment_id = grant(till, lot, 100)["allotment_id"]
    sale = overdraw((lot, 101))
    operate(f"/allotments/{allotment_id}/write-off", {"counted": 100, "reason": "清点"})

    short = settle(sale, "cover")
    smaller = overdraw((lot, 100))

    assert kind_of(short) == "out-of-stock"
    assert settle(smaller, "cover").json["status"] == "covered"
    assert quota(till, lot) == (100, 0, 100, 0, 0)


def test_it_is_covered_all_or_nothing(shop: Any, overdraw: Any, settle: Any, look: Any) -> None:
    lot, other = shop.add_lot("L-1", 100), shop.add_lot("L-2", 10)
    sale = overdraw((lot, 60), (other, 11))

    answer = settle(sale, "cover")

    assert (answer.status_code, kind_of(answer)) == (409, "out-of-stock")
    assert (shop.level(lot), shop.level(other)) == ({"available": 100}, {"available": 10})
    assert look("/overdrafts", open=True)["items"] != []


def test_a_lot_that_nobody_knows_covers_nothing(shop: Any, overdraw: Any, settle: Any) -> None:
    assert kind_of(settle(overdraw((new_id(), 1)), "cover")) == "out-of-stock"


def test_goods_that_orders_have_reserved_and_goods_that_are_held_cover_nothing(
    shop: Any, overdraw: Any, settle: Any, post: Any
) -> None:
    reserved, held = shop.add_lot("L-1", 100, keeps_days=3), shop.add_lot("L-2", 100)
    shop.place(100)
    post(f"/lots/{held}/hold", {"reason": "霉"})

    for lot in (reserved, held):
        assert kind_of(settle(overdraw((lot, 1)), "cover")) == "out-of-stock"


def test_a_loss_moves_no_stock(
    shop: Any, till: Any, grant: Any, quota: Any, overdraw: Any, settle: Any, balanced: Any
) -> None:
    lot = shop.add_lot("L-1", 1000)
    grant(till, lot, 100)

    answer = settle(overdraw((lot, 350)), "lose")

    assert answer.json["status"] == "lost"
    assert quota(till, lot) == (100, 0, 0, 100, 0)
    assert shop.level(lot) == {"available": 900}
    assert balanced() == []


def test_it_is_decided_once(shop: Any, overdraw: Any, settle: Any) -> None:
    sale = overdraw((shop.add_lot("L-1", 1000), 350))
    settle(sale, "lose")

    again = settle(sale, "cover")

    assert (again.status_code, kind_of(again)) == (409, "overdraft-decided")


def test_two_operators_at_once_decide_it_once(
    shop: Any, overdraw: Any, database: Database, in_threads: Any, balanced: Any
) -> None:
    lot = shop.add_lot("L-1", 1000)
    sale = overdraw((lot, 350))

    def decide() -> str:
        try:
            with transaction(database, CatalogBatch) as batch:
                overdrafts.settle(batch, sale["sale_id"], "cover", "清点", "operator")
            return "decided"
        except FarmgateError as error:
            return type(error).__name__

    answers = in_threads([decide] * 4)

    assert sorted(answers) == ["OverdraftDecided"] * 3 + ["decided"]
    assert shop.level(lot) == {"available": 650}
    assert balanced() == []


def test_what_is_not_uncovered_cannot_be_settled(
    shop: Any, till: Any, grant: Any, overdraw: Any, settle: Any
) -> None:
    lot = shop.add_lot("L-1", 1000)
    grant(till, lot, 100)

    for sale in (overdraw((lot, 50)), {"sale_id": new_id()}):
        answer = settle(sale, "cover")
        assert (answer.status_code, kind_of(answer)) == (404, "overdraft-not-found")


def test_what_came_back_before_is_not_covered_and_what_comes_back_after_is_restocked(
    shop: Any, till: Any, overdraw: Any, settle: Any, deliver: Any, balanced: Any
) -> None:
    lot = shop.add_lot("L-1", 1000)
    sale = overdraw((lot, 350))
    deliver(StationSaleRecorded, **till.undoing(sale, 50))

    settle(sale, "cover")
    covered = shop.level(lot)
    deliver(StationSaleRecorded, **till.undoing(sale, 100))

    assert covered == {"available": 700}
    assert shop.level(lot, shop.station) == {"available": 100}
    assert balanced() == []


def test_what_comes_back_of_a_lost_sale_was_never_gone(
    shop: Any, till: Any, overdraw: Any, settle: Any, deliver: Any, look: Any, balanced: Any
) -> None:
    lot = shop.add_lot("L-1", 1000)
    sale = overdraw((lot, 350))
    settle(sale, "lose")

    deliver(StationSaleRecorded, **till.undoing(sale))

    assert shop.level(lot) == {"available": 1000}
    assert look("/overdrafts")["items"][0]["status"] == "lost"
    assert balanced() == []


def test_overdrafts_are_listed_by_device_and_by_whether_they_are_open(
    shop: Any, till: Any, enrol: Any, deliver: Any, overdraw: Any, settle: Any, look: Any
) -> None:
    lot, other = shop.add_lot("L-1", 1000), enrol()
    settle(overdraw((lot, 1)), "lose")
    overdraw((lot, 2))
    deliver(StationSaleRecorded, **other.a_sale((lot, 3)))

    def numbers(**query: Any) -> list[int]:
        found = look("/overdrafts", **query)["items"]
        return [each["lines"][0]["quantity"] for each in found]

    assert numbers() == [3, 2, 1]
    assert numbers(open="true") == [3, 2]
    assert numbers(open="false") == [1]
    assert numbers(device_id=till.device_id) == [2, 1]
