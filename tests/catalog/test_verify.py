"""Catalog compares its rows with each other, and lists facts for `farmgate verify`."""

from typing import Any

import pytest
from sqlalchemy import text

from shared.events import OrderExpired, StationSaleRecorded
from shared.runtime.database import Database
from shared.runtime.ids import new_id


@pytest.fixture
def differences(get: Any) -> Any:
    """Ask catalog to compare its rows; returns (check, expected, found) of each difference."""

    def ask() -> list[tuple[str, str, str]]:
        answer = get("/verify")
        assert answer.status_code == 200, answer.text
        return [(d["check"], d["expected"], d["found"]) for d in answer.json["differences"]]

    return ask


@pytest.fixture
def facts(get: Any) -> Any:
    """Ask for all facts of a kind, by id."""

    def ask(kind: str, **query: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        cursor = None
        while True:
            place = {} if cursor is None else {"cursor": cursor}
            answer = get("/verify/facts", kind=kind, **query, **place).json
            found |= {item["id"]: item["value"] for item in answer["items"]}
            cursor = answer["next"]
            if cursor is None:
                return found

    return ask


def spoil(database: Database, statement: str) -> None:
    """Change a row behind the service's back."""
    with database.sessions.begin() as session:
        session.execute(text(statement))


@pytest.fixture
def busy(shop: Any, till: Any, grant: Any, deliver: Any, operate: Any) -> Any:
    """A day of a station: sold, voided, returned, written off, covered, lost. Returns the lot."""
    lot = shop.add_lot("L-1", 10_000)
    shop.confirm(shop.place(700))
    allotment_id = grant(till, lot, 1000)["allotment_id"]
    sales = [till.a_sale((lot, 100)), till.a_sale((lot, 200))]
    beyond = [till.a_sale((lot, quantity)) for quantity in (5000, 5001)]
    deliver(
        StationSaleRecorded,
        _many=[*sales, *beyond, till.undoing(sales[0]), till.undoing(sales[1], 50, restock=False)],
    )
    till.give_back((new_id(), allotment_id, 30))
    for sale, resolution in zip(beyond, ("cover", "lose"), strict=True):
        operate(
            f"/overdrafts/{sale['sale_id']}/settle", {"resolution": resolution, "reason": "清点"}
        )
    grant(till, lot, 500)
    operate(f"/allotments/{allotment_id}/write-off", {"counted": 20, "reason": "清点"})
    grant(till, lot, 60)
    return lot


# --- Catalog's own rows -------------------------------------------------------------------------


def test_after_a_busy_day_everything_agrees(busy: Any, differences: Any, get: Any) -> None:
    assert differences() == []
    report = get("/verify").json
    assert report["service"] == "catalog"
    assert report["checked"]["station_sales"] == 6
    assert report["checked"]["allotments"] == 1
    assert report["checked"]["overdrafts"] == 2


def test_an_open_overdraft_is_a_difference(
    shop: Any, till: Any, deliver: Any, differences: Any, get: Any
) -> None:
    sale = till.a_sale((shop.add_lot("L-1", 100), 5))
    deliver(StationSaleRecorded, **sale)

    assert differences() == [("overdraft open", "settled", "open: no_allotment")]
    (found,) = get("/verify").json["differences"]
    assert found["ids"] == {"sale_id": str(sale["sale_id"])}
    assert till.device_code in found["detail"]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (
            "UPDATE stock_levels SET allotted = allotted + 7 WHERE allotted > 0",
            {
                ("balance_movements", "allotted 60", "allotted 67"),
                ("balance_allotments", "allotted 60", "allotted 67"),
            },
        ),
        (
            "UPDATE allotments SET sold = sold + 7, remaining = remaining - 7",
            {
                ("balance_allotments", "allotted 53", "allotted 60"),
                ("balance_movements", "sold 300", "sold 307"),
            },
        ),
        (
            "UPDATE allotments SET granted = granted + 7, written_off = written_off + 7",
            {
                ("balance_movements", "granted 1660", "granted 1667"),
                ("balance_movements", "written_off 1250", "written_off 1257"),
            },
        ),
        (
            "UPDATE reservation_lines SET quantity = quantity + 7",
            {("balance_reservations", "committed 707", "committed 700")},
        ),
        (
            "UPDATE lots SET status = 'held'",
            {("stopped_lot", "suspended", "granted")},
        ),
    ],
)
def test_what_was_changed_behind_the_ledgers_back_is_named(
    busy: Any, database: Database, differences: Any, statement: str, expected: set[Any]
) -> None:
    """A command names every difference between ledger and balances.

    magento/inventory#3165, #2727
    """
    spoil(database, statement)

    assert set(differences()) == expected


