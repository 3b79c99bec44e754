"""Where the offline demo plays: lots of its own of the sample's goods, and enrolled devices.

Its lots are the first that any channel takes from, so stations and online buyers meet in them,
and the sample's own harvest is still there afterwards.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random
from typing import Any

from farmgate.client import Client
from farmgate.failures import Failed
from shared.runtime import clock

DEVICES, SITES, LOTS = 20, 8, 4
#: Packs that each lot brings, and that a device gets of a lot in the beginning.
PACKS, PACKS_GRANTED = 260, 9
#: Sites that get a parcel for a buyer before their link goes down.
PARCELS = 8
#: Lots that a device begins with.
LOTS_GRANTED = 2


@dataclass(frozen=True)
class Goods:
    """One lot of the demo, and how its goods are sold."""

    lot_id: str
    lot_code: str
    variant_id: str
    sku: str
    product: str
    unit: str
    pack_quantity: int


@dataclass(frozen=True)
class Desk:
    """One device before its first day, and what it begins with."""

    number: int
    device_id: str
    device_code: str
    site_id: str
    site_code: str
    site_name: str
    enrolment_code: str
    goods: tuple[Goods, ...]
    #: Whether parcels wait here for buyers; of two devices at a site, the first hands them out.
    has_parcels: bool = False


@dataclass(frozen=True)
class Scene:
    """Everything the demo has set up."""

    centre_id: str
    goods: list[Goods]
    desks: list[Desk]


def prepare(client: Client, seed: int) -> Scene:
    """Bring the lots and make the devices; grants wait until they are enrolled.

    Raises:
        Failed: the sample is not loaded.
    """
    random = Random(f"{seed}/scene")
    centres = list(client.pages("catalog", "/locations", level="centre"))
    sites = _stations(client)
    if not centres or not sites:
        raise Failed("There is no station. Load the sample first: farmgate sample load")
    centre_id = centres[0]["location_id"]
    goods = [_bring(client, centre_id, *found) for found in _choose(client, random)]
    places = random.sample(sites, min(SITES, len(sites)))
    desks = []
    for number in range(1, DEVICES + 1):
        # More devices than sites: some stand side by side, each with allotments of its own.
        site = places[(number - 1) % len(places)]
        made = client.post(
            "catalog", "/devices", {"site_id": site["site_id"], "name": f"收银台{number}"}
        )
        desks.append(
            Desk(
                number=number,
                device_id=made["device_id"],
                device_code=made["code"],
                site_id=site["site_id"],
                site_code=site["code"],
                site_name=site["names"]["zh"],
                enrolment_code=made["enrolment_code"],
                # Neighbours in number share a lot, so that every lot has its devices.
                goods=tuple(goods[(number + i) % len(goods)] for i in range(LOTS_GRANTED)),
                has_parcels=number <= min(PARCELS, len(places)),
            )
        )
    return Scene(centre_id, goods, desks)


def _stations(client: Client) -> list[dict[str, Any]]:
    """Return sites whose stock no rule replenishes, by code: ids differ between systems."""
    ruled = {rule["site_id"] for rule in client.pages("catalog", "/standing-rules")}
    found = (
        site
        for site in client.pages("logistics", "/sites", open=True)
        if site["level"] in ("township", "village") and site["site_id"] not in ruled
    )
    return sorted(found, key=lambda site: str(site["code"]))


def _choose(client: Client, random: Random) -> list[tuple[dict[str, Any], dict[str, Any], Any]]:
    """Return variants that keep for long, one per product, with the lot that is taken first."""
    today = clock.today()
    variants = {
        variant["variant_id"]: (product, variant)
        for product in client.pages("catalog", "/products", status="listed")
        if not product["perishable"]
        for variant in product["variants"]
    }
    first: dict[str, dict[str, Any]] = {}
    for lot in client.pages("catalog", "/lots", status="released"):
        found = variants.get(lot["variant_id"])
        if found is None or lot["best_before"] is None:
            continue
        keeps = date.fromisoformat(lot["best_before"]) - timedelta(days=found[1]["min_life_days"])
        if keeps <= today + timedelta(days=1):
            continue
        other = first.get(lot["variant_id"])
        if other is None or _picking(lot) < _picking(other):
            first[lot["variant_id"]] = lot
    by_product: dict[str, tuple[dict[str, Any], dict[str, Any], Any]] = {}
    for variant_id in sorted(first, key=lambda each: str(variants[each][1]["sku"])):
        product, variant = variants[variant_id]
        by_product.setdefault(product["code"], (product, variant, first[variant_id]))
    if len(by_product) < LOTS:
        raise Failed("Too little is on sale. Load the sample first: farmgate sample load")
    chosen = random.sample(sorted(by_product), LOTS)
    return [by_product[code] for code in chosen]


def _picking(lot: dict[str, Any]) -> tuple[str, str, str]:
    return lot["best_before"], lot["harvest_date"], lot["code"]


def _bring(
    client: Client,
    centre_id: str,
    product: dict[str, Any],
    variant: dict[str, Any],
    first: dict[str, Any],
) -> Goods:
    """Bring a lot that is taken before the one that was the first until now."""
    harvested = date.fromisoformat(first["harvest_date"]) - timedelta(days=1)
    lot = {
        "code": f"OFF-{variant['sku']}-{clock.now():%y%m%d%H%M%S%f}"[:40],
        "variant_id": variant["variant_id"],
        "producer_id": first["producer_id"],
        "harvest_date": harvested.isoformat(),
        "best_before": first["best_before"],
    }
    lot_id = client.post("catalog", "/lots", lot)["lot_id"]
    client.post("catalog", f"/lots/{lot_id}/inspect")
    client.post("catalog", f"/lots/{lot_id}/release")
    quantity = PACKS * variant["pack_quantity"]
    receipt = {"lot_id": lot_id, "location_id": centre_id, "quantity": quantity}
    client.post("catalog", "/stock/receipts", receipt)
    return goods_of(lot_id, lot["code"], product, variant)


def goods_of(
    lot_id: str, lot_code: str, product: Mapping[str, Any], variant: Mapping[str, Any]
) -> Goods:
    """Return a lot as the demo knows it, from what catalog says of its product and variant."""
    return Goods(
        lot_id=lot_id,
        lot_code=lot_code,
        variant_id=variant["variant_id"],
        sku=variant["sku"],
        product=product["names"]["zh"],
        unit=variant["unit"],
        pack_quantity=variant["pack_quantity"],
    )
