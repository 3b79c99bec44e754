"""The stock ledger: only this module changes a balance, and each change has a movement.

A balance (`StockLevel`) is changed under the lock of its lot's row. The movement, between two
accounts, commits in the same transaction as the balance it explains.
"""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy.orm import selectinload

from services.catalog.batch import CatalogBatch
from services.catalog.models import Lot, StockLevel, StockMovement
from services.catalog.rules import Account, Bucket, Reason
from shared.runtime import clock, tracing
from shared.runtime.errors import Conflict, NotFound
from shared.runtime.ids import new_id

#: Made once: it is passed for each line of each order.
_WITH_LEVELS = selectinload(Lot.levels)


class LotNotFound(NotFound):
    """Raised when no lot has this id."""


class OutOfStock(Conflict):
    """Raised when a bucket has less than would be taken from it."""


def lock_lots(batch: CatalogBatch, lot_ids: Iterable[UUID]) -> None:
    """Lock these lots in the order of their ids and load their levels, in two statements.

    The levels are read after the lock is held, so they cannot be older than it.
    """
    batch.load_for_update(Lot.id, lot_ids, _WITH_LEVELS)


def lock_lot(batch: CatalogBatch, lot_id: UUID) -> Lot:
    """Return a lot with its levels, locked until the transaction ends.

    Raises:
        LotNotFound: there is none with this id.
    """
    lock_lots(batch, (lot_id,))
    lot: Lot | None = batch.get_for_update(Lot.id, lot_id)
    if lot is None:
        raise LotNotFound(f"There is no lot {lot_id}.")
    return lot


def level_at(lot: Lot, location_id: UUID) -> StockLevel:
    """Return the lot's level at a location; a new one, all zero, if there is none."""
    for level in lot.levels:
        if level.location_id == location_id:
            return level
    level = StockLevel(lot_id=lot.id, location_id=location_id, **{b.value: 0 for b in Bucket})
    lot.levels.append(level)
    return level


def move(
    batch: CatalogBatch,
    level: StockLevel,
    source: Bucket | Account,
    target: Bucket | Account,
    quantity: int,
    reason: Reason,
    *,
    actor: str,
    order_id: UUID | None = None,
    allotment_id: UUID | None = None,
    sale_id: UUID | None = None,
) -> None:
    """Move `quantity` from one account to the other, at one level whose lot is locked.

    Raises:
        OutOfStock: the source bucket has less; nothing is moved in part.
    """
    if isinstance(source, Bucket):
        left = getattr(level, source) - quantity
        if left < 0:
            raise OutOfStock(
                f"{quantity} asked for, {left + quantity} {source}.",
                bucket=str(source),
                requested=quantity,
                present=left + quantity,
            )
        setattr(level, source, left)
    if isinstance(target, Bucket):
        setattr(level, target, getattr(level, target) + quantity)
    cause = tracing.get_or_new()
    batch.append(
        StockMovement,
        id=new_id(),
        lot_id=level.lot_id,
        location_id=level.location_id,
        from_bucket=source.value,
        to_bucket=target.value,
        quantity=quantity,
        reason=reason.value,
        order_id=order_id,
        allotment_id=allotment_id,
        sale_id=sale_id,
        cause=cause.causation_id or cause.correlation_id,
        actor=actor,
        at=clock.now(),
    )
