"""Keep the read models of the price list and the sites, so that placement asks no other service.

The facts of one product, variant or site come in the order of their sequence. A fact whose
sequence is not above the row's was delivered before, and changes nothing.
"""

from uuid import UUID

from services.orders.batch import OrdersBatch
from services.orders.models import PriceReadModel, ProductReadModel, SiteReadModel, VariantReadModel
from services.orders.rules.prices import price_id
from shared.events import PriceChanged, ProductListed, SiteOpened


def apply_product_listed(batch: OrdersBatch, listed: ProductListed, sequence: int) -> None:
    """Put a product's variants on sale; take those off sale that it does not have any more."""
    product = _newer_product(batch, listed.product_id, sequence)
    if product is None:
        return
    product.withdrawn = False
    known = {variant.id: variant for variant in product.variants}
    for row in known.values():
        row.on_sale = False
    for variant in listed.variants:
        row = known.get(variant.variant_id) or VariantReadModel(id=variant.variant_id)
        row.sku, row.unit = variant.sku, variant.unit
        row.pack_quantity, row.on_sale = variant.pack_quantity, True
        if row.id not in known:
            product.variants.append(row)
            known[row.id] = row


def apply_product_withdrawn(batch: OrdersBatch, product_id: UUID, sequence: int) -> None:
    """Take a product and all its variants off sale."""
    product = _newer_product(batch, product_id, sequence)
    if product is not None:
        product.withdrawn = True
        for variant in product.variants:
            variant.on_sale = False


def _newer_product(batch: OrdersBatch, product_id: UUID, sequence: int) -> ProductReadModel | None:
    """Return a product's row, new or locked; None: it has this sequence already."""
    product: ProductReadModel | None = batch.get_for_update(ProductReadModel.id, product_id)
    if product is None:
        product = ProductReadModel(id=product_id, variants=[])
        batch.track(ProductReadModel.id, product)
    elif sequence <= product.sequence:
        return None
    product.sequence = sequence
    return product


def apply_price_changed(batch: OrdersBatch, changed: PriceChanged, sequence: int) -> None:
    """Add a price to the list, or correct the one that begins at the same moment."""
    key = price_id(changed.variant_id, changed.channel, changed.valid_from)
    price: PriceReadModel | None = batch.get_for_update(PriceReadModel.id, key)
    if price is None:
        price = PriceReadModel(
            id=key,
            variant_id=changed.variant_id,
            channel=changed.channel,
            valid_from=changed.valid_from,
        )
        batch.track(PriceReadModel.id, price)
    elif sequence <= price.sequence:
        return
    price.price_fen, price.price_unit = changed.price_fen, changed.price_unit
    price.valid_to, price.sequence = changed.valid_to, sequence


def apply_site_opened(batch: OrdersBatch, opened: SiteOpened, sequence: int) -> None:
    """Open a site for orders."""
    site: SiteReadModel | None = batch.get_for_update(SiteReadModel.id, opened.site_id)
    if site is None:
        site = SiteReadModel(id=opened.site_id)
        batch.track(SiteReadModel.id, site)
    elif sequence <= site.sequence:
        return
    site.code, site.closed, site.sequence = opened.code, False, sequence


def apply_site_closed(batch: OrdersBatch, site_id: UUID, sequence: int) -> None:
    """Close a site for new orders."""
    site: SiteReadModel | None = batch.get_for_update(SiteReadModel.id, site_id)
    if site is not None and sequence > site.sequence:
        site.closed, site.sequence = True, sequence
