"""Say what a variant costs, per channel and over time."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.catalog.models import Price, Variant
from services.catalog.rules import ImpossibleDates
from shared import clock
from shared.errors import NotFound
from shared.events import PriceChanged
from shared.outbox import record
from shared.rows import locked
from shared.validity import in_force


class VariantNotFound(NotFound):
    """Raised when no variant has this id."""


def set_price(
    session: Session,
    variant_id: UUID,
    channel: str,
    price_fen: int,
    price_unit: int,
    valid_from: datetime | None = None,
    valid_to: datetime | None = None,
) -> Price:
    """Set what `price_unit` grams or pieces cost in one channel, from `valid_from` (now) on.

    Of the prices that have begun and not ended the last to begin holds; so after a dated price
    the one before it holds again. Setting what holds already changes nothing.

    Raises:
        VariantNotFound: there is none with this id.
        ImpossibleDates: the price ends before it begins.
    """
    variant: Variant | None = locked(session, Variant.id, variant_id)
    if variant is None:
        raise VariantNotFound(f"There is no variant {variant_id}.")
    begins = valid_from or clock.now()
    if valid_to is not None and valid_to <= begins:
        raise ImpossibleDates("The price ends before it begins; leave valid_to out or move it.")
    known = session.scalars(
        select(Price)
        .where(Price.variant_id == variant_id, Price.channel == channel)
        .order_by(Price.valid_from)
    ).all()
    terms = {"price_fen": price_fen, "price_unit": price_unit, "valid_to": valid_to}
    same_start = next((price for price in known if price.valid_from == begins), None)
    present = same_start if valid_from is not None else in_force(known, begins)
    if present is not None and all(getattr(present, name) == terms[name] for name in terms):
        return present
    if same_start is not None:
        for name, value in terms.items():
            setattr(same_start, name, value)
        _say_price(session, variant, same_start)
        return same_start
    price = Price(variant_id=variant_id, channel=channel, valid_from=begins, **terms)
    session.add(price)
    _say_price(session, variant, price)
    return price


def _say_price(session: Session, variant: Variant, price: Price) -> None:
    record(
        session,
        PriceChanged,
        variant,
        variant_id=variant.id,
        channel=price.channel,
        price_fen=price.price_fen,
        price_unit=price.price_unit,
        valid_from=price.valid_from,
        valid_to=price.valid_to,
    )


def prices_of(session: Session, variant_id: UUID) -> Sequence[Price]:
    """Return all prices of a variant, by channel and beginning; past ones too.

    Raises:
        VariantNotFound: there is none with this id.
    """
    if session.get(Variant, variant_id) is None:
        raise VariantNotFound(f"There is no variant {variant_id}.")
    return session.scalars(
        select(Price)
        .where(Price.variant_id == variant_id)
        .order_by(Price.channel, Price.valid_from)
    ).all()
