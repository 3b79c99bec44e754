"""Suspend and resume allotments; a device learns of it at its next contact."""

from uuid import UUID

from sqlalchemy import select

from services.catalog.batch import CatalogBatch
from services.catalog.models import Allotment, Device, Lot
from services.catalog.rules import (
    AllotmentStatus,
    LotStatus,
    Stop,
    WrongAllotmentState,
    WrongLotState,
    outranks,
)
from services.catalog.use_cases.stations.allotments import (
    announce,
    lock_allotment,
    lock_allotments,
    transition,
)
from services.catalog.use_cases.stations.devices import lock_device


def suspend(batch: CatalogBatch, allotment_id: UUID, reason: str, actor: str) -> Allotment:
    """Suspend an allotment: its device sells nothing more of it from its next contact on.

    Repeating it changes nothing. The suspension lasts when a hold of the lot ends.

    Raises:
        AllotmentNotFound: there is none with this id.
        WrongAllotmentState: it is closed.
    """
    _, device, allotment = lock_allotment(batch, allotment_id)
    _stop(device, allotment, Stop.OPERATOR, actor, reason)
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
        _go_on(device, allotment, actor)
    elif allotment.status not in (AllotmentStatus.GRANTED, AllotmentStatus.ACTIVE):
        raise WrongAllotmentState(
            f"The allotment is {allotment.status}, not suspended.", state=allotment.status
        )
    return allotment


def stop_lot(batch: CatalogBatch, lot: Lot, stop: Stop, actor: str, reason: str) -> None:
    """Suspend all allotments of a locked lot, and tell their devices."""
    for device, allotment in _of_lot(batch, lot):
        _stop(device, allotment, stop, actor, reason)


def resume_lot(batch: CatalogBatch, lot: Lot, actor: str) -> None:
    """Resume the allotments of a locked lot that its hold had suspended, and no others."""
    for device, allotment in _of_lot(batch, lot):
        if allotment.reason == Stop.LOT_HELD:
            _go_on(device, allotment, actor)


def _of_lot(batch: CatalogBatch, lot: Lot) -> list[tuple[Device, Allotment]]:
    is_open = Allotment.lot_id == lot.id, Allotment.status != AllotmentStatus.CLOSED.value
    batch.load_for_update(
        Device.id, batch.session.scalars(select(Allotment.device_id).where(*is_open))
    )
    return [
        (lock_device(batch, allotment.device_id), allotment)
        for allotment in lock_allotments(batch, *is_open)
    ]


def _stop(device: Device, allotment: Allotment, stop: Stop, actor: str, words: str) -> None:
    if not outranks(stop, allotment.reason):
        return
    transition(allotment, AllotmentStatus.SUSPENDED)
    allotment.reason = stop.value
    allotment.actor, allotment.note = actor, words
    if stop is Stop.LOT_RECALLED:
        allotment.proposed_return = allotment.remaining
    announce(device, allotment)


def _go_on(device: Device, allotment: Allotment, actor: str) -> None:
    transition(allotment, AllotmentStatus.GRANTED)
    allotment.reason, allotment.actor, allotment.note = None, actor, None
    allotment.proposed_return = 0
    announce(device, allotment)
