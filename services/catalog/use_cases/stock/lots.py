"""Record lots, and release, hold or recall them."""

from datetime import date
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from services.catalog.batch import CatalogBatch
from services.catalog.models import Enterprise, Lot, Product, Variant
from services.catalog.rules import (
    Bucket,
    LotStatus,
    Reason,
    SuspensionReason,
    best_before_of,
    check_dates,
    check_keeping,
    free_bucket,
    lot_step,
)
from services.catalog.use_cases.goods.enterprises import PRODUCING
from services.catalog.use_cases.stations import allotment_suspensions
from services.catalog.use_cases.stock.ledger import LotNotFound, lock_lot, move
from services.catalog.use_cases.stock.locations import existing_location
from shared.events import LotHeld, LotRecalled, LotReleased
from shared.runtime import clock
from shared.runtime.errors import Conflict, Unprocessable
from shared.runtime.locks import advisory_lock
from shared.runtime.paging import filtered

#: The reason in the events of a hold and a recall, which integrators may read.
PUBLISHED_REASON = "operator"


class LotCodeTaken(Conflict):
    """Raised when the code belongs to a lot that was described otherwise."""


class UnknownVariant(Unprocessable):
    """Raised when a variant is named that is not in the catalogue."""


class UnknownProducer(Unprocessable):
    """Raised when the producer is not registered, or registered as something else."""


def record_lot(
    batch: CatalogBatch,
    code: str,
    variant_id: UUID,
    producer_id: UUID,
    harvest_date: date,
    best_before: date | None = None,
    origin_site_id: UUID | None = None,
) -> Lot:
    """Record a producer's harvest as a lot; an equal one again returns the existing lot.

    Without `best_before` the product's shelf life counts from the harvest. The lot can be
    received at once, and sold after inspection and release.

    Raises:
        LotCodeTaken: the code is taken by a lot that differs.
        UnknownVariant, UnknownProducer, UnknownLocation: one of the ids leads nowhere.
        ImpossibleDates: the dates contradict each other or the calendar.
        NoBestBefore: the product is perishable and no date follows from anything.
    """
    advisory_lock(batch.session, "lots")
    keeping = batch.session.execute(
        select(Product.shelf_life_days, Product.perishable)
        .join(Variant, Variant.product_id == Product.id)
        .where(Variant.id == variant_id)
    ).one_or_none()
    if keeping is None:
        raise UnknownVariant(f"No variant {variant_id} is in the catalogue.")
    producer = batch.session.get(Enterprise, producer_id)
    if producer is None or not PRODUCING.intersection(producer.roles):
        raise UnknownProducer(f"{producer_id} is not registered as a producer.")
    if origin_site_id is not None:
        existing_location(batch.session, origin_site_id)
    known = batch.session.scalars(select(Lot).where(Lot.code == code)).one_or_none()
    if best_before is None:
        # As it was recorded: the product's shelf life may have changed since.
        best_before = (
            best_before_of(harvest_date, keeping.shelf_life_days)
            if known is None
            else known.best_before
        )
    check_dates(harvest_date, best_before, clock.today())
    facts = {
        "variant_id": variant_id,
        "producer_id": producer_id,
        "harvest_date": harvest_date,
        "best_before": best_before,
        "origin_site_id": origin_site_id,
    }
    if known is not None:
        if any(getattr(known, name) != value for name, value in facts.items()):
            raise LotCodeTaken(
                f"Code {code} belongs to a lot that differs; choose another code.",
                lot_id=str(known.id),
            )
        return known
    check_keeping(keeping.perishable, best_before)
    lot = Lot(code=code, levels=[], **facts)
    batch.session.add(lot)
    batch.session.flush()
    return lot


def inspect_lot(batch: CatalogBatch, lot_id: UUID) -> Lot:
    """Record that a lot passed inspection; repeating it changes nothing.

    Raises:
        LotNotFound: there is none with this id.
        WrongLotState: it was released before.
    """
    lot = lock_lot(batch, lot_id)
    lot.status = lot_step(LotStatus(lot.status), LotStatus.INSPECTED).value
    return lot


