"""Suspend and resume allotments; a device learns of it at its next contact."""

from uuid import UUID

from sqlalchemy import select

from services.catalog.batch import CatalogBatch
from services.catalog.models import Allotment, Device, Lot
from services.catalog.rules import (
    AllotmentStatus,
    LotStatus,
    SuspensionReason,
    WrongAllotmentState,
    WrongLotState,
    outranks,
)
from services.catalog.use_cases.stations.allotments import (
    assign_revision,
    lock_allotment,
    lock_allotments,
    transition,
)
from services.catalog.use_cases.stations.devices import lock_device


def suspend(batch: CatalogBatch, allotment_id: UUID, reason: str, actor: str) -> Allotment:
    """Suspend an allotment: its device sells nothing more of it from its next contact on.

    Repeating it changes nothing. The suspension stays when a hold of the lot ends.

    Raises:
        AllotmentNotFound: there is none with this id.
        WrongAllotmentState: it is closed.
    """
    _, device, allotment = lock_allotment(batch, allotment_id)
    _suspend(device, allotment, SuspensionReason.OPERATOR, actor, reason)
    return allotment


def resume(batch: CatalogBatch, allotment_id: UUID, actor: str) -> Allotment:
    """Resume a suspended allotment. Repeating it changes nothing.

    Raises:
        AllotmentNotFound: there is none with this id.
        WrongAllotmentState: it is neither suspended nor running.
        WrongLotState: the lot itself must not be sold.
    """
    lot, device, allotment = lock_allotment(batch, allotment_id)
    if lot.status != LotStatus.RELEASED:
        raise WrongLotState(f"The lot is {lot.status}; release it first.", state=lot.status)
    if allotment.status == AllotmentStatus.SUSPENDED:
        _resume(device, allotment, actor)
    elif allotment.status not in (AllotmentStatus.GRANTED, AllotmentStatus.ACTIVE):
        raise WrongAllotmentState(
            f"The allotment is {allotment.status}, not suspended.", state=allotment.status
        )
    return allotment


def suspend_lot(
    batch: CatalogBatch, lot: Lot, reason: SuspensionReason, actor: str, note: str
) -> None:
    """Suspend all allotments of a locked lot; each device learns of it at its next contact."""
    for device, allotment in _of_lot(batch, lot):
        _suspend(device, allotment, reason, actor, note)


def resume_lot(batch: CatalogBatch, lot: Lot, actor: str) -> None:
    """Resume the allotments of a locked lot that its hold had suspended, and no others."""
    for device, allotment in _of_lot(batch, lot):
        if allotment.reason == SuspensionReason.LOT_HELD:
            _resume(device, allotment, actor)


def _of_lot(batch: CatalogBatch, lot: Lot) -> list[tuple[Device, Allotment]]:
    is_open = Allotment.lot_id == lot.id, Allotment.status != AllotmentStatus.CLOSED.value
    batch.load_for_update(
        Device.id, batch.session.scalars(select(Allotment.device_id).where(*is_open))
    )
    return [
        (lock_device(batch, allotment.device_id), allotment)
        for allotment in lock_allotments(batch, *is_open)
    ]


def _suspend(
    device: Device, allotment: Allotment, reason: SuspensionReason, actor: str, note: str
) -> None:
    if not outranks(reason, allotment.reason):
        return
    transition(allotment, AllotmentStatus.SUSPENDED)
    allotment.reason = reason.value
    allotment.actor, allotment.note = actor, note
    if reason is SuspensionReason.LOT_RECALLED:
        allotment.proposed_return = allotment.remaining
    assign_revision(device, allotment)


def _resume(device: Device, allotment: Allotment, actor: str) -> None:
    transition(allotment, AllotmentStatus.GRANTED)
    allotment.reason, allotment.actor, allotment.note = None, actor, None
    allotment.proposed_return = 0
    assign_revision(device, allotment)
