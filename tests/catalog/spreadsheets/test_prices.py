"""Prices as CSV."""

from collections.abc import Callable
from typing import Any

from tests.catalog.spreadsheets.rows import PRICES, Recorded, counts, mistakes


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
