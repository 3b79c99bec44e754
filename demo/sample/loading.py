"""Load the sample by the HTTP APIs. Existing things stay as they are; codes identify them.

Loading again after any interruption brings what is missing; loading on a later day brings that
day's harvest.
"""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from time import monotonic, sleep
from typing import Any

from demo.sample.goods import CHANNEL_PERCENT, Lot, Variant
from demo.sample.making import SEED, Sample, make
from demo.sample.producers import Producer
from demo.sample.sites import Route, Site
from demo.sample.stations import Station
from farmgate.client import Client
from farmgate.failures import Failed
from farmgate.services import NAMES
from shared.runtime import clock

#: Requests at the same time; SQLite writes one at a time anyway.
THREADS = 4
#: The most sites and the most CSV rows of one request.
SITES, ROWS = 500, 5000
#: The subject of the sample's partner.
PARTNER = "market"
#: Seconds that events may take from logistics to catalog.
ARRIVAL_SECONDS = 60

#: Called after each piece of work with its name, the number done, and the total.
Progress = Callable[[str, int, int], None]


def load(
    client: Client,
    seed: int = SEED,
    today: date | None = None,
    progress: Progress = lambda what, done, total: None,
) -> dict[str, int]:
    """Load the sample as of a day; return how many of each kind are new.

    Raises:
        Failed: catalog did not get the sites in time.
        Refused, Unreachable: a service refused a request, or does not answer.
    """
    sample = make(today or clock.today(), seed)
    new = {
        "sites": _open_sites(client, sample.sites, progress),
        "routes": _open_routes(client, sample.routes, progress),
        "producers": _register(client, sample.producers, progress),
        "members": _join(client, sample.producers, progress),
        "variants": _list_products(client, sample.variants, progress),
        "prices": _set_prices(client, sample.variants, progress),
    }
    _await_locations(client, sample, progress)
    new["lots"] = _record_lots(client, sample.lots, progress)
    new["stock"] = _receive(client, sample.lots, progress)
    new["tills"] = _add_devices(client, sample.stations, progress)
    new["standing rules"] = _set_rules(client, sample.stations, progress)
    new["partners"] = _subscribe(client)
    return new


def await_publication(client: Client) -> None:
    """Wait until the services have published the sample to each other.

    Raises:
        Failed: they did not in time.
    """
    deadline = monotonic() + ARRIVAL_SECONDS
    while waiting := [name for name in NAMES if not _has_published(client, name)]:
        if monotonic() > deadline:
            raise Failed(f"{', '.join(waiting)} did not publish the sample; see farmgate doctor.")
        sleep(0.2)


def _has_published(client: Client, service: str) -> bool:
    report = client.ready(service)
    return report is not None and report.get("oldest_unpublished_seconds") == 0


def describe(new: dict[str, int]) -> str:
    """Return in one line what was new."""
    brought = [f"{count} {what}" for what, count in new.items() if count]
    return f"loaded {', '.join(brought)}." if brought else "all is there already."


def _each(
    items: Sequence[Any], work: Callable[[Any], object], what: str, progress: Progress
) -> int:
    with ThreadPoolExecutor(THREADS) as pool:
        for done, _ in enumerate(pool.map(work, items), start=1):
            progress(what, done, len(items))
    return len(items)


def _open_sites(client: Client, sites: Sequence[Site], progress: Progress) -> int:
    known = {site["code"] for site in client.pages("logistics", "/sites")}
    missing = [site for site in sites if site.code not in known]
    for begin in range(0, len(missing), SITES):
        part = missing[begin : begin + SITES]
        client.post("logistics", "/sites/batch", {"sites": [site.request() for site in part]})
        progress("sites", begin + len(part), len(missing))
    return len(missing)


def _open_routes(client: Client, routes: Sequence[Route], progress: Progress) -> int:
    codes = {site["site_id"]: site["code"] for site in client.pages("logistics", "/sites")}
    known = {
        (codes[route["from_site_id"]], codes[route["to_site_id"]])
        for route in client.pages("logistics", "/routes")
    }
    missing = [route for route in routes if (route.from_code, route.to_code) not in known]
    return _each(
        missing, lambda route: client.post("logistics", "/routes", vars(route)), "routes", progress
    )


