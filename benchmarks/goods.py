"""Goods to sell, brought in as an operator would: by CSV and over the HTTP API."""

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks.surroundings import System
from farmgate.client import Client
from tests.support.servers import wait_until

PRODUCER, CENTRE, COUNTY = "BENCH-PRODUCER", "540400", "540421"
#: The beginning of all SKUs.
SKU = "BENCH-"
#: Grams of each lot, and grams of a pack: no run sells them all.
PLENTY, PACK = 1_000_000_000, 100
#: Rows of one import, and sites of one request, at most.
ROWS, SITES = 1000, 500


def list_variants(system: System, count: int) -> list[dict[str, Any]]:
    """List so many variants, each with a price and one lot at the centre, beside those there are.

    Called with a higher count, it adds those that are missing. Returns `variant_id` and
    `pack_quantity` of each, as buyers need them.
    """
    operator = system.operator
    producer = {"code": PRODUCER, "names": {"zh": "农户"}, "roles": ["producer"]}
    if PRODUCER not in {each["code"] for each in operator.pages("catalog", "/enterprises")}:
        operator.post("catalog", "/enterprises", producer)
    known = {variant["sku"] for variant in _variants(operator)}
    skus = [sku for number in range(count) if (sku := f"{SKU}{number}") not in known]
    product = {
        "category": "medicinal",
        "perishable": "no",
        "shelf_life_days": 730,
        "storage": "",
        "grade": "1",
        "unit": "g",
        "pack_quantity": PACK,
        "min_life_days": 0,
    }
    _import(
        operator,
        "products",
        [{"product": sku, "name_zh": f"天麻{sku}", "sku": sku, **product} for sku in skus],
    )
    price = {"channel": "online", "price_fen": 1000, "price_unit": PACK}
    _import(operator, "prices", [{"sku": sku, **price} for sku in skus])
    harvested = datetime.now(UTC).date() - timedelta(days=1)
    lot = {
        "producer": PRODUCER,
        "harvest_date": harvested.isoformat(),
        "best_before": (harvested + timedelta(days=730)).isoformat(),
        "status": "released",
    }
    _import(operator, "lots", [{"lot": f"LOT-{sku}", "sku": sku, **lot} for sku in skus])
    stock = {"location": CENTRE, "on_hand": PLENTY}
    _import(operator, "stock", [{"lot": f"LOT-{sku}", **stock} for sku in skus])
    return [
        {name: variant[name] for name in ("variant_id", "pack_quantity")}
        for variant in _variants(operator)
        if variant["sku"].startswith(SKU)
    ]


def open_sites(system: System, stations: int) -> str:
    """Open a centre, a county, and so many stations under it; return the centre's id.

    Called with a higher number, it opens those that are missing.
    """
    operator = system.operator
    county = {"level": "county", "names": {"zh": "县"}, "parent_code": CENTRE}
    township = {"level": "township", "names": {"zh": "乡"}, "parent_code": COUNTY}
    sites = [
        {"code": CENTRE, "level": "centre", "names": {"zh": "中心"}},
        {"code": COUNTY, **county},
        *({"code": f"{COUNTY}{number:06d}", **township} for number in range(stations)),
    ]
    known = {site["code"] for site in operator.pages("logistics", "/sites")}
    missing = [site for site in sites if site["code"] not in known]
    for begin in range(0, len(missing), SITES):
        part = {"sites": missing[begin : begin + SITES]}
        operator.post("logistics", "/sites/batch", part)
    codes = {site["code"] for site in sites}
    wait_until(
        lambda: {each["code"] for each in operator.pages("catalog", "/locations")} >= codes,
        120,
        "catalog knows all sites",
    )
    found = operator.pages("logistics", "/sites")
    return next(str(site["site_id"]) for site in found if site["code"] == CENTRE)


def _variants(operator: Client) -> list[dict[str, Any]]:
    return [
        variant
        for product in operator.pages("catalog", "/products")
        for variant in product["variants"]
    ]


def _import(operator: Client, what: str, rows: Sequence[Mapping[str, Any]]) -> None:
    for begin in range(0, len(rows), ROWS):
        out = io.StringIO(newline="")
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows[begin : begin + ROWS])
        operator.call(
            "POST",
            "catalog",
            f"/imports/{what}",
            content=out.getvalue().encode(),
            headers={"Content-Type": "text/csv; charset=utf-8"},
            seconds=300,
        )
