"""What devices may sell while cut off: allotments are found, locked and changed here.

Locks are always taken in this order: lots, then devices, then allotments, each in the order of
their ids. A grant needs the lot's lock, so the holder of that lock sees all allotments of the lot.
Devices cannot be locked first, because a hold or a recall begins with the lot. Only `sold` changes
without the device's lock.
"""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select

from services.catalog.batch import AllotmentKey, CatalogBatch
from services.catalog.models import Allotment, Device, Lot
from services.catalog.rules import AllotmentStatus, allotment_step
from services.catalog.use_cases.stations.devices import lock_device
from services.catalog.use_cases.stock.ledger import lock_lot, lock_lots
from shared.runtime import clock
from shared.runtime.errors import NotFound
from shared.runtime.paging import filtered


class AllotmentNotFound(NotFound):
    """Raised when no allotment has this id, or it belongs to another device."""


def lock_allotments(batch: CatalogBatch, *which: Any) -> Sequence[Allotment]:
    """Lock and load the allotments that fulfil the conditions, in the order of their ids.

    The caller has locked their lots, and their devices unless only `sold` will change.
    """
    rows = batch.session.scalars(
        select(Allotment)
        .where(*which)
        .order_by(Allotment.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    for row in rows:
        track_allotment(batch, row)
    return rows


def track_allotment(batch: CatalogBatch, allotment: Allotment) -> None:
    """Let `allotment_of` find a new or locked allotment without a statement."""
    batch.allotments[allotment.device_id, allotment.epoch, allotment.lot_id] = allotment


def lock_by_key(batch: CatalogBatch, keys: Iterable[AllotmentKey]) -> None:
    """Lock the allotments with these keys in one statement.

    A key without a row is known as missing afterwards.
    """
    wanted = {key for key in keys if key not in batch.allotments}
    if not wanted:
        return
    batch.allotments.update(dict.fromkeys(wanted))
    device_ids, lot_ids = {key[0] for key in wanted}, {key[2] for key in wanted}
    lock_allotments(batch, Allotment.device_id.in_(device_ids), Allotment.lot_id.in_(lot_ids))


def allotment_of(
    batch: CatalogBatch, device_id: UUID, epoch: int, lot_id: UUID
) -> Allotment | None:
    """Return the locked allotment of a lot to an epoch of a device; None: there is none."""
    lock_by_key(batch, [(device_id, epoch, lot_id)])
    return batch.allotments[device_id, epoch, lot_id]


def lock_for_allotments(batch: CatalogBatch, allotment_ids: Iterable[UUID]) -> None:
    """Lock these allotments with their lots and devices, in a fixed number of statements."""
    wanted = Allotment.id.in_(list(allotment_ids))
    found = batch.session.execute(select(Allotment.lot_id, Allotment.device_id).where(wanted)).all()
    lock_lots(batch, {row.lot_id for row in found})
    batch.load_for_update(Device.id, {row.device_id for row in found})
    lock_allotments(batch, wanted)


def lock_allotment(batch: CatalogBatch, allotment_id: UUID) -> tuple[Lot, Device, Allotment]:
    """Return an allotment with its lot and its device, all locked.

    Raises:
        AllotmentNotFound: there is none with this id.
    """
    found = batch.session.execute(
        select(Allotment.lot_id, Allotment.device_id).where(Allotment.id == allotment_id)
    ).one_or_none()
    if found is None:
        raise AllotmentNotFound(f"There is no allotment {allotment_id}.")
    lot = lock_lot(batch, found.lot_id)
    device = lock_device(batch, found.device_id)
    (allotment,) = lock_allotments(batch, Allotment.id == allotment_id)
    return lot, device, allotment


def select_allotments(
    device_id: UUID | None = None,
    lot_id: UUID | None = None,
    site_id: UUID | None = None,
    status: str | None = None,
) -> Select[Allotment]:
    """Return the query for allotments, with the given filters."""
    return filtered(
        select(Allotment),
        {
            Allotment.device_id: device_id,
            Allotment.lot_id: lot_id,
            Allotment.site_id: site_id,
            Allotment.status: status,
        },
    )


def assign_revision(device: Device, allotment: Allotment) -> None:
    """Give a changed allotment the device's next revision, so that its machine fetches it.

    Device and allotment are locked.
    """
    device.revision += 1
    allotment.revision = device.revision
    allotment.changed_at = clock.now()


def transition(allotment: Allotment, status: AllotmentStatus) -> None:
    """Change the status of a locked allotment.

    Raises:
        WrongAllotmentState: there is no transition from its status to the new one.
    """
    allotment.status = allotment_step(allotment.status, status).value


def end(device: Device, allotment: Allotment) -> None:
    """Close a locked allotment of which nothing is left, unless it is closed."""
    if allotment.status == AllotmentStatus.CLOSED:
        return
    transition(allotment, AllotmentStatus.CLOSED)
    allotment.reason, allotment.proposed_return = None, 0
    assign_revision(device, allotment)
