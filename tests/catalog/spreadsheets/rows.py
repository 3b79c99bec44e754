"""Files of the tests, row by row, and what an answer says of one."""

from collections.abc import Callable
from typing import Any

from shared.runtime import clock

Recorded = Callable[[], list[tuple[str, dict[str, Any]]]]
URL = "/api/catalog/v1"
PRODUCTS = (
    "product,name_zh,name_en,category,perishable,shelf_life_days,storage,sku,grade,unit,"
    "pack_quantity,min_life_days\r\n"
)
LOTS = "lot,sku,producer,harvest_date,best_before,origin,status\r\n"
STOCK = "lot,location,on_hand\r\n"
PRICES = "sku,channel,price_fen,price_unit,valid_from,valid_to\r\n"
COUNT = "lot,location,on_hand,book\r\n"


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