def release_lot(batch: CatalogBatch, lot_id: UUID, actor: str) -> Lot:
    """Let a lot be sold: after inspection, or again after a hold. Repeating it changes nothing.

    Allotments that the hold had suspended are resumed; those that an operator suspended are not.

    Raises:
        LotNotFound: there is none with this id.
        WrongLotState: it is not inspected yet, or recalled.
    """
    lot = lock_lot(batch, lot_id)
    held = lot.status == LotStatus.HELD
    if _transition(batch, lot, LotStatus.RELEASED, None, actor):
        if held:
            allotment_suspensions.resume_lot(batch, lot, actor)
        batch.record(
            lot,
            LotReleased(
                lot_id=lot.id,
                lot_code=lot.code,
                variant_id=lot.variant_id,
                producer_id=lot.producer_id,
                best_before=lot.best_before,
            ),
        )
    return lot


def hold_lot(batch: CatalogBatch, lot_id: UUID, reason: str, actor: str) -> Lot:
    """Stop selling a lot, at all locations, until it is released again.

    Reserved stock stays reserved and waits: logistics stops each parcel with goods of the lot.
    Devices stop selling it at their next contact. Repeating it changes nothing.

    Raises:
        LotNotFound: there is none with this id.
        WrongLotState: it was not on sale.
    """
    lot = lock_lot(batch, lot_id)
    if _transition(batch, lot, LotStatus.HELD, reason, actor):
        allotment_suspensions.suspend_lot(batch, lot, SuspensionReason.LOT_HELD, actor, reason)
        batch.record(lot, LotHeld(lot_id=lot.id, reason=PUBLISHED_REASON))
    return lot


def recall_lot(batch: CatalogBatch, lot_id: UUID, reason: str, actor: str) -> Lot:
    """Stop selling a lot for good. Repeating it changes nothing.

    Free stock is quarantined, and devices stop selling it at their next contact. Reserved stock
    stays reserved until orders asks for other stock (`reserve_again`): only orders and logistics
    know which goods have left. Goods that come back are not for sale.

    Raises:
        LotNotFound: there is none with this id.
        WrongLotState: it was never on sale.
    """
    lot = lock_lot(batch, lot_id)
    if _transition(batch, lot, LotStatus.RECALLED, reason, actor):
        allotment_suspensions.suspend_lot(batch, lot, SuspensionReason.LOT_RECALLED, actor, reason)
        batch.record(lot, LotRecalled(lot_id=lot.id, reason=PUBLISHED_REASON))
    return lot


def _transition(
    batch: CatalogBatch, lot: Lot, status: LotStatus, reason: str | None, actor: str
) -> bool:
    """Change the status of a locked lot and move its free stock; False: it has that status."""
    if lot.status == lot_step(LotStatus(lot.status), status):
        return False
    before, after = free_bucket(lot.status), free_bucket(status)
    lot.status, lot.status_reason = status.value, reason
    if before != after:
        why = Reason.RELEASED if after is Bucket.AVAILABLE else Reason.QUARANTINED
        for level in lot.levels:
            quantity = getattr(level, before)
            if quantity:
                move(batch, level, before, after, quantity, why, actor=actor)
    return True


def get_lot(session: Session, lot_id: UUID) -> Lot:
    """Return a lot.

    Raises:
        LotNotFound: there is none with this id.
    """
    lot = session.get(Lot, lot_id)
    if lot is None:
        raise LotNotFound(f"There is no lot {lot_id}.")
    return lot


def select_lots(
    code: str | None = None,
    variant_id: UUID | None = None,
    producer_id: UUID | None = None,
    status: str | None = None,
) -> Select[Lot]:
    """Return the query for lots, with the given filters."""
    return filtered(
        select(Lot),
        {
            Lot.code: code,
            Lot.variant_id: variant_id,
            Lot.producer_id: producer_id,
            Lot.status: status,
        },
    )
