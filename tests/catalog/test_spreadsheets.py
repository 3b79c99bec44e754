"""Products, lots and stock as CSV."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select

from services.catalog.models import Lot, Product
from shared import clock
from shared.database import Database
from shared.events import SiteClosed

Recorded = Callable[[], list[tuple[str, dict[str, Any]]]]
URL = "/api/catalog/v1"
PRODUCTS = (
    "product,name_zh,name_en,category,perishable,shelf_life_days,storage,sku,grade,unit,"
    "pack_quantity,min_life_days\r\n"
)
LOTS = "lot,sku,producer,harvest_date,best_before,origin,status\r\n"
STOCK = "lot,location,on_hand\r\n"


@pytest.fixture
def send(client: FlaskClient, token: Callable[..., dict[str, str]]) -> Callable[..., Any]:
    """Import a file; returns the answer."""

    def post(kind: str, text: str | bytes, dry_run: bool = False, **headers: str) -> Any:
        scopes = token("catalog:write", "stock:write")
        return client.post(
            f"{URL}/imports/{kind}",
            query_string={"dry_run": "true"} if dry_run else {},
            data=text.encode() if isinstance(text, str) else text,
            headers=scopes | {"Content-Type": "text/csv; charset=utf-8"} | headers,
        )

    return post


@pytest.fixture
def fetch(client: FlaskClient, token: Callable[..., dict[str, str]]) -> Callable[[str], str]:
    """Export a file; returns its text."""

    def get(kind: str) -> str:
        answer = client.get(f"{URL}/exports/{kind}.csv", headers=token("stock:read"))
        assert answer.status_code == 200
        assert answer.mimetype == "text/csv"
        return answer.get_data(as_text=True)

    return get


def a_product_row(sku: str = "M-1", **changes: Any) -> str:
    cells = {
        "product": "FRESH",
        "name_zh": "松茸",
        "name_en": '"Matsutake, fresh"',
        "category": "fungi",
        "perishable": "yes",
        "shelf_life_days": "5",
        "storage": "0-4 C",
        "sku": sku,
        "grade": "1",
        "unit": "g",
        "pack_quantity": "500",
        "min_life_days": "2",
    }
    return ",".join(str(cell) for cell in (cells | changes).values()) + "\r\n"


def a_lot_row(code: str = "L-1", status: str = "released", **changes: Any) -> str:
    cells = {
        "lot": code,
        "sku": "MATSUTAKE",
        "producer": "P-001",
        "harvest_date": clock.today().isoformat(),
        "best_before": "",
        "origin": "540421103",
        "status": status,
    }
    return ",".join(str(cell) for cell in (cells | changes).values()) + "\r\n"


def mistakes(answer: Any) -> list[tuple[int, str | None]]:
    return [(error["row"], error["column"]) for error in answer.json["errors"]]


def counts(answer: Any) -> tuple[int, int, int]:
    return answer.json["created"], answer.json["changed"], answer.json["unchanged"]


# --- Products ----------------------------------------------------------------------------------


def test_products_are_listed_from_a_file_with_one_event_per_product(
    send: Any, client: FlaskClient, recorded_events: Recorded
) -> None:
    rows = a_product_row("M-1") + a_product_row("M-2", grade="2") + a_product_row("X", product="X")

    answer = send("products", PRODUCTS + rows)

    assert answer.status_code == 200
    assert counts(answer) == (3, 0, 0)
    products = client.get(f"{URL}/products").json["items"]
    assert [[v["sku"] for v in p["variants"]] for p in products] == [["M-1", "M-2"], ["X"]]
    assert [kind for kind, _ in recorded_events()] == ["catalog.product_listed.v1"] * 2


def test_importing_products_twice_changes_nothing(send: Any, recorded_events: Recorded) -> None:
    rows = PRODUCTS + a_product_row()
    send("products", rows)

    answer = send("products", rows)

    assert counts(answer) == (0, 0, 1)
    assert len(recorded_events()) == 1


def test_a_changed_row_changes_its_product_and_a_new_one_adds_a_variant(
    send: Any, client: FlaskClient, recorded_events: Recorded
) -> None:
    send("products", PRODUCTS + a_product_row())

    answer = send(
        "products", PRODUCTS + a_product_row(pack_quantity=250) + a_product_row("M-2", grade="2")
    )

    assert counts(answer) == (1, 1, 0)
    (product,) = client.get(f"{URL}/products").json["items"]
    assert [v["pack_quantity"] for v in product["variants"]] == [250, 500]
    assert len(recorded_events()) == 2


def test_exported_products_can_be_imported_and_change_nothing(
    send: Any, fetch: Callable[[str], str]
) -> None:
    send("products", PRODUCTS + a_product_row("M-1") + a_product_row("M-2", grade="2"))

    answer = send("products", fetch("products"))

    assert counts(answer) == (0, 0, 2)


def test_every_mistake_of_a_file_is_named_and_nothing_is_written(
    send: Any, database: Database
) -> None:
    rows = (
        a_product_row("good")
        + a_product_row("bad-unit", product="B", unit="kg", pack_quantity=0)
        + a_product_row("good", product="C")
        + a_product_row("other-name", name_zh="木耳")
        + a_product_row("", product="D")
    )

    answer = send("products", PRODUCTS + rows)

    assert answer.status_code == 422
    assert answer.json["type"].endswith("/import-refused")
    assert mistakes(answer) == [
        (3, "unit"),
        (3, "pack_quantity"),
        (6, "sku"),
        (5, "product"),
        (4, "sku"),
    ]
    with database.readers() as reader:
        assert reader.scalar(select(func.count()).select_from(Product)) == 0


def test_a_unit_does_not_change_while_lots_are_counted_in_it(shop: Any, send: Any) -> None:
    shop.add_lot("L-1", 5000)
    row = a_product_row("MATSUTAKE", product="MATSUTAKE", unit="piece")

    answer = send("products", PRODUCTS + row)

    assert mistakes(answer) == [(2, "unit")]


# --- Lots --------------------------------------------------------------------------------------


def test_lots_are_recorded_and_released_from_a_file(
    shop: Any, send: Any, database: Database, recorded_events: Recorded
) -> None:
    answer = send("lots", LOTS + a_lot_row("L-1") + a_lot_row("L-2", status="", origin=""))

    assert counts(answer) == (2, 0, 0)
    with database.readers() as reader:
        lots = {lot.code: lot for lot in reader.scalars(select(Lot))}
    assert (lots["L-1"].status, lots["L-2"].status) == ("released", "harvested")
    assert lots["L-1"].origin_site_id == shop.station
    assert lots["L-1"].best_before == lots["L-2"].best_before
    assert [k for k, _ in recorded_events()].count("catalog.lot_released.v1") == 1


def test_a_lot_moves_on_when_its_row_says_so(shop: Any, send: Any) -> None:
    send("lots", LOTS + a_lot_row(status="harvested"))

    onwards = send("lots", LOTS + a_lot_row(status="released"))
    again = send("lots", LOTS + a_lot_row(status="released"))
    back = send("lots", LOTS + a_lot_row(status="inspected"))

    assert (counts(onwards), counts(again)) == ((0, 1, 0), (0, 0, 1))
    assert mistakes(back) == [(2, "status")]


def test_an_import_neither_holds_nor_recalls_a_lot(shop: Any, send: Any) -> None:
    shop.add_lot("L-1", 0)

    answer = send("lots", LOTS + a_lot_row("L-9", status="held"))

    assert mistakes(answer) == [(2, "status")]


def test_codes_that_lead_nowhere_and_impossible_dates_are_named(shop: Any, send: Any) -> None:
    rows = (
        a_lot_row("L-1", sku="NONE", producer="NOBODY", origin="NOWHERE")
        + a_lot_row("L-2", harvest_date="2999-01-01")
        + a_lot_row("L-3", harvest_date="31.7.2025")
        + a_lot_row("L-4", harvest_date="2025-02-30")
        + a_lot_row("L-5")
        + a_lot_row("L-5")
    )

    answer = send("lots", LOTS + rows)

    assert mistakes(answer) == [
        (4, "harvest_date"),
        (5, "harvest_date"),
        (2, "sku"),
        (2, "producer"),
        (2, "origin"),
        (3, "harvest_date"),
        (7, "lot"),
    ]


def test_a_lot_that_is_recorded_otherwise_is_not_overwritten(shop: Any, send: Any) -> None:
    send("lots", LOTS + a_lot_row())

    answer = send("lots", LOTS + a_lot_row(origin="540400"))

    assert mistakes(answer) == [(2, "lot")]
    assert "origin_site_id" in answer.json["errors"][0]["message"]


def test_exported_lots_can_be_imported_and_change_nothing(
    shop: Any, send: Any, fetch: Callable[[str], str]
) -> None:
    send("lots", LOTS + a_lot_row("L-1") + a_lot_row("L-2", status="harvested", origin=""))

    answer = send("lots", fetch("lots"))

    assert counts(answer) == (0, 0, 2)


# --- Stock -------------------------------------------------------------------------------------


def test_new_stock_is_received_and_known_stock_adjusted_to_the_count(
    shop: Any, send: Any, recorded_events: Recorded
) -> None:
    known, new = shop.add_lot("L-1", 100), shop.add_lot("L-2", 0)
    before = len(recorded_events())

    answer = send("stock", STOCK + "L-1,540400,90\r\nL-2,540400,50\r\n")

    assert counts(answer) == (1, 1, 0)
    assert (shop.level(known), shop.level(new)) == ({"available": 90}, {"available": 50})
    assert [kind for kind, _ in recorded_events()[before:]] == [
        "catalog.stock_adjusted.v1",
        "catalog.stock_received.v1",
    ]


def test_a_count_includes_what_is_promised_and_cannot_go_below_it(shop: Any, send: Any) -> None:
    lot = shop.add_lot("L-1", 100)
    shop.place(40)

    fits = send("stock", STOCK + "L-1,540400,40\r\n")
    below = send("stock", STOCK + "L-1,540400,39\r\n")

    assert counts(fits) == (0, 1, 0)
    assert shop.level(lot) == {"reserved": 40}
    assert mistakes(below) == [(2, "on_hand")]


def test_mistakes_in_a_count_are_named(shop: Any, send: Any) -> None:
    shop.add_lot("L-1", 0)
    shop.deliver(SiteClosed, site_id=shop.county)
    rows = (
        "NONE,540400,1\nL-1,NOWHERE,1\nL-1,540421,1\n"
        "L-1,540400,-1\nL-1,540400\n,,\nL-1,540400,1,9\n"
    )

    answer = send("stock", STOCK + rows)

    assert mistakes(answer) == [
        (5, "on_hand"),
        (6, "on_hand"),
        (7, "lot"),
        (7, "location"),
        (7, "on_hand"),
        (8, None),
        (2, "lot"),
        (3, "location"),
        (4, "location"),
    ]


def test_exported_stock_can_be_imported_and_changes_nothing(
    shop: Any, send: Any, fetch: Callable[[str], str]
) -> None:
    shop.add_lot("L-1", 100)
    shop.add_lot("L-2", 30, at=shop.station)
    shop.place(40)

    answer = send("stock", fetch("stock"))

    assert counts(answer) == (0, 0, 2)


@pytest.mark.parametrize("kind", ["products", "lots", "stock"])
def test_a_dry_run_says_what_would_happen_and_writes_nothing(
    shop: Any,
    send: Any,
    fetch: Callable[[str], str],
    recorded_events: Recorded,
    kind: str,
) -> None:
    shop.add_lot("L-1", 100)
    before, events = fetch(kind), recorded_events()
    rows = {
        "products": PRODUCTS + a_product_row(),
        "lots": LOTS + a_lot_row("L-2"),
        "stock": STOCK + "L-1,540421103,7\r\n",
    }[kind]

    answer = send(kind, rows, dry_run=True)

    assert (answer.status_code, counts(answer), answer.json["dry_run"]) == (200, (1, 0, 0), True)
    assert (fetch(kind), recorded_events()) == (before, events)


def test_a_dry_run_of_a_wrong_file_lists_the_mistakes(shop: Any, send: Any) -> None:
    answer = send("stock", STOCK + "L-1,540400,7\r\n", dry_run=True)

    assert answer.status_code == 200
    assert mistakes(answer) == [(2, "lot")]


def test_the_statements_of_an_import_do_not_grow_with_its_rows(
    shop: Any, send: Any, count_statements: Callable[[], AbstractContextManager[list[str]]]
) -> None:
    def statements_of(prefix: str, rows: int) -> int:
        names = [f"{prefix}-{number}" for number in range(rows)]
        with count_statements() as statements:
            recorded = send("lots", LOTS + "".join(map(a_lot_row, names)))
            received = send("stock", STOCK + "".join(f"{name},540400,7\r\n" for name in names))
        assert (counts(recorded), counts(received)) == ((rows, 0, 0), (rows, 0, 0))
        return len(statements)

    assert statements_of("MANY", 500) == statements_of("FEW", 5)


@pytest.mark.parametrize(
    ("text", "row", "column"),
    [
        ("lot,location\r\n", 1, "on_hand"),
        ("lot,location,on_hand,colour\r\n", 1, "colour"),
        ("", 1, "location"),
        (STOCK + '"L-1,540400,7\r\n', 2, None),
        (STOCK + "L-\x001,540400,7\r\n", 2, "lot"),
        (STOCK + "L-1,540400,1e3\r\n", 2, "on_hand"),
        (STOCK + "L-1,540400,١٢\r\n", 2, "on_hand"),
        (STOCK + "=cmd,540400,1\r\n", 2, "lot"),
    ],
)
def test_what_is_no_such_csv_is_refused(
    shop: Any, send: Any, text: str, row: int, column: str | None
) -> None:
    answer = send("stock", text)

    assert answer.status_code == 422
    assert (row, column) in mistakes(answer)


def test_a_file_that_is_not_sent_as_utf_8_csv_is_refused(send: Any) -> None:
    other_type = send("stock", STOCK, **{"Content-Type": "application/octet-stream"})
    other_letters = send("stock", "lot,location,on_hand\r\n松茸".encode("gbk"))

    assert (other_type.status_code, other_letters.status_code) == (400, 400)


def test_a_file_with_a_byte_order_mark_is_read(shop: Any, send: Any) -> None:
    shop.add_lot("L-1", 0)

    answer = send("stock", "\ufeff" + STOCK + "L-1,540400,7\r\n")

    assert counts(answer) == (1, 0, 0)
