"""Decide what covers sales that their devices had no right to make."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from services.catalog.models import Allotment, Device, Lot, Overdraft, StockLevel
from services.catalog.rules import (
    Account,
    AllotmentStatus,
    Bucket,
    OverdraftStatus,
    Reason,
    Sold,
    sold_of,
)
from services.catalog.use_cases.allotments import lock_allotments, tell
from services.catalog.use_cases.ledger import OutOfStock, level_at, lock_lots, move
from services.catalog.use_cases.shelves import centres
from shared import clock
from shared.errors import Conflict, NotFound
from shared.events import OverdraftSettled
from shared.outbox import record
from shared.rows import lock_rows, locked


class OverdraftNotFound(NotFound):
    """Raised when no sale with this id is, or was, uncovered."""


class OverdraftDecided(Conflict):
    """Raised when it is decided already what covers a sale."""


def settle(session: Session, sale_id: UUID, resolution: str, reason: str, actor: str) -> Overdraft:
    """Cover a sale from stock, or book that nothing does.

    `cover` takes, line by line, what the device's open allotments of the lot have left (of its
    present epoch first), then what is free at its site, then at an open centre. `lose` moves no
    stock: what was sold was never in the books, or is written off already.

    Raises:
        OverdraftNotFound: no such sale is uncovered.
        OverdraftDecided: it is decided already.
        OutOfStock: there is not enough to cover it. Nothing is covered in part.
    """
    found = session.execute(
        select(Overdraft.lines, Overdraft.device_id).where(Overdraft.sale_id == sale_id)
    ).one_or_none()
    if found is None:
        raise OverdraftNotFound(f"No sale {sale_id} is uncovered.")
    lot_ids = {line.lot_id for line in sold_of(found.lines)}
    lock_lots(session, lot_ids)
    lock_rows(session, Device.id, (found.device_id,))
    allotments = lock_allotments(
        session,
        Allotment.device_id == found.device_id,
        Allotment.lot_id.in_(lot_ids),
        Allotment.status != AllotmentStatus.CLOSED.value,
    )
    overdraft: Overdraft | None = locked(session, Overdraft.sale_id, sale_id)
    assert overdraft is not None
    if overdraft.status != OverdraftStatus.OPEN:
        raise OverdraftDecided(f"The sale is {overdraft.status} already.", state=overdraft.status)
    if resolution == "cover":
        _cover(session, overdraft, list(allotments), actor)
    status = OverdraftStatus.COVERED if resolution == "cover" else OverdraftStatus.LOST
    overdraft.status, overdraft.changed_at = status.value, clock.now()
    overdraft.settled_by, overdraft.settled_reason = actor, reason
    record(session, OverdraftSettled, overdraft, sale_id=sale_id, resolution=status.value)
    return overdraft


@dataclass(frozen=True)
class _Source:
    """Something that can cover a lot: how much it has, and how it is taken."""

    left: Callable[[], int]
    take: Callable[[int], None]


def _cover(session: Session, overdraft: Overdraft, allotments: list[Allotment], actor: str) -> None:
    allotments.sort(key=lambda a: (a.epoch != overdraft.epoch, -a.epoch))
    for line in sold_of(overdraft.lines):
        missing = line.quantity
        for source in _sources(session, overdraft, line, allotments, actor):
            quantity = min(source.left(), missing)
            if quantity:
                source.take(quantity)
                missing -= quantity
        if missing:
            raise OutOfStock(
                f"{missing} of lot {line.lot_id} are nowhere to be taken from.",
                lot_id=str(line.lot_id),
                requested=line.quantity,
                present=line.quantity - missing,
            )


def _sources(
    session: Session, overdraft: Overdraft, line: Sold, allotments: list[Allotment], actor: str
) -> Iterator[_Source]:
    lot: Lot | None = locked(session, Lot.id, line.lot_id)
    if lot is None:
        return
    for allotment in allotments:
        if allotment.lot_id == line.lot_id:
            yield _allotted(session, overdraft, lot, allotment, actor)
    serving = sorted(centres(session), key=str)
    for location_id in dict.fromkeys([overdraft.site_id, *serving]):
        level = next((each for each in lot.levels if each.location_id == location_id), None)
        if level is not None:
            yield _free(session, overdraft, level, actor)


def _allotted(
    session: Session, overdraft: Overdraft, lot: Lot, allotment: Allotment, actor: str
) -> _Source:
    def take(quantity: int) -> None:
        allotment.quota = allotment.quota.sell(quantity)
        device: Device | None = locked(session, Device.id, allotment.device_id)
        assert device is not None
        tell(device, allotment)
        move(
            session,
            level_at(lot, allotment.site_id),
            Bucket.ALLOTTED,
            Account.CONSUMED,
            quantity,
            Reason.CONSUMED,
            actor=actor,
            allotment_id=allotment.id,
            sale_id=overdraft.sale_id,
        )

    return _Source(lambda: allotment.remaining, take)


def _free(session: Session, overdraft: Overdraft, level: StockLevel, actor: str) -> _Source:
    def take(quantity: int) -> None:
        move(
            session,
            level,
            Bucket.AVAILABLE,
            Account.CONSUMED,
            quantity,
            Reason.CONSUMED,
            actor=actor,
            sale_id=overdraft.sale_id,
        )

    return _Source(lambda: level.available, take)


def select_overdrafts(
    is_open: bool | None = None, device_id: UUID | None = None
) -> Select[Overdraft]:
    """Return the query for uncovered sales, also those decided unless `is_open` is given."""
    statement = select(Overdraft)
    if is_open is not None:
        open_ones = Overdraft.status == OverdraftStatus.OPEN.value
        statement = statement.where(open_ones if is_open else ~open_ones)
    if device_id is not None:
        statement = statement.where(Overdraft.device_id == device_id)
    return statement


def count_open(session: Session, device_ids: Any) -> dict[UUID, int]:
    """Return how many uncovered sales each of these devices has, if any."""
    rows = session.execute(
        select(Overdraft.device_id, func.count())
        .where(Overdraft.status == OverdraftStatus.OPEN.value, Overdraft.device_id.in_(device_ids))
        .group_by(Overdraft.device_id)
    )
    return {device_id: count for device_id, count in rows}
