"""Orders' own copies of the price list and the sites, so that placement asks nobody.

Facts of one product, variant or site come in their order. One that is not newer than the copy
was sent again and is passed over.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy.orm import Session

from services.orders.models import PriceCopy, ProductCopy, SiteCopy, VariantCopy
from shared.messaging.rows import lock_rows, locked, remember
from shared.runtime.clock import rfc3339


def price_id(variant_id: UUID, channel: str, valid_from: datetime) -> UUID:
    """Return the id of the price of a variant in one channel from one moment on."""
    return uuid5(variant_id, f"{channel} {rfc3339(valid_from)}")


def lock_products(session: Session, product_ids: Iterable[UUID]) -> None:
    """Lock and load the copies of these products with their variants."""
    lock_rows(session, ProductCopy.id, product_ids)


def note_product(
    session: Session, product_id: UUID, variants: Sequence[Mapping[str, Any]], sequence: int
) -> None:
    """Put a product's variants on sale; one that is no longer among them is not sold any more."""
    product = _product(session, product_id, sequence)
    if product is None:
        return
    product.withdrawn = False
    known = {variant.id: variant for variant in product.variants}
    for copy in known.values():
        copy.on_sale = False
    for variant in variants:
        copy = known.get(variant["variant_id"]) or VariantCopy(id=variant["variant_id"])
        copy.sku, copy.unit = variant["sku"], variant["unit"]
        copy.pack_quantity, copy.on_sale = variant["pack_quantity"], True
        if copy.id not in known:
            product.variants.append(copy)
            known[copy.id] = copy


def note_withdrawal(session: Session, product_id: UUID, sequence: int) -> None:
    """Take a product and all its variants off sale."""
    product = _product(session, product_id, sequence)
    if product is not None:
        product.withdrawn = True
        for variant in product.variants:
            variant.on_sale = False


def _product(session: Session, product_id: UUID, sequence: int) -> ProductCopy | None:
    product: ProductCopy | None = locked(session, ProductCopy.id, product_id)
    if product is None:
        product = ProductCopy(id=product_id, variants=[])
        remember(session, ProductCopy.id, product)
    elif sequence <= product.sequence:
        return None
    product.sequence = sequence
    return product


def note_price(
    session: Session,
    *,
    variant_id: UUID,
    channel: str,
    price_fen: int,
    price_unit: int,
    valid_from: datetime,
    valid_to: datetime | None,
    sequence: int,
) -> None:
    """Take a price into the list, or correct the one that begins at the same moment."""
    key = price_id(variant_id, channel, valid_from)
    price: PriceCopy | None = locked(session, PriceCopy.id, key)
    if price is None:
        price = PriceCopy(id=key, variant_id=variant_id, channel=channel, valid_from=valid_from)
        remember(session, PriceCopy.id, price)
    elif sequence <= price.sequence:
        return
    price.price_fen, price.price_unit = price_fen, price_unit
    price.valid_to, price.sequence = valid_to, sequence


def note_site(session: Session, site_id: UUID, code: str, sequence: int) -> None:
    """Let orders go to a site."""
    site: SiteCopy | None = locked(session, SiteCopy.id, site_id)
    if site is None:
        site = SiteCopy(id=site_id)
        remember(session, SiteCopy.id, site)
    elif sequence <= site.sequence:
        return
    site.code, site.closed, site.sequence = code, False, sequence


def note_closing(session: Session, site_id: UUID, sequence: int) -> None:
    """Let no new orders go to a site."""
    site: SiteCopy | None = locked(session, SiteCopy.id, site_id)
    if site is not None and sequence > site.sequence:
        site.closed, site.sequence = True, sequence
