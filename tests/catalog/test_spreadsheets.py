"""Products, lots and stock as CSV."""

import csv
import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select

from services.catalog.models import Lot, Product
from shared import clock
from shared.database import Database
from shared.events import ShipmentDispatched, SiteClosed
from shared.ids import new_id

Recorded = Callable[[], list[tuple[str, dict[str, Any]]]]
URL = "/api/catalog/v1"
PRODUCTS = (
    "product,name_zh,name_en,category,perishable,shelf_life_days,storage,sku,grade,unit,"
    "pack_quantity,min_life_days\r\n"
)
LOTS = "lot,sku,producer,harvest_date,best_before,origin,status\r\n"
STOCK = "lot,location,on_hand\r\n"
COUNT = "lot,location,on_hand,book\r\n"


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
    return [(error["line"], error["column"]) for error in answer.json["errors"]]


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
        (4, "sku"),
        (5, "product"),
        (6, "sku"),
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
        + a_lot_row("L-3", harvest_date="31.7.25")
        + a_lot_row("L-4", harvest_date="2025-02-30")
        + a_lot_row("L-5")
        + a_lot_row("L-5")
    )

    answer = send("lots", LOTS + rows)

    assert mistakes(answer) == [
        (2, "sku"),
        (2, "producer"),
        (2, "origin"),
        (3, "harvest_date"),
        (4, "harvest_date"),
        (5, "harvest_date"),
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

    answer = send("stock", COUNT + "L-1,540400,90,100\r\nL-2,540400,50,\r\n")

    assert counts(answer) == (1, 1, 0)
    assert (shop.level(known), shop.level(new)) == ({"available": 90}, {"available": 50})
    assert [kind for kind, _ in recorded_events()[before:]] == [
        "catalog.stock_adjusted.v1",
        "catalog.stock_received.v1",
    ]


def test_a_count_includes_what_is_promised_and_cannot_go_below_it(shop: Any, send: Any) -> None:
    lot = shop.add_lot("L-1", 100)
    shop.place(40)

    fits = send("stock", COUNT + "L-1,540400,40,100\r\n")
    below = send("stock", COUNT + "L-1,540400,39,40\r\n")

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
        (2, "lot"),
        (3, "location"),
        (4, "location"),
        (5, "on_hand"),
        (6, "on_hand"),
        (8, None),
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
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    shop.add_lot("L-1", 100)
    clock_stands_still = clock.now()
    monkeypatch.setattr(clock, "now", lambda: clock_stands_still)
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


def test_a_file_that_is_not_sent_as_csv_or_is_a_workbook_is_refused(send: Any) -> None:
    other_type = send("stock", STOCK, **{"Content-Type": "application/octet-stream"})
    workbook = send("stock", b"PK\x03\x04" + b"\x00" * 100)

    assert (other_type.status_code, workbook.status_code) == (400, 400)
    assert "CSV UTF-8" in workbook.json["detail"]


def test_a_file_with_a_byte_order_mark_is_read(shop: Any, send: Any) -> None:
    shop.add_lot("L-1", 0)

    answer = send("stock", "\ufeff" + STOCK + "L-1,540400,7\r\n")

    assert counts(answer) == (1, 0, 0)


# --- What a file leaves out ----------------------------------------------------------------------

BARE = "product,name_zh,category,perishable,sku,grade,unit,pack_quantity"


def test_a_column_that_a_file_does_not_have_leaves_its_values(
    shop: Any, send: Any, fetch: Callable[[str], str]
) -> None:
    send(
        "products",
        "product,name_zh,name_bo,name_en,category,perishable,shelf_life_days,storage,sku,grade,unit,"
        "pack_quantity,min_life_days,gtin\r\n"
        "FRESH,松茸,ཤ་མོ,Matsutake,fungi,yes,5,0-4 C,M-1,1,g,500,2,6901234567892\r\n",
    )
    before = fetch("products")

    answer = send("products", BARE + "\r\nFRESH,松茸,fungi,yes,M-1,1,g,500\r\n")

    assert counts(answer) == (0, 0, 1)
    assert fetch("products") == before


def test_an_empty_cell_clears_its_value(shop: Any, send: Any, client: FlaskClient) -> None:
    send("products", PRODUCTS + a_product_row())

    answer = send(
        "products",
        BARE + ",name_en,shelf_life_days,storage,min_life_days\r\n"
        "FRESH,松茸,fungi,yes,M-1,1,g,500,,,,\r\n",
    )

    product = client.get(f"{URL}/products", query_string={"code": "FRESH"}).json["items"][0]
    assert counts(answer) == (0, 1, 0)
    assert product["names"] == {"zh": "松茸"}
    assert (product["shelf_life_days"], product["storage"]) == (None, None)
    assert product["variants"][0]["min_life_days"] == 0
    assert [(each["column"], each["before"], each["after"]) for each in answer.json["changes"]] == [
        ("shelf_life_days", 5, None),
        ("storage", "0-4 C", None),
        ("names", {"zh": "松茸", "en": "Matsutake, fresh"}, {"zh": "松茸"}),
        ("min_life_days", 2, 0),
    ]


def test_a_lot_is_compared_in_the_columns_that_a_file_has(shop: Any, send: Any) -> None:
    today = clock.today().isoformat()
    send("lots", LOTS + a_lot_row("L-1", best_before=clock.today().isoformat()))

    answer = send("lots", f"lot,sku,producer,harvest_date\r\nL-1,MATSUTAKE,P-001,{today}\r\n")

    assert counts(answer) == (0, 0, 1)


def test_a_lot_stays_as_recorded_when_the_shelf_life_of_its_product_changes(
    shop: Any, send: Any, fetch: Callable[[str], str], post: Any
) -> None:
    send("lots", LOTS + a_lot_row("L-1"))
    send("products", fetch("products").replace(",5,0-4 C,", ",7,0-4 C,"))

    assert counts(send("lots", LOTS + a_lot_row("L-1"))) == (0, 0, 1)
    assert counts(send("lots", fetch("lots"))) == (0, 0, 1)


def test_a_lot_of_perishable_goods_needs_a_date_or_a_shelf_life(
    shop: Any, send: Any, post: Any
) -> None:
    send("products", PRODUCTS + a_product_row(shelf_life_days=""))
    lots = a_lot_row("L-1", sku="M-1") + a_lot_row(
        "L-2", sku="M-1", best_before=clock.today().isoformat()
    )

    answer = send("lots", LOTS + lots)

    assert mistakes(answer) == [(2, "best_before")]
    assert "shelf_life_days" in answer.json["errors"][0]["message"]


def test_a_lot_of_perishable_goods_without_a_date_is_refused_in_json_too(
    shop: Any, post: Any, client: FlaskClient
) -> None:
    product = {
        "code": "FRESH",
        "names": {"zh": "松茸"},
        "category": "fungi",
        "perishable": True,
        "variants": [{"sku": "F-1", "grade": "1", "unit": "g", "pack_quantity": 500}],
    }
    variant = post("/products", product).json["variants"][0]["variant_id"]
    lot = {
        "code": "L-1",
        "variant_id": variant,
        "producer_id": str(shop.producer),
        "harvest_date": clock.today().isoformat(),
    }

    refused = post("/lots", lot)
    taken = post("/lots", lot | {"best_before": clock.today().isoformat()})

    assert (refused.status_code, refused.json["type"]) == (422, "/problems/no-best-before")
    assert taken.status_code == 201


def test_goods_become_perishable_only_if_their_lots_have_dates(
    shop: Any, send: Any, fetch: Callable[[str], str]
) -> None:
    dry = shop.add_variant("DRY", shelf_life_days=None)
    shop.add_lot("L-1", 100, variant=dry, keeps_days=None)

    answer = send("products", fetch("products").replace("fungi,no", "fungi,yes"))

    assert [error["column"] for error in answer.json["errors"]] == ["perishable"]
    assert "L-1" in answer.json["errors"][0]["message"]


# --- One definition of a field -------------------------------------------------------------------


@pytest.mark.parametrize(
    "gtin", ["6901234567893", "690123456789212345", "ABCDEFGH", "12345678", "690123456789", "96385"]
)
def test_a_wrong_article_number_is_refused_in_csv_and_in_json(
    send: Any, post: Any, gtin: str
) -> None:
    header = PRODUCTS.replace("\r\n", ",gtin\r\n")
    row = a_product_row().replace("\r\n", f",{gtin}\r\n")
    variant = {"sku": "M-1", "grade": "1", "unit": "g", "pack_quantity": 500, "gtin": gtin}
    product = {"code": "P", "names": {"zh": "松茸"}, "category": "fungi", "perishable": False}

    assert mistakes(send("products", header + row)) == [(2, "gtin")]
    assert post("/products", product | {"variants": [variant]}).status_code == 422


@pytest.mark.parametrize("gtin", ["96385074", "036000291452", "6901234567892", "16901234567899"])
def test_a_right_article_number_is_taken_by_csv_and_by_json(
    send: Any, post: Any, gtin: str
) -> None:
    header = PRODUCTS.replace("\r\n", ",gtin\r\n")
    variant = {"sku": "M-2", "grade": "1", "unit": "g", "pack_quantity": 500, "gtin": gtin}
    product = {"code": "P", "names": {"zh": "松茸"}, "category": "fungi", "perishable": False}

    assert counts(send("products", header + a_product_row().strip() + f",{gtin}\r\n")) == (1, 0, 0)
    assert post("/products", product | {"variants": [variant]}).status_code == 201


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("category", "x" * 61),
        ("storage", "x" * 61),
        ("grade", "x" * 61),
        ("name_zh", "茸" * 201),
        ("name_zh", "\u3000\u200b"),
        ("product", "x" * 41),
        ("sku", "x" * 41),
        ("sku", "松茸"),
        ("unit", "kg"),
        ("pack_quantity", "9223372036854775808"),
        ("shelf_life_days", "36501"),
        ("perishable", "maybe"),
    ],
)
def test_a_cell_is_refused_where_json_would_be(send: Any, column: str, text: str) -> None:
    answer = send("products", PRODUCTS + a_product_row(**{column: text}))

    assert answer.status_code == 422
    assert mistakes(answer) == [(2, column)]


