"""Maintain read models of the data in texts: orders, names of products and of sites."""

from uuid import UUID

import msgspec

from services.notifications.batch import NotificationsBatch
from services.notifications.models import OrderReadModel, SiteReadModel, VariantReadModel
from shared.events import ProductListed, SiteOpened


def get_or_new_order(batch: NotificationsBatch, order_id: UUID) -> OrderReadModel:
    """Return what is known of an order, locked; a new empty row if nothing is.

    Facts of one order come from three services, in any order; each fills in its part.
    """
    order: OrderReadModel | None = batch.get_for_update(OrderReadModel.order_id, order_id)
    if order is None:
        order = OrderReadModel(order_id=order_id, settled=False)
        batch.track(OrderReadModel.order_id, order)
    return order


def copy_variants(batch: NotificationsBatch, product: ProductListed) -> None:
    """Keep the name, grade and unit of each of a product's variants."""
    names = msgspec.to_builtins(product.names)
    batch.load_for_update(VariantReadModel.variant_id, [v.variant_id for v in product.variants])
    for listed in product.variants:
        row = batch.get_for_update(VariantReadModel.variant_id, listed.variant_id)
        if row is None:
            row = VariantReadModel(variant_id=listed.variant_id)
            batch.track(VariantReadModel.variant_id, row)
        row.names, row.grade, row.unit = names, listed.grade, listed.unit


def copy_site(batch: NotificationsBatch, site: SiteOpened) -> None:
    """Keep the name of a site."""
    row = batch.get_for_update(SiteReadModel.site_id, site.site_id)
    if row is None:
        row = SiteReadModel(site_id=site.site_id)
        batch.track(SiteReadModel.site_id, row)
    row.names = msgspec.to_builtins(site.names)