def _register(client: Client, producers: Sequence[Producer], progress: Progress) -> int:
    known = {each["code"] for each in client.pages("catalog", "/enterprises")}
    missing = [producer for producer in producers if producer.code not in known]
    return _each(
        missing,
        lambda producer: client.post("catalog", "/enterprises", producer.request()),
        "producers",
        progress,
    )


def _join(client: Client, producers: Sequence[Producer], progress: Progress) -> int:
    registered = list(client.pages("catalog", "/enterprises"))
    ids = {each["code"]: each["enterprise_id"] for each in registered}
    members = {
        (each["code"], membership["member_id"])
        for each in registered
        for membership in each["memberships"]
    }
    missing = [
        (cooperative.code, code, share)
        for cooperative in producers
        for code, share in cooperative.members
        if (cooperative.code, ids[code]) not in members
    ]

    def join(entry: tuple[str, str, int]) -> None:
        cooperative, code, share = entry
        client.post(
            "catalog",
            f"/enterprises/{ids[cooperative]}/memberships",
            {"member_id": ids[code], "share_bp": share, "valid_from": "2026-01-01"},
        )

    return _each(missing, join, "members", progress)


def _list_products(client: Client, variants: Sequence[Variant], progress: Progress) -> int:
    rows = [
        {
            "product": variant.product,
            "name_zh": variant.names["zh"],
            "name_bo": variant.names.get("bo", ""),
            "name_en": variant.names["en"],
            "category": variant.category,
            "perishable": "yes" if variant.perishable else "no",
            "shelf_life_days": variant.shelf_life_days,
            "storage": variant.storage or "",
            "sku": variant.sku,
            "grade": variant.grade,
            "unit": variant.unit,
            "pack_quantity": variant.pack_quantity,
            "min_life_days": variant.min_life_days,
        }
        for variant in variants
    ]
    known = {
        variant["sku"]
        for product in client.pages("catalog", "/products")
        for variant in product["variants"]
    }
    missing = {row["product"] for row in rows if row["sku"] not in known}
    wanted = [row for row in rows if row["product"] in missing]
    _import(client, "products", wanted, progress)
    return len(wanted)


def _set_prices(client: Client, variants: Sequence[Variant], progress: Progress) -> int:
    ids = {
        variant["sku"]: variant["variant_id"]
        for product in client.pages("catalog", "/products")
        for variant in product["variants"]
    }
    missing: list[tuple[str, str, int, int]] = []

    def compare(variant: Variant) -> None:
        variant_id = ids[variant.sku]
        prices = client.get("catalog", f"/variants/{variant_id}/prices")["items"]
        known = {price["channel"] for price in prices}
        for channel in CHANNEL_PERCENT:
            # Only channels without a price get one: a price that an operator changed stays.
            if channel not in known:
                price = variant.price_in(channel)
                missing.append((variant_id, channel, price, variant.pack_quantity))

    def put(entry: tuple[str, str, int, int]) -> None:
        variant_id, channel, price_fen, price_unit = entry
        body = {"price_fen": price_fen, "price_unit": price_unit}
        client.put("catalog", f"/variants/{variant_id}/prices/{channel}", body)

    _each(variants, compare, "prices known", progress)
    return _each(missing, put, "prices", progress)


def _await_locations(client: Client, sample: Sample, progress: Progress) -> None:
    """Wait until catalog knows all sites: lots and stock refer to them."""
    wanted = {site.code for site in sample.sites}
    deadline = monotonic() + ARRIVAL_SECONDS
    while True:
        known = {location["code"] for location in client.pages("catalog", "/locations")}
        progress("sites known to catalog", len(wanted & known), len(wanted))
        if wanted <= known:
            return
        if monotonic() > deadline:
            raise Failed(
                f"Catalog has heard of {len(wanted & known)} of {len(wanted)} sites. Its worker "
                "or that of logistics does not run; see `farmgate doctor`, then load again."
            )
        sleep(0.2)


