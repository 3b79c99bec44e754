"""Set the prices of a variant, per channel and over time."""

from bisect import insort
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.catalog.batch import CatalogBatch
from services.catalog.models import Price, Variant
from services.catalog.rules import check_span
from shared.events import Moment, PriceChanged
from shared.runtime import clock
from shared.runtime.errors import NotFound
from shared.runtime.validity import in_force


class VariantNotFound(NotFound):
    """Raised when no variant has this id."""


def set_price(
    batch: CatalogBatch,
    variant_id: UUID,
    channel: str,
    price_fen: int,
    price_unit: int,
    valid_from: datetime | None = None,
    valid_to: datetime | None = None,
) -> Price:
    """Set the price of `price_unit` grams or pieces in one channel, from `valid_from` (now) on.

    Of the prices that have begun and not ended, the last to begin holds. So when a price with an
    end is over, the one before it holds again. Setting the price that holds changes nothing.

    Raises:
        VariantNotFound: there is none with this id.
        ImpossibleDates: the price ends before it begins.
    """
    variant: Variant | None = batch.get_for_update(Variant.id, variant_id)
    if variant is None:
        raise VariantNotFound(f"There is no variant {variant_id}.")
    prices = batch.session.scalars(
        select(Price)
        .where(Price.variant_id == variant_id, Price.channel == channel)
        .order_by(Price.valid_from)
    ).all()
    terms = {"price_fen": price_fen, "price_unit": price_unit, "valid_to": valid_to}
    return put_price(batch, variant, channel, list(prices), valid_from, terms)


def put_price(
    batch: CatalogBatch,
    variant: Variant,
    channel: str,
    prices: list[Price],
    valid_from: datetime | None,
    terms: Mapping[str, Any],
) -> Price:
    """Set a price of a locked variant; `prices` are the known ones of the channel, in order.

    Raises:
        ImpossibleDates: the price ends before it begins.
    """
    begins = valid_from or clock.now()
    check_span(begins, terms["valid_to"])
    known = price_about(prices, valid_from, begins)
    if known is not None and says(known, terms):
        return known
    if known is None or known.valid_from != begins:
        known = Price(variant_id=variant.id, channel=channel, valid_from=begins)
        batch.session.add(known)
        insort(prices, known, key=lambda price: price.valid_from)
    for name, value in terms.items():
        setattr(known, name, value)
    _record_price(batch, variant, known)
    return known


def price_about(
    prices: Sequence[Price], valid_from: datetime | None, now: datetime
) -> Price | None:
    """Return the price that begins at `valid_from`, or (None) the one that holds now."""
    if valid_from is None:
        return in_force(prices, now)
    return next((price for price in prices if price.valid_from == valid_from), None)


def says(price: Price, terms: Mapping[str, Any]) -> bool:
    """Tell whether a price has these terms."""
    return all(getattr(price, name) == value for name, value in terms.items())


def _record_price(batch: CatalogBatch, variant: Variant, price: Price) -> None:
    batch.record(
        variant,
        PriceChanged(
            variant_id=variant.id,
            channel=price.channel,
            price_fen=price.price_fen,
            price_unit=price.price_unit,
            valid_from=Moment.of(price.valid_from),
            valid_to=None if price.valid_to is None else Moment.of(price.valid_to),
        ),
    )


def prices_of(session: Session, variant_id: UUID, channels: Collection[str]) -> Sequence[Price]:
    """Return a variant's prices in these channels, by channel and beginning; past ones too.

    Raises:
        VariantNotFound: there is none with this id.
    """
    if session.get(Variant, variant_id) is None:
        raise VariantNotFound(f"There is no variant {variant_id}.")
    return session.scalars(
        select(Price)
        .where(Price.variant_id == variant_id, Price.channel.in_(channels))
        .order_by(Price.channel, Price.valid_from)
    ).all()
