"""Find sites, devices, variants and lots by their codes, and format amounts for people."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from farmgate.client import Client
from farmgate.failures import Failed
from shared.runtime.clock import LOCAL


def find_site(client: Client, code: str) -> dict[str, Any]:
    """Return catalog's location with this code.

    Raises:
        Failed: there is no such site.
    """
    for location in client.pages("catalog", "/locations"):
        if location["code"] == code:
            return dict(location)
    raise Failed(
        f"Catalog knows no site {code}. Logistics opens sites (POST /sites, or farmgate sample "
        "load); catalog gets their events within seconds."
    )


def site_codes(client: Client) -> dict[str, str]:
    """Return the code of each site by its id."""
    return {each["location_id"]: each["code"] for each in client.pages("catalog", "/locations")}


def find_device(client: Client, code: str) -> dict[str, Any]:
    """Return the device with this code.

    Raises:
        Failed: there is no such device.
    """
    for device in client.pages("catalog", "/devices"):
        if device["code"] == code:
            return dict(device)
    raise Failed(f"There is no device {code}. See all: farmgate devices list")


@dataclass(frozen=True)
class Variant:
    """A grade and pack in which a product is sold."""

    variant_id: str
    sku: str
    unit: str
    pack_quantity: int


def variants(client: Client) -> dict[str, Variant]:
    """Return all variants by id."""
    return {
        each["variant_id"]: Variant(
            each["variant_id"], each["sku"], each["unit"], each["pack_quantity"]
        )
        for product in client.pages("catalog", "/products")
        for each in product["variants"]
    }


def find_variant(client: Client, sku: str) -> Variant:
    """Return the variant with this SKU.

    Raises:
        Failed: there is no such variant.
    """
    for variant in variants(client).values():
        if variant.sku == sku:
            return variant
    raise Failed(f"There is no variant {sku}; GET /api/catalog/v1/products lists them.")


def find_lot(client: Client, code: str) -> dict[str, Any] | None:
    """Return the lot with this code, or None."""
    found = client.get("catalog", "/lots", code=code)["items"]
    return dict(found[0]) if found else None


def yuan(fen: int) -> str:
    """Format an amount in fen as yuan."""
    sign, amount = ("-", -fen) if fen < 0 else ("", fen)
    return f"{sign}¥{amount // 100:,}.{amount % 100:02d}"


def moment(text: str | None) -> str:
    """Format an RFC 3339 moment in Asia/Shanghai; None is `never`."""
    if text is None:
        return "never"
    return f"{datetime.fromisoformat(text).astimezone(LOCAL):%m-%d %H:%M}"


def quantities(sums: Mapping[str, int]) -> str:
    """Format quantities by unit, with `pcs` for pieces."""
    shown = [f"{total:,} {'pcs' if unit == 'piece' else unit}" for unit, total in sums.items()]
    return ", ".join(shown) or "–"
