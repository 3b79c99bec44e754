"""Prices as CSV: one row per price, with the SKU of its variant and its channel."""

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from services.catalog.batch import CatalogBatch
from services.catalog.models import Price, Variant
from services.catalog.rules import ImpossibleDates, check_span
from services.catalog.use_cases.goods.prices import price_about, put_price, says
from shared.runtime import clock
from shared.runtime.spreadsheets import Outcome, Row, Sheet


def import_prices(batch: CatalogBatch, sheet: Sheet, dry_run: bool) -> Outcome:
    """Set the prices of a file; a price that the file does not name stays.

    Without `valid_from` a price holds from now on, unless it is the present one. A file without
    the column `valid_to` leaves the end of a price that is there.

    Raises:
        ImportRefused: a row is wrong; nothing was written.
    """
    outcome = sheet.outcome(dry_run)
    batch.load_for_update(Variant.sku, {row.cells["sku"] for row in sheet.rows})
    variants = {
        row.cells["sku"]: batch.get_for_update(Variant.sku, row.cells["sku"]) for row in sheet.rows
    }
    known: dict[tuple[Any, str], list[Price]] = {}
    ids = [variant.id for variant in variants.values() if variant is not None]
    statement = select(Price).where(Price.variant_id.in_(ids)).order_by(Price.valid_from)
    for price in batch.session.scalars(statement):
        known.setdefault((price.variant_id, price.channel), []).append(price)
    now = clock.now()
    first_lines: dict[tuple[str, str, datetime | None], int] = {}
    todo: list[tuple[Row, Variant, list[Price], dict[str, Any]]] = []
    for row in sheet.rows:
        sku, channel, begins = row.cells["sku"], row.cells["channel"], row.cells.get("valid_from")
        variant = variants[sku]
        first = first_lines.setdefault((sku, channel, begins), row.line)
        if variant is None:
            outcome.add_error(row.line, "sku", f"no variant {sku}")
        elif first != row.line:
            outcome.add_error(row.line, None, f"this price is in line {first} already")
        else:
            prices = known.setdefault((variant.id, channel), [])
            terms = _terms(row, price_about(prices, begins, now))
            try:
                check_span(begins or now, terms["valid_to"])
            except ImpossibleDates as error:
                outcome.add_error(row.line, "valid_to", error.detail)
            todo.append((row, variant, prices, terms))
    outcome.refuse_errors()
    if not outcome.errors:
        for row, variant, prices, terms in todo:
            _put(batch, row, variant, prices, terms, now, outcome)
    return outcome


def _terms(row: Row, known: Price | None) -> dict[str, Any]:
    terms = {name: row.cells[name] for name in ("price_fen", "price_unit")}
    if "valid_to" in row.cells:
        return terms | {"valid_to": row.cells["valid_to"]}
    # The end stays with the price that the row is about, not with another one from now on.
    stays = known is not None and (row.cells.get("valid_from") or says(known, terms))
    return terms | {"valid_to": known.valid_to if known and stays else None}


def _put(
    batch: CatalogBatch,
    row: Row,
    variant: Variant,
    prices: list[Price],
    terms: dict[str, Any],
    now: datetime,
    outcome: Outcome,
) -> None:
    channel, begins = row.cells["channel"], row.cells.get("valid_from")
    known = price_about(prices, begins, now)
    if known is None:
        outcome.created += 1
    elif says(known, terms):
        outcome.unchanged += 1
        return
    else:
        before = {name: getattr(known, name) for name in terms}
        outcome.add_changes(row.line, f"{variant.sku} {channel}", before, terms)
        outcome.changed += 1
    if not outcome.dry_run:
        put_price(batch, variant, channel, prices, begins, terms)


def export_prices(session: Session, channels: Collection[str]) -> Iterator[tuple[Any, ...]]:
    """Give the prices in these channels that hold or will hold, as `import_prices` takes them."""
    yield from session.execute(
        select(
            Variant.sku,
            Price.channel,
            Price.price_fen,
            Price.price_unit,
            Price.valid_from,
            Price.valid_to,
        )
        .join(Variant, Variant.id == Price.variant_id)
        .where(
            Price.channel.in_(channels),
            or_(Price.valid_to.is_(None), Price.valid_to > clock.now()),
        )
        .order_by(Variant.sku, Price.channel, Price.valid_from)
    )
