"""Products and lots as CSV."""

from collections.abc import Callable
from typing import Any

from flask.testing import FlaskClient
from sqlalchemy import func, select

from services.catalog.models import Lot, Product
from shared.runtime import clock
from shared.runtime.database import Database
from tests.catalog.spreadsheets.rows import (
    LOTS,
    PRODUCTS,
    URL,
    Recorded,
    a_lot_row,
    a_product_row,
    counts,
    mistakes,
)


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
