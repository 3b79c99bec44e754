"""Lots as CSV: one row per lot, with the codes of its variant, producer and place of origin."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from services.catalog.batch import CatalogBatch
from services.catalog.models import Enterprise, Location, Lot, Product, Variant
from services.catalog.rules import (
    ImpossibleDates,
    LotStatus,
    NoBestBefore,
    WrongLotState,
    best_before_of,
    check_dates,
    check_keeping,
)
from services.catalog.use_cases.goods.enterprises import PRODUCING
from services.catalog.use_cases.stock.ledger import lock_lots
from services.catalog.use_cases.stock.lots import inspect_lot, release_lot
from shared.runtime import clock
from shared.runtime.ids import new_id
from shared.runtime.locks import advisory_lock
from shared.runtime.spreadsheets import Outcome, Row, Sheet

#: The steps of a lot to its release; an import takes a lot to the status of its row.
_WAY = (LotStatus.HARVESTED, LotStatus.INSPECTED, LotStatus.RELEASED)


def import_lots(batch: CatalogBatch, sheet: Sheet, actor: str, dry_run: bool) -> Outcome:
    """Record the lots of a file and take them on their way: inspected, released.

    Without `best_before` the product's shelf life counts from the harvest, without `status` a
    new lot is `harvested`. Lots that are there must be described as they are; holds and recalls
    are not made or lifted by import.

    Raises:
        ImportRefused: a row is wrong; nothing was written.
    """
    rows = sheet.rows
    outcome = sheet.outcome(dry_run)
    advisory_lock(batch.session, "lots")
    lots = _lots(batch.session, [row.cells["lot"] for row in rows])
    if lots and not dry_run:
        # The consumer locks lots in another order: to wait for it costs less than a deadlock.
        advisory_lock(batch.session, "consumer")
        lock_lots(batch, [lot.id for lot in lots.values()])
    facts = _Facts(batch.session, rows)
    seen: dict[str, int] = {}
    todo: list[tuple[Row, dict[str, Any], Lot | None]] = []
    for row in rows:
        lot = lots.get(row.cells["lot"])
        described = facts.describe(row, lot, outcome)
        if row.cells["lot"] in seen:
            outcome.add_error(row.line, "lot", f"is in line {seen[row.cells['lot']]} already")
        seen.setdefault(row.cells["lot"], row.line)
        if described is not None and _fits(lot, row, described, outcome):
            todo.append((row, described, lot))
    outcome.refuse_errors()
    if outcome.errors:
        return outcome
    for row, described, known in todo:
        _put(batch, row, described, known, actor, outcome)
    return outcome


class _Facts:
    """What the codes of a file lead to, looked up once for all rows."""

    def __init__(self, session: Session, rows: Iterable[Row]) -> None:
        cells = [row.cells for row in rows]
        self.variants = {
            variant.sku: variant
            for variant in session.execute(
                select(Variant.sku, Variant.id, Product.shelf_life_days, Product.perishable)
                .join(Product, Product.id == Variant.product_id)
                .where(Variant.sku.in_({cell["sku"] for cell in cells}))
            )
        }
        self.producers = {
            enterprise_code: enterprise_id
            for enterprise_code, enterprise_id, roles in session.execute(
                select(Enterprise.code, Enterprise.id, Enterprise.roles).where(
                    Enterprise.code.in_({cell["producer"] for cell in cells})
                )
            )
            if PRODUCING.intersection(roles)
        }
        self.sites = ids_by_code(session, Location.code, {cell.get("origin") for cell in cells})

    def describe(self, row: Row, lot: Lot | None, outcome: Outcome) -> dict[str, Any] | None:
        """Return the fields of a lot in a row; None if the row has mistakes, which are recorded."""
        cells, before = row.cells, len(outcome.errors)
        variant = self.variants.get(cells["sku"])
        origin = cells.get("origin")
        if variant is None:
            outcome.add_error(row.line, "sku", f"no variant {cells['sku']}")
        if cells["producer"] not in self.producers:
            outcome.add_error(row.line, "producer", f"no producer {cells['producer']}")
        if origin is not None and origin not in self.sites:
            outcome.add_error(row.line, "origin", f"no site {origin}")
        best_before = cells.get("best_before")
        if best_before is None and lot is not None:
            # As it was recorded: the product's shelf life may have changed since.
            best_before = lot.best_before
        elif best_before is None and variant is not None:
            best_before = best_before_of(cells["harvest_date"], variant.shelf_life_days)
        try:
            check_dates(cells["harvest_date"], best_before, clock.today())
            if lot is None and variant is not None:
                check_keeping(variant.perishable, best_before)
        except ImpossibleDates as error:
            outcome.add_error(row.line, "harvest_date", error.detail)
        except NoBestBefore as error:
            outcome.add_error(row.line, "best_before", error.detail)
        if variant is None or len(outcome.errors) > before:
            return None
        described = {
            "variant_id": variant.id,
            "producer_id": self.producers[cells["producer"]],
            "harvest_date": cells["harvest_date"],
            "best_before": best_before,
        }
        if lot is None or "origin" in cells:
            described["origin_site_id"] = None if origin is None else self.sites[origin]
        return described


def ids_by_code(
    session: Session, column: InstrumentedAttribute[str], codes: Iterable[str | None]
) -> dict[str, UUID]:
    """Return the ids of a model's rows by their code, in one statement."""
    model = column.class_
    wanted = {each for each in codes if each is not None}
    return {
        key: id_ for key, id_ in session.execute(select(column, model.id).where(column.in_(wanted)))
    }