def test_names_of_formulas_leave_guarded_and_come_back_as_they_were(
    send: Any, fetch: Callable[[str], str]
) -> None:
    send("products", PRODUCTS + a_product_row(name_en='"=HYPERLINK(""http://x"")"', storage="-4 C"))

    text = fetch("products")

    assert text.startswith("\ufeff")
    assert "'=HYPERLINK" in text and ",'-4 C," in text
    assert counts(send("products", text)) == (0, 0, 1)


# --- Counts and what moved since -----------------------------------------------------------------


def _dispatched(shop: Any, quantity: int) -> None:
    order = shop.place(quantity)
    shop.confirm(order)
    shop.dispatch(order, new_id())


def test_what_was_dispatched_since_an_export_does_not_come_back(
    shop: Any, send: Any, fetch: Callable[[str], str]
) -> None:
    lot = shop.add_lot("L-1", 5000)
    exported = fetch("stock")
    _dispatched(shop, 1000)

    answer = send("stock", exported)

    assert counts(answer) == (0, 0, 1)
    assert shop.level(lot) == {"available": 4000}


def test_a_count_against_books_that_moved_is_refused_with_the_difference(
    shop: Any, send: Any, fetch: Callable[[str], str]
) -> None:
    lot = shop.add_lot("L-1", 5000)
    exported = fetch("stock")
    _dispatched(shop, 1000)

    tried = send("stock", exported.replace(",5000,5000,", ",4900,5000,"), dry_run=True)

    assert mistakes(tried) == [(2, "on_hand")]
    assert "5000 lay there" in tried.json["errors"][0]["message"]
    assert "4000 do now" in tried.json["errors"][0]["message"]
    assert shop.level(lot) == {"available": 4000}


