"""Settle overdrafts: sales beyond what their devices were granted."""

from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from services.catalog.batch import CatalogBatch
from services.catalog.models import Lot, Overdraft, StockLevel
from services.catalog.rules import (
    Account,
    Bucket,
    OverdraftStatus,
    Reason,
    Sold,
)
from services.catalog.use_cases.stock.ledger import OutOfStock, lock_lots, move
from services.catalog.use_cases.stock.picking import open_centres
from shared.events import OverdraftSettled
from shared.runtime import clock
from shared.runtime.errors import Conflict, NotFound


class OverdraftNotFound(NotFound):
    """Raised when no overdraft has this sale id."""


class OverdraftDecided(Conflict):
    """Raised when an overdraft is settled already."""


def settle(
    batch: CatalogBatch, sale_id: UUID, resolution: str, reason: str, actor: str
) -> Overdraft:
    """Settle an overdraft: cover the sale from stock, or record that nothing covers it.

    `cover` takes, line by line, free stock at the device's site, then at an open centre. It never
    takes allotted stock, not even of the device itself: the device may have sold it and not
    uploaded that sale yet, which would then be disputed. Goods that a count finds must be counted
    first. `lose` moves no stock: the goods were never in the books, or are written off already.

    Raises:
        OverdraftNotFound: there is none for this sale.
        OverdraftDecided: it is settled already.
        OutOfStock: there is not enough to cover it. Nothing is covered in part.
    """
    found = batch.session.scalar(select(Overdraft.lines).where(Overdraft.sale_id == sale_id))
    if found is None:
        raise OverdraftNotFound(f"No sale {sale_id} is uncovered.")
    lock_lots(batch, {line.lot_id for line in map(Sold.from_json, found)})
    overdraft: Overdraft | None = batch.get_for_update(Overdraft.sale_id, sale_id)
    assert overdraft is not None
    if overdraft.status != OverdraftStatus.OPEN:
        raise OverdraftDecided(f"The sale is {overdraft.status} already.", state=overdraft.status)
    if resolution == "cover":
        _cover(batch, overdraft, actor)
    status = OverdraftStatus.COVERED if resolution == "cover" else OverdraftStatus.LOST
    overdraft.status, overdraft.changed_at = status.value, clock.now()
    overdraft.settled_by, overdraft.settled_reason = actor, reason
    batch.record(overdraft, OverdraftSettled(sale_id=sale_id, resolution=status.value))
    return overdraft


def _cover(batch: CatalogBatch, overdraft: Overdraft, actor: str) -> None:
    for line in map(Sold.from_json, overdraft.lines):
        missing = line.quantity
        for level in _free_levels(batch, overdraft, line):
            quantity = min(level.available, missing)
            if quantity:
                move(
                    batch,
                    level,
                    Bucket.AVAILABLE,
                    Account.CONSUMED,
                    quantity,
                    Reason.CONSUMED,
                    actor=actor,
                    sale_id=overdraft.sale_id,
                )
                missing -= quantity
        if missing:
            raise OutOfStock(
                f"{missing} of lot {line.lot_id} are nowhere to be taken from.",
                lot_id=str(line.lot_id),
                requested=line.quantity,
                present=line.quantity - missing,
            )


def _free_levels(batch: CatalogBatch, overdraft: Overdraft, line: Sold) -> list[StockLevel]:
    lot: Lot | None = batch.get_for_update(Lot.id, line.lot_id)
    if lot is None:
        return []
    serving = sorted(open_centres(batch), key=str)
    places = list(dict.fromkeys([overdraft.site_id, *serving]))
    levels = [level for level in lot.levels if level.location_id in places]
    return sorted(levels, key=lambda level: places.index(level.location_id))


def select_overdrafts(
    is_open: bool | None = None, device_id: UUID | None = None
) -> Select[Overdraft]:
    """Return the query for overdrafts; without `is_open` both open and settled ones."""
    statement = select(Overdraft)
    if is_open is not None:
        open_ones = Overdraft.status == OverdraftStatus.OPEN.value
        statement = statement.where(open_ones if is_open else ~open_ones)
    if device_id is not None:
        statement = statement.where(Overdraft.device_id == device_id)
    return statement


def count_open(session: Session, device_ids: Any) -> dict[UUID, int]:
    """Return the number of open overdrafts of each of these devices that has any."""
    rows = session.execute(
        select(Overdraft.device_id, func.count())
        .where(Overdraft.status == OverdraftStatus.OPEN.value, Overdraft.device_id.in_(device_ids))
        .group_by(Overdraft.device_id)
    )
    return {device_id: count for device_id, count in rows}