def _lots(session: Session, codes: list[str]) -> dict[str, Lot]:
    found = session.scalars(select(Lot).where(Lot.code.in_(codes)))
    return {lot.code: lot for lot in found}


def _fits(lot: Lot | None, row: Row, described: Mapping[str, Any], outcome: Outcome) -> bool:
    """Tell whether a row describes the lot as it is and asks for steps it can take."""
    if lot is not None:
        different = [name for name, value in described.items() if getattr(lot, name) != value]
        if different:
            message = f"lot {lot.code} is recorded with another {', '.join(different)}"
            outcome.add_error(row.line, "lot", message)
            return False
    try:
        _steps(_status(lot), row.cells.get("status"))
    except WrongLotState as error:
        outcome.add_error(row.line, "status", error.detail)
        return False
    return True


def _status(lot: Lot | None) -> str:
    return LotStatus.HARVESTED.value if lot is None else lot.status


def _steps(present: str, wanted: str | None) -> list[LotStatus]:
    """Return the steps from one status to the other, along the way."""
    if wanted is None or wanted == present:
        return []
    if present in _WAY and wanted in _WAY:
        begin, end = _WAY.index(LotStatus(present)), _WAY.index(LotStatus(wanted))
        if begin < end:
            return list(_WAY[begin + 1 : end + 1])
    raise WrongLotState(f"The lot is {present}; an import cannot make it {wanted}.")


def _put(
    batch: CatalogBatch,
    row: Row,
    described: Mapping[str, Any],
    lot: Lot | None,
    actor: str,
    outcome: Outcome,
) -> None:
    steps = _steps(_status(lot), row.cells.get("status"))
    if lot is None:
        outcome.created += 1
    elif steps:
        outcome.add_changes(row.line, lot.code, {"status": lot.status}, {"status": steps[-1].value})
        outcome.changed += 1
    else:
        outcome.unchanged += 1
    if outcome.dry_run:
        return
    if lot is None:
        lot = Lot(
            id=new_id(),
            code=row.cells["lot"],
            status=LotStatus.HARVESTED.value,
            version=0,
            levels=[],
            **described,
        )
        batch.track(Lot.id, lot)
    for step in steps:
        if step is LotStatus.INSPECTED:
            inspect_lot(batch, lot.id)
        else:
            release_lot(batch, lot.id, actor)


def export_lots(session: Session) -> Iterator[tuple[Any, ...]]:
    """Give the rows of all lots as `import_lots` takes them."""
    origin = aliased(Location)
    yield from session.execute(
        select(
            Lot.code,
            Variant.sku,
            Enterprise.code,
            Lot.harvest_date,
            Lot.best_before,
            origin.code,
            Lot.status,
        )
        .join(Variant, Variant.id == Lot.variant_id)
        .join(Enterprise, Enterprise.id == Lot.producer_id)
        .outerjoin(origin, origin.id == Lot.origin_site_id)
        .order_by(Lot.code)
    )