def test_books_that_moved_and_moved_back_refuse_a_count_too(
    shop: Any, send: Any, fetch: Callable[[str], str], post: Any
) -> None:
    lot = shop.add_lot("L-1", 5000)
    exported = fetch("stock")
    _dispatched(shop, 1000)
    receipt = {"lot_id": str(lot), "location_id": str(shop.centre), "quantity": 1000}
    assert post("/stock/receipts", receipt).status_code == 201

    answer = send("stock", exported.replace(",5000,5000,", ",4900,5000,"))

    assert mistakes(answer) == [(2, "on_hand")]


def test_what_orders_took_after_the_moment_of_a_count_is_accounted_for(
    shop: Any, send: Any
) -> None:
    lot = shop.add_lot("L-1", 5000)
    counted = f"lot,location,on_hand,counted_at\r\nL-1,540400,4900,{clock.rfc3339(clock.now())}\r\n"
    _dispatched(shop, 1000)

    tried = send("stock", counted, dry_run=True)
    answer = send("stock", counted)
    again = send("stock", counted)

    assert [(each["name"], each["before"], each["after"]) for each in tried.json["changes"]] == [
        ("L-1 at 540400", 4000, 3900)
    ]
    assert (counts(answer), counts(again)) == ((0, 1, 0), (0, 0, 1))
    assert shop.level(lot) == {"available": 3900}


