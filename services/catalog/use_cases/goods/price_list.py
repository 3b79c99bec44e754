"""The price list of a station's till: all listed variants, with their prices at the counter."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from services.catalog.models import Price, Product, Variant
from services.catalog.rules import Term, schedule

CHANNEL = "station"


def counter_prices(
    session: Session, moment: datetime, held: Collection[UUID] = ()
) -> list[dict[str, Any]]:
    """Return every listed variant with its counter prices from now on.

    `prices` is empty while no price is set. Withdrawn variants that the till has (`held`) are there
    without a price: they can be given back but not sold. In the order of the products' codes.
    """
    terms: dict[Any, list[Term]] = {}
    for price in session.execute(
        select(
            Price.variant_id,
            Price.price_fen,
            Price.price_unit,
            Price.valid_from,
            Price.valid_to,
        )
        .where(Price.channel == CHANNEL, or_(Price.valid_to.is_(None), Price.valid_to > moment))
        .order_by(Price.variant_id, Price.valid_from)
    ):
        terms.setdefault(price.variant_id, []).append(Term(*price[1:]))
    listed = session.execute(
        select(
            Variant.id,
            Variant.sku,
            Product.code,
            Product.category,
            Product.names,
            Variant.grade,
            Variant.unit,
            Variant.pack_quantity,
            Product.status,
        )
        .join(Product, Product.id == Variant.product_id)
        .where(or_(Product.status == "listed", Variant.id.in_(held)))
        .order_by(Product.code, Variant.sku)
    )
    shown = []
    for row in listed:
        on_sale = terms.get(row.id, ()) if row.status == "listed" else ()
        spans = schedule(on_sale, moment)
        present = next((span for span in spans if span.valid_from <= moment), None)
        shown.append(
            {
                "variant_id": row.id,
                "sku": row.sku,
                "product_code": row.code,
                "category": row.category,
                "names": row.names,
                "grade": row.grade,
                "unit": row.unit,
                "pack_quantity": row.pack_quantity,
                "price_fen": None if present is None else present.price_fen,
                "price_unit": None if present is None else present.price_unit,
                "valid_to": None if present is None else present.valid_to,
                "next_price": next((span for span in spans if span is not present), None),
                "prices": spans,
            }
        )
    return shown
