"""Prepares the offline demo: lots of its own of the sample's goods, and devices.

Every channel takes from these lots first. So stations and online buyers compete for them, and the
sample's own harvest is still there afterwards.
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
#: Packs of each lot, and packs of a lot in a device's first allotment.
PACKS, PACKS_GRANTED = 260, 9
#: How many sites get a parcel before their link goes down.
PARCELS = 8
#: How many lots a device begins with.
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
    """One device before its first day, with the lots that it begins with."""

    number: int
    device_id: str
    device_code: str
    site_id: str
    site_code: str
    site_name: str
    enrolment_code: str
    goods: tuple[Goods, ...]
    #: Whether this device hands out its site's parcels; only the first device of a site does.
    has_parcels: bool = False


@dataclass(frozen=True)
class Scene:
    """Everything that the demo has prepared."""

    centre_id: str
    goods: list[Goods]
    desks: list[Desk]


def prepare(client: Client, seed: int) -> Scene:
    """Create the lots and the devices; grants follow after the enrolment.

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
        # There are more devices than sites, so some sites have several, with separate allotments.
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
                # Devices with successive numbers share a lot, so that every lot has devices.
                goods=tuple(goods[(number + i) % len(goods)] for i in range(LOTS_GRANTED)),
                has_parcels=number <= min(PARCELS, len(places)),
            )
        )
    return Scene(centre_id, goods, desks)


def _stations(client: Client) -> list[dict[str, Any]]:
    """Return sites without a standing rule, sorted by code because ids differ between systems."""
    ruled = {rule["site_id"] for rule in client.pages("catalog", "/standing-rules")}
    found = (
        site
        for site in client.pages("logistics", "/sites", open=True)
        if site["level"] in ("township", "village") and site["site_id"] not in ruled
    )
    return sorted(found, key=lambda site: str(site["code"]))


def _choose(client: Client, random: Random) -> list[tuple[dict[str, Any], dict[str, Any], Any]]:
    """Return non-perishable variants, one per product, each with the lot that is taken first."""
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
    """Create a lot that every channel takes before `first`."""
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
    """Return a lot of the demo, from catalog's product and variant."""
    return Goods(
        lot_id=lot_id,
        lot_code=lot_code,
        variant_id=variant["variant_id"],
        sku=variant["sku"],
        product=product["names"]["zh"],
        unit=variant["unit"],
        pack_quantity=variant["pack_quantity"],
    )
