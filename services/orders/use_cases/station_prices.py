"""Compare what stations charged with orders' own price list, and flag the differences."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session, aliased

from services.orders.models import PriceReadModel, TillEntry
from services.orders.rules import prices
from services.orders.rules.prices import Price
from shared.runtime.validity import in_force

CHANNEL = "station"


def flag(session: Session, sales: Sequence[TillEntry]) -> None:
    """Flag new sales whose prices or sums differ from the list, in one statement.

    `expected_fen` of such a sale is its total by the list at the time of its device; None: the
    list had no price for a line.
    """
    if not sales:
        return
    lists = _lists(session, sales)
    for sale in sales:
        lines = sale.body["lines"]
        found = [_price(lists, line["variant_id"], sale.happened_at) for line in lines]
        if not all(map(_is_price, lines, found)):
            sale.flags = [*sale.flags, "price_differs"]
            sale.expected_fen = _expected_fen(lines, found)
        if not prices.sums_up(lines, sale.total_fen or 0):
            sale.flags = [*sale.flags, "total_differs"]


def _price(lists: dict[str, list[Price]], variant_id: str, moment: datetime) -> Price | None:
    history = lists.get(variant_id)
    return in_force(history, moment) if history else None


def _is_price(line: dict[str, int], price: Price | None) -> bool:
    if price is None:
        return False
    return line["price_fen"] * price.price_unit == price.price_fen * line["price_unit"]


def _expected_fen(lines: Sequence[dict[str, int]], found: Sequence[Price | None]) -> int | None:
    expected = 0
    for line, price in zip(lines, found, strict=True):
        if price is None:
            return None
        expected += prices.line_total_fen(line["quantity"], price.price_fen, price.price_unit)
    return expected


def _lists(session: Session, sales: Sequence[TillEntry]) -> dict[str, list[Price]]:
    """Return the station's prices that were in force at any time of the sales, by variant."""
    variants = {UUID(line["variant_id"]) for sale in sales for line in sale.body["lines"]}
    moments = [sale.happened_at for sale in sales]
    earlier = aliased(PriceReadModel)
    first, last = min(moments), max(moments)
    # A price is in force throughout if it begins before the first sale and ends after the last.
    # Prices that began before it are in force at none of the sales.
    covering = (
        select(func.max(earlier.valid_from))
        .where(
            earlier.variant_id == PriceReadModel.variant_id,
            earlier.channel == CHANNEL,
            earlier.valid_from <= first,
            or_(earlier.valid_to.is_(None), earlier.valid_to > last),
        )
        .scalar_subquery()
    )
    statement = (
        select(
            PriceReadModel.variant_id,
            PriceReadModel.price_fen,
            PriceReadModel.price_unit,
            PriceReadModel.valid_from,
            PriceReadModel.valid_to,
        )
        .where(
            PriceReadModel.variant_id.in_(variants),
            PriceReadModel.channel == CHANNEL,
            PriceReadModel.valid_from <= last,
            or_(PriceReadModel.valid_to.is_(None), PriceReadModel.valid_to > first),
            or_(covering.is_(None), PriceReadModel.valid_from >= covering),
        )
        .order_by(PriceReadModel.variant_id, PriceReadModel.valid_from)
    )
    lists: defaultdict[str, list[Price]] = defaultdict(list)
    for row in session.execute(statement):
        price = Price(row.price_fen, row.price_unit, row.valid_from, row.valid_to)
        lists[str(row.variant_id)].append(price)
    return lists