def test_goods_that_went_before_a_count_and_were_booked_after_it_are_not_taken_off_twice(
    shop: Any, send: Any
) -> None:
    lot = shop.add_lot("L-1", 5000)
    went = new_id()
    order = shop.place(1000)
    shop.confirm(order)
    counted = f"lot,location,on_hand,counted_at\r\nL-1,540400,4000,{clock.rfc3339(clock.now())}\r\n"
    shop.deliver(
        ShipmentDispatched,
        _event_id=went,
        shipment_id=new_id(),
        shipment_ref="SHP-23456789",
        order_id=order,
        lines=shop.shipped(order),
    )

    assert counts(send("stock", counted)) == (0, 0, 1)
    assert shop.level(lot) == {"available": 4000}


def test_a_count_is_refused_when_the_books_were_corrected_since(
    shop: Any, send: Any, post: Any
) -> None:
    lot = shop.add_lot("L-1", 5000)
    counted = f"lot,location,on_hand,counted_at\r\nL-1,540400,4900,{clock.rfc3339(clock.now())}\r\n"
    change = {"lot_id": str(lot), "location_id": str(shop.centre), "difference": -50}
    assert post("/stock/adjustments", change | {"reason": "spoiled"}).status_code == 201

    answer = send("stock", counted)

    assert mistakes(answer) == [(2, "on_hand")]
    assert "spoiled" in answer.json["errors"][0]["message"]


def test_a_count_without_what_it_was_taken_against_changes_nothing(shop: Any, send: Any) -> None:
    lot = shop.add_lot("L-1", 5000)

    same = send("stock", STOCK + "L-1,540400,5000\r\n")
    other = send("stock", STOCK + "L-1,540400,4900\r\n")

    assert counts(same) == (0, 0, 1)
    assert mistakes(other) == [(2, "on_hand")]
    assert "counted_at" in other.json["errors"][0]["message"]
    assert shop.level(lot) == {"available": 5000}


def test_a_count_of_tomorrow_is_refused(shop: Any, send: Any) -> None:
    shop.add_lot("L-1", 5000)
    tomorrow = clock.rfc3339(clock.now() + timedelta(days=1))

    answer = send("stock", f"lot,location,on_hand,counted_at\r\nL-1,540400,4900,{tomorrow}\r\n")

    assert mistakes(answer) == [(2, "counted_at")]


def test_an_edited_export_changes_the_books_once(
    shop: Any, send: Any, fetch: Callable[[str], str]
) -> None:
    lot = shop.add_lot("L-1", 5000)
    edited = fetch("stock").replace(",5000,5000,", ",4900,5000,")

    assert counts(send("stock", edited)) == (0, 1, 0)
    assert counts(send("stock", edited)) == (0, 0, 1)
    assert shop.level(lot) == {"available": 4900}


def test_an_adjustment_names_the_books_that_it_was_found_against(shop: Any, post: Any) -> None:
    lot = shop.add_lot("L-1", 5000)
    change = {"lot_id": str(lot), "location_id": str(shop.centre), "difference": -100}

    late = post("/stock/adjustments", change | {"reason": "counted", "book": 4000})
    right = post("/stock/adjustments", change | {"reason": "counted", "book": 5000})

    assert (late.status_code, late.json["type"]) == (409, "/problems/outdated-count")
    assert (right.status_code, right.json["on_hand"]) == (201, 4900)


# --- Prices --------------------------------------------------------------------------------------

PRICES = "sku,channel,price_fen,price_unit,valid_from,valid_to\r\n"


def test_prices_are_set_from_a_file_and_the_second_time_change_nothing(
    shop: Any, send: Any, recorded_events: Recorded
) -> None:
    rows = (
        "MATSUTAKE,online,6800,500,,\r\n"
        "MATSUTAKE,online,5000,500,2199/1/1,\r\n"
        "MATSUTAKE,station,6500,500,2026-01-01T00:00:00Z,2199-12-31T00:00:00Z\r\n"
    )

    first, again = send("prices", PRICES + rows), send("prices", PRICES + rows)

    assert (counts(first), counts(again)) == ((3, 0, 0), (0, 0, 3))
    set_ = [data for kind, data in recorded_events() if kind == "catalog.price_changed.v1"]
    assert [each["price_fen"] for each in set_] == [6800, 5000, 6500]
    assert set_[1]["valid_from"] == "2198-12-31T16:00:00+00:00"