def test_a_sale_that_moved_something_else_than_it_says_is_named(
    busy: Any, database: Database, differences: Any
) -> None:
    spoil(database, "UPDATE overdrafts SET status = 'lost'")
    found = differences()
    spoil(database, "UPDATE overdrafts SET status = 'covered'")
    found += differences()

    assert found == [
        ("station_sale_movements", "nothing", f"5000 of {busy}"),
        ("station_sale_movements", f"5001 of {busy}", "nothing"),
    ]


def test_a_sale_whose_booking_is_gone_is_named(
    busy: Any, database: Database, differences: Any
) -> None:
    spoil(database, "DELETE FROM station_sales WHERE number = 2")

    assert differences() == [("station_sale_movements", "nothing", f"200 of {busy}")]


def test_only_so_many_differences_are_listed(shop: Any, till: Any, deliver: Any, get: Any) -> None:
    lot = shop.add_lot("L-1", 100)
    deliver(StationSaleRecorded, _many=[till.a_sale((lot, 5)) for _ in range(203)])

    report = get("/verify").json

    assert len(report["differences"]) == 200
    assert report["notes"] == ["3 more of overdraft open are not listed."]


# --- Facts for the others --------------------------------------------------------------------


def test_facts_of_reservations_tell_what_is_set_aside(shop: Any, facts: Any) -> None:
    one, other = shop.add_lot("L-1", 100, keeps_days=3), shop.add_lot("L-2", 100)
    held, refused, committed, expired = (shop.place(n) for n in (150, 999, 20, 10))
    shop.confirm(committed)
    shop.end(OrderExpired, expired)

    assert facts("reservations") == {
        str(held): {"status": "held", "lots": {str(one): 100, str(other): 50}},
        str(refused): {"status": "refused", "lots": {}},
        str(committed): {"status": "committed", "lots": {str(other): 20}},
        str(expired): {"status": "released", "lots": {}},
    }
    assert list(facts("reservations", id=str(held))) == [str(held)]


def test_facts_of_station_sales_tell_what_they_moved(
    shop: Any, till: Any, grant: Any, deliver: Any, operate: Any, facts: Any
) -> None:
    lot = shop.add_lot("L-1", 1000)
    grant(till, lot, 100)
    sale, open_one, covered = (till.a_sale((lot, n)) for n in (60, 41, 42))
    void = till.undoing(sale, 10)
    less = till.undoing(covered, 2)
    deliver(StationSaleRecorded, _many=[sale, open_one, covered, void, less])
    operate(f"/overdrafts/{covered['sale_id']}/settle", {"resolution": "cover", "reason": "清点"})

    found = facts("station_sales", limit=2)

    def fact(kind: str, status: str, quantity: int) -> dict[str, Any]:
        lots = {str(lot): quantity} if quantity else {}
        return {"kind": kind, "status": status, "lots": lots}

    assert found == {
        str(sale["sale_id"]): fact("sale", "booked", 60),
        str(open_one["sale_id"]): fact("sale", "overdrawn", 0),
        str(covered["sale_id"]): fact("sale", "covered", 40),
        str(void["sale_id"]): fact("return", "booked", 10),
        str(less["sale_id"]): fact("return", "reduced", 0),
    }


def test_verify_is_for_operators(shop: Any, look: Any, client: Any, token: Any) -> None:
    for path in ("/verify", "/verify/facts?kind=reservations"):
        answer = client.get(f"/api/catalog/v1{path}", headers=token("stock:read"))

        assert answer.status_code == 403
