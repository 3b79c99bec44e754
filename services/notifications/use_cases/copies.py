"""Keep copies of what texts mention: orders, products' names, sites' names."""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from services.notifications.models import OrderCopy, SiteCopy, VariantCopy
from shared.messaging.rows import lock_rows, locked, remember


def order_copy(session: Session, order_id: UUID) -> OrderCopy:
    """Return what is known of an order, a new empty copy if nothing is.

    Facts of one order come from three services, in any order; each fills in its part.
    """
    order: OrderCopy | None = locked(session, OrderCopy.order_id, order_id)
    if order is None:
        order = OrderCopy(order_id=order_id, settled=False)
        remember(session, OrderCopy.order_id, order)
    return order


def keep_product(
    session: Session, names: Mapping[str, str], variants: Iterable[Mapping[str, Any]]
) -> None:
    """Keep the name, grade and unit of each of a product's variants."""
    every = list(variants)
    lock_rows(session, VariantCopy.variant_id, [each["variant_id"] for each in every])
    for each in every:
        copy: VariantCopy | None = locked(session, VariantCopy.variant_id, each["variant_id"])
        if copy is None:
            copy = VariantCopy(variant_id=each["variant_id"])
            remember(session, VariantCopy.variant_id, copy)
        copy.names, copy.grade, copy.unit = dict(names), each["grade"], each["unit"]


def keep_site(session: Session, site_id: UUID, names: Mapping[str, str]) -> None:
    """Keep the name of a site."""
    copy: SiteCopy | None = locked(session, SiteCopy.site_id, site_id)
    if copy is None:
        copy = SiteCopy(site_id=site_id)
        remember(session, SiteCopy.site_id, copy)
    copy.names = dict(names)