def test_a_new_price_of_a_file_follows_the_present_one(shop: Any, send: Any, get: Any) -> None:
    send("prices", PRICES + "MATSUTAKE,online,6800,500,,\r\n")

    answer = send("prices", PRICES + "MATSUTAKE,online,7000,500,,\r\n")

    shown = get(f"/variants/{shop.variant}/prices").json["items"]
    assert counts(answer) == (0, 1, 0)
    assert [price["price_fen"] for price in shown] == [6800, 7000]
    assert ("price_fen", 6800, 7000) in [
        (each["column"], each["before"], each["after"]) for each in answer.json["changes"]
    ]


def test_a_file_without_the_end_of_a_price_leaves_it(
    shop: Any, send: Any, fetch: Callable[[str], str]
) -> None:
    row = "MATSUTAKE,online,6800,500,2026-01-01T00:00:00Z"
    send("prices", PRICES + row + ",2199-01-01T00:00:00Z\r\n")
    before = fetch("prices")

    left = send("prices", PRICES.replace(",valid_to", "") + row + "\r\n")

    assert (counts(left), fetch("prices")) == ((0, 0, 1), before)
    cleared = send("prices", PRICES + row + ",\r\n")
    assert counts(cleared) == (0, 1, 0)
    assert cleared.json["changes"] == [
        {
            "line": 2,
            "name": "MATSUTAKE online",
            "column": "valid_to",
            "before": "2199-01-01T00:00:00Z",
            "after": None,
        }
    ]


def test_exported_prices_can_be_imported_and_change_nothing(
    shop: Any, send: Any, fetch: Callable[[str], str]
) -> None:
    send("prices", PRICES + "MATSUTAKE,online,6800,500,,\r\nMATSUTAKE,station,6500,500,,\r\n")

    text = fetch("prices")

    assert text.count("MATSUTAKE") == 2
    assert counts(send("prices", text)) == (0, 0, 2)


def test_mistakes_in_prices_are_named(shop: Any, send: Any) -> None:
    rows = (
        "NONE,online,6800,500,,\r\n"
        "MATSUTAKE,market,6800,500,,\r\n"
        "MATSUTAKE,online,0,500,,\r\n"
        "MATSUTAKE,online,6800,500,2026-02-02T00:00:00Z,2026-02-01T00:00:00Z\r\n"
        "MATSUTAKE,online,6800,500,,\r\n"
        "MATSUTAKE,online,6900,500,,\r\n"
    )

    answer = send("prices", PRICES + rows)

    assert mistakes(answer) == [
        (2, "sku"),
        (3, "channel"),
        (4, "price_fen"),
        (5, "valid_to"),
        (7, None),
    ]


# --- Enterprises ---------------------------------------------------------------------------------

ENTERPRISES = "enterprise,name_zh,name_bo,roles,region_code,licence_no,phone,language\r\n"


def test_enterprises_are_registered_from_a_file_and_can_be_reached(
    send: Any, recorded_events: Recorded, get: Any
) -> None:
    rows = (
        "P-1,扎西,བཀྲ་ཤིས,producer,540421103,,138 0013 8001,bo\r\n"
        "C-1,合作社,,cooperative producer,,L-9,,\r\n"
    )

    answer = send("enterprises", ENTERPRISES + rows)

    assert counts(answer) == (2, 0, 0)
    assert [kind for kind, _ in recorded_events()] == [
        "catalog.enterprise_registered.v1",
        "catalog.enterprise_contact_given.v1",
        "catalog.enterprise_registered.v1",
    ]
    contact = recorded_events()[1][1]
    assert (contact["phone"], contact["language"]) == ("+8613800138001", "bo")
    shown = get("/enterprises", code="C-1").json["items"][0]
    assert (shown["roles"], shown["licence_no"]) == (["cooperative", "producer"], "L-9")


def test_exported_enterprises_can_be_imported_and_change_nothing(
    shop: Any, send: Any, fetch: Callable[[str], str], recorded_events: Recorded
) -> None:
    before = recorded_events()

    answer = send("enterprises", fetch("enterprises"))

    assert (counts(answer), recorded_events()) == ((0, 0, 1), before)