def _record_lots(client: Client, lots: Sequence[Lot], progress: Progress) -> int:
    known = _column(client, "lots", "lot")
    rows = [
        {
            "lot": lot.code,
            "sku": lot.variant.sku,
            "producer": lot.producer,
            "harvest_date": lot.harvest_date.isoformat(),
            "best_before": lot.best_before.isoformat(),
            "origin": lot.origin,
            "status": "released",
        }
        for lot in lots
        if (lot.code,) not in known
    ]
    _import(client, "lots", rows, progress)
    return len(rows)


def _receive(client: Client, lots: Sequence[Lot], progress: Progress) -> int:
    """Receive stock where a lot never was; stock that was sold must not come back."""
    known = _column(client, "stock", "lot", "location")
    rows = [
        {"lot": lot.code, "location": site, "on_hand": quantity}
        for lot in lots
        for site, quantity in lot.stock
        if (lot.code, site) not in known
    ]
    _import(client, "stock", rows, progress)
    return len(rows)


def _add_devices(client: Client, stations: Sequence[Station], progress: Progress) -> int:
    """Add a till where a station has none; `farmgate devices replace` gives its code."""
    sites = _site_ids(client)
    known = {device["site_id"] for device in client.pages("catalog", "/devices")}
    missing = [station for station in stations if sites[station.site_code] not in known]

    def add(station: Station) -> None:
        body = {"site_id": sites[station.site_code], "name": station.name}
        client.post("catalog", "/devices", body)

    return _each(missing, add, "tills", progress)


def _set_rules(client: Client, stations: Sequence[Station], progress: Progress) -> int:
    """Create standing rules for stations; a rule that an operator changed stays."""
    sites = _site_ids(client)
    variants = {
        variant["sku"]: variant
        for product in client.pages("catalog", "/products")
        for variant in product["variants"]
    }
    known = {
        (rule["site_id"], rule["variant_id"]) for rule in client.pages("catalog", "/standing-rules")
    }
    missing = [
        (site_id, variant, packs)
        for station in stations
        for sku, packs in station.shelf
        for site_id, variant in [(sites[station.site_code], variants[sku])]
        if (site_id, variant["variant_id"]) not in known
    ]

    def put(entry: tuple[str, dict[str, Any], int]) -> None:
        site_id, variant, packs = entry
        path = f"/standing-rules/{site_id}/{variant['variant_id']}"
        client.put("catalog", path, {"keep": packs * variant["pack_quantity"]})

    return _each(missing, put, "standing rules", progress)


def _subscribe(client: Client) -> int:
    """Subscribe the sample's partner to the events of its orders."""
    known = {each["partner"] for each in client.pages("events", "/subscriptions")}
    if PARTNER in known:
        return 0
    client.put("events", f"/subscriptions/{PARTNER}", {"types": []})
    return 1


def _site_ids(client: Client) -> dict[str, str]:
    return {each["code"]: each["location_id"] for each in client.pages("catalog", "/locations")}


def _column(client: Client, what: str, *names: str) -> set[tuple[str, ...]]:
    text = client.get("catalog", f"/exports/{what}.csv").removeprefix("\ufeff")
    return {tuple(row[name] for name in names) for row in csv.DictReader(io.StringIO(text))}


def _import(client: Client, what: str, rows: Sequence[dict[str, Any]], progress: Progress) -> None:
    for begin in range(0, len(rows), ROWS):
        part = rows[begin : begin + ROWS]
        client.call(
            "POST",
            "catalog",
            f"/imports/{what}",
            content=_csv(part).encode(),
            headers={"Content-Type": "text/csv; charset=utf-8"},
        )
        progress(what, begin + len(part), len(rows))


def _csv(rows: Iterable[dict[str, Any]]) -> str:
    out = io.StringIO(newline="")
    every = list(rows)
    writer = csv.DictWriter(out, list(every[0]))
    writer.writeheader()
    writer.writerows(every)
    return out.getvalue()
