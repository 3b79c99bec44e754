"""What every file may be: its form, its cells, a dry run, its size."""

import csv
import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from flask.testing import FlaskClient

from shared.runtime import clock
from tests.catalog.spreadsheets.rows import (
    LOTS,
    PRICES,
    PRODUCTS,
    STOCK,
    URL,
    Recorded,
    a_lot_row,
    a_product_row,
    counts,
    mistakes,
)


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