def test_an_enterprise_is_changed_where_the_file_has_a_column(
    send: Any, get: Any, recorded_events: Recorded
) -> None:
    send("enterprises", ENTERPRISES + "P-1,扎西,བཀྲ་ཤིས,producer,540421103,L-1,,\r\n")

    answer = send(
        "enterprises", "enterprise,name_zh,roles,licence_no\r\nP-1,扎西,producer company,\r\n"
    )

    shown = get("/enterprises", code="P-1").json["items"][0]
    assert counts(answer) == (0, 1, 0)
    assert shown["names"] == {"zh": "扎西", "bo": "བཀྲ་ཤིས"}
    assert (shown["region_code"], shown["licence_no"]) == ("540421103", None)
    assert recorded_events()[-1][1]["roles"] == ["company", "producer"]


def test_mistakes_in_enterprises_are_named(shop: Any, send: Any, get: Any) -> None:
    rows = (
        "P-001,扎西,,company,,,,\r\n"
        "P-2,扎西,,farmer,,,,\r\n"
        "P-3,扎西,,producer,,,1-800-FLOWERS,zh\r\n"
        "P-4,扎西,,producer,,,138 0013 8001,\r\n"
        "P-5,扎西,,producer,,,,xx\r\n"
        "P-6,扎西,,producer,,,,\r\nP-6,扎西,,producer,,,,\r\n"
    )

    answer = send("enterprises", ENTERPRISES + rows)

    assert mistakes(answer) == [
        (2, "roles"),
        (3, "roles"),
        (4, "phone"),
        (5, "language"),
        (6, "language"),
        (8, "enterprise"),
    ]
    assert len(get("/enterprises").json["items"]) == 1


# --- Files as they come --------------------------------------------------------------------------


def test_a_file_as_excel_saves_it_in_china_is_read(shop: Any, send: Any) -> None:
    today = clock.today()
    text = (
        f"Lot;SKU;Producer;Harvest Date;Origin;;\r\n"
        f"L-1;MATSUTAKE;P-001;{today:%Y/%m/%d};540421103;;\r\n;;;;;;\r\n"
    )

    answer = send("lots", text.encode("gb18030") + "松茸;;;;;;\r\n".encode("gb18030"))

    assert (answer.status_code, mistakes(answer)[0]) == (422, (4, "lot"))
    answer = send("lots", text.encode("gb18030"))
    assert counts(answer) == (1, 0, 0)
    assert answer.json["separator"] == "semicolon"


def test_options_name_what_a_file_does_not_tell(shop: Any, client: FlaskClient, token: Any) -> None:
    def post(**query: str) -> Any:
        return client.post(
            f"{URL}/imports/lots",
            query_string=query,
            data="lot,sku,producer,harvest_date\r\nL-1,MATSUTAKE,P-001,5/11/2025\r\n",
            headers=token("stock:write") | {"Content-Type": "text/csv"},
        )

    unsure, sure = post(), post(dates="dmy", encoding="utf-8", separator="comma")

    assert mistakes(unsure) == [(2, "harvest_date")]
    assert "dates=dmy" in unsure.json["errors"][0]["message"]
    assert counts(sure) == (1, 0, 0)
    assert post(encoding="latin-1").status_code == 422


def test_a_file_of_twenty_thousand_rows_fits(
    shop: Any, send: Any, fetch: Callable[[str], str]
) -> None:
    """It takes some seconds: it is as large as a file may be."""
    rows = "".join(
        a_product_row(f"M-{n}", product=f"FRESH-{n}", name_zh="林芝松茸特级鲜品" * 6)
        for n in range(20_000)
    )
    assert len((PRODUCTS + rows).encode()) > 4_000_000

    answer = send("products", PRODUCTS + rows, dry_run=True)

    assert counts(answer) == (20_000, 0, 0)


@pytest.mark.parametrize("kind", ["enterprises", "products", "prices", "lots", "stock"])
def test_no_cell_ends_in_an_answer_of_500(
    shop: Any, send: Any, fetch: Callable[[str], str], kind: str
) -> None:
    """An odd value in each column by turns, beside cells that are right."""
    shop.add_lot("L-1", 100)
    send("prices", PRICES + "MATSUTAKE,online,6800,500,,\r\n")
    header, row = list(csv.reader(io.StringIO(fetch(kind).removeprefix("\ufeff"))))[:2]
    odd = ["x" * 5000, "9" * 30, "-1", "\ud7ff\U0010ffff", "a\tb", "'", "0000-00-00", "9999-12-31"]

    for place in range(len(header)):
        for text in odd:
            out = io.StringIO()
            csv.writer(out).writerows([header, [*row[:place], text, *row[place + 1 :]]])
            answer = send(kind, out.getvalue())
            assert answer.status_code in (200, 422), (header[place], text, answer.json)
