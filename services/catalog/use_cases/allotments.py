"""What devices may sell while cut off: found, stopped, let go on, returned, counted, closed.

Locks are always taken in this order: lots, then devices, then allotments, each in the order of
their ids. Whoever holds a lot's lock knows all its allotments, since a grant needs it too; a
stop of a lot begins there, which is why devices cannot come first. `sold` alone changes without
the device's lock.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from services.catalog.models import Allotment, AllotmentCount, Device, Lot, StockLevel
from services.catalog.rules import (
    Account,
    AllotmentNotEmpty,
    AllotmentStatus,
    BeyondRemaining,
    Bucket,
    LotStatus,
    Quota,
    Reason,
    Stop,
    WrongAllotmentState,
    WrongLotState,
    allotment_step,
    free_bucket,
    outranks,
)
from services.catalog.use_cases.devices import locked_device
from services.catalog.use_cases.ledger import level_at, lock_lots, locked_lot, move
from services.catalog.use_cases.locations import open_location_of
from shared import clock
from shared.errors import NotFound
from shared.events import (
    AllotmentClosed,
    AllotmentResumed,
    AllotmentReturned,
    AllotmentSuspended,
    AllotmentWrittenOff,
)
from shared.outbox import record
from shared.rows import lock_rows

#: Sold out allotments that are closed in one transaction.
CLOSED_AT_ONCE = 200
#: (device, epoch, lot): there is one allotment for each.
Name = tuple[UUID, int, UUID]


class AllotmentNotFound(NotFound):
    """Raised when no allotment has this id, or it is not the asker's."""


# --- Found and locked --------------------------------------------------------------------------


def lock_allotments(session: Session, *which: Any) -> Sequence[Allotment]:
    """Lock and load the allotments that fulfil the conditions, in the order of their ids.

    Their lots are locked before; their devices, unless only `sold` is to change.
    """
    rows = session.scalars(
        select(Allotment)
        .where(*which)
        .order_by(Allotment.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    for row in rows:
        remember_allotment(session, row)
    return rows


def _known(session: Session) -> dict[Name, Allotment | None]:
    known: dict[Name, Allotment | None] = session.info.setdefault("allotments", {})
    return known


def remember_allotment(session: Session, allotment: Allotment) -> None:
    """Let `allotment_of` find a new or locked allotment without a statement."""
    _known(session)[allotment.device_id, allotment.epoch, allotment.lot_id] = allotment


def lock_named(session: Session, names: Iterable[Name]) -> None:
    """Lock the allotments with these names in one statement; a missing one is remembered so."""
    known = _known(session)
    wanted = {name for name in names if name not in known}
    if not wanted:
        return
    known.update(dict.fromkeys(wanted))
    device_ids, lot_ids = {name[0] for name in wanted}, {name[2] for name in wanted}
    lock_allotments(session, Allotment.device_id.in_(device_ids), Allotment.lot_id.in_(lot_ids))


def allotment_of(session: Session, device_id: UUID, epoch: int, lot_id: UUID) -> Allotment | None:
    """Return what an epoch of a device was ever granted of a lot, locked; None: nothing."""
    lock_named(session, [(device_id, epoch, lot_id)])
    return _known(session)[device_id, epoch, lot_id]


def locked_allotment(session: Session, allotment_id: UUID) -> tuple[Lot, Device, Allotment]:
    """Return an allotment with its lot and its device, all locked.

    Raises:
        AllotmentNotFound: there is none with this id.
    """
    found = session.execute(
        select(Allotment.lot_id, Allotment.device_id).where(Allotment.id == allotment_id)
    ).one_or_none()
    if found is None:
        raise AllotmentNotFound(f"There is no allotment {allotment_id}.")
    lot = locked_lot(session, found.lot_id)
    device = locked_device(session, found.device_id)
    (allotment,) = lock_allotments(session, Allotment.id == allotment_id)
    return lot, device, allotment


def select_allotments(
    device_id: UUID | None = None,
    lot_id: UUID | None = None,
    site_id: UUID | None = None,
    status: str | None = None,
) -> Select[Allotment]:
    """Return the query for allotments, narrowed by what is given."""
    statement = select(Allotment)
    if device_id is not None:
        statement = statement.where(Allotment.device_id == device_id)
    if lot_id is not None:
        statement = statement.where(Allotment.lot_id == lot_id)
    if site_id is not None:
        statement = statement.where(Allotment.site_id == site_id)
    if status is not None:
        statement = statement.where(Allotment.status == status)
    return statement


def tell(device: Device, allotment: Allotment) -> None:
    """Note that a device must hear of a change of its allotment; both are locked."""
    device.revision += 1
    allotment.revision = device.revision
    allotment.changed_at = clock.now()


# --- Stopped, and let go on --------------------------------------------------------------------


def suspend(session: Session, allotment_id: UUID, reason: str, actor: str) -> Allotment:
    """Let a device sell nothing more of an allotment, from its next contact on.

    Repeating it changes nothing, and so does suspending what a hold or recall has stopped.

    Raises:
        AllotmentNotFound: there is none with this id.
        WrongAllotmentState: it is closed.
    """
    _, device, allotment = locked_allotment(session, allotment_id)
    _stop(session, device, allotment, Stop.OPERATOR, actor, reason)
    return allotment


def resume(session: Session, allotment_id: UUID, actor: str) -> Allotment:
    """Let a device sell again from a suspended allotment. Repeating it changes nothing.

    Raises:
        AllotmentNotFound: there is none with this id.
        WrongAllotmentState: it is neither suspended nor running.
        WrongLotState: the lot itself must not be sold.
    """
    lot, device, allotment = locked_allotment(session, allotment_id)
    if lot.status != LotStatus.RELEASED:
        raise WrongLotState(f"The lot is {lot.status}; release it first.", state=lot.status)
    if allotment.status == AllotmentStatus.SUSPENDED:
        _go_on(session, device, allotment, actor)
    elif allotment.status not in (AllotmentStatus.GRANTED, AllotmentStatus.ACTIVE):
        raise WrongAllotmentState(
            f"The allotment is {allotment.status}, not suspended.", state=allotment.status
        )
    return allotment


def stop_lot(session: Session, lot: Lot, stop: Stop, actor: str, reason: str) -> None:
    """Suspend all allotments of a locked lot; each device must hear of it."""
    for device, allotment in _of_lot(session, lot):
        _stop(session, device, allotment, stop, actor, reason)


def resume_lot(session: Session, lot: Lot, actor: str) -> None:
    """Let the allotments of a locked lot go on that its hold had stopped; no others."""
    for device, allotment in _of_lot(session, lot):
        if allotment.reason == Stop.LOT_HELD:
            _go_on(session, device, allotment, actor)


def _of_lot(session: Session, lot: Lot) -> list[tuple[Device, Allotment]]:
    is_open = Allotment.lot_id == lot.id, Allotment.status != AllotmentStatus.CLOSED.value
    lock_rows(session, Device.id, session.scalars(select(Allotment.device_id).where(*is_open)))
    return [
        (locked_device(session, allotment.device_id), allotment)
        for allotment in lock_allotments(session, *is_open)
    ]


def _stop(
    session: Session, device: Device, allotment: Allotment, stop: Stop, actor: str, words: str
) -> None:
    if not outranks(stop, allotment.reason):
        return
    _become(allotment, AllotmentStatus.SUSPENDED)
    allotment.reason = stop.value
    allotment.actor, allotment.note = actor, words
    if stop is Stop.LOT_RECALLED:
        allotment.proposed_return = allotment.remaining
    tell(device, allotment)
    record(
        session,
        AllotmentSuspended,
        allotment,
        allotment_id=allotment.id,
        device_id=device.id,
        lot_id=allotment.lot_id,
        reason=stop.value,
    )


def _go_on(session: Session, device: Device, allotment: Allotment, actor: str) -> None:
    _become(allotment, AllotmentStatus.GRANTED)
    allotment.reason, allotment.actor, allotment.note = None, actor, None
    allotment.proposed_return = 0
    tell(device, allotment)
    record(
        session,
        AllotmentResumed,
        allotment,
        allotment_id=allotment.id,
        device_id=device.id,
        lot_id=allotment.lot_id,
    )


# --- Given back, counted, over -----------------------------------------------------------------


def take_back(
    session: Session,
    allotment_id: UUID,
    quantity: int,
    actor: str,
    to_location_id: UUID | None = None,
) -> Allotment:
    """Book goods of an allotment that an operator counted back: for everybody again.

    They lie at the device's site, or are moved on at once. Goods of a lot that must not be sold
    are held there.

    Raises:
        AllotmentNotFound: there is none with this id.
        BeyondRemaining: less is left of it.
        UnknownLocation, LocationClosed: they cannot be brought there.
    """
    if to_location_id is not None:
        open_location_of(session, to_location_id)
    lot, device, allotment = locked_allotment(session, allotment_id)
    give_back(session, lot, device, allotment, quantity, actor)
    if to_location_id is not None and to_location_id != allotment.site_id:
        bring(session, lot, allotment.site_id, to_location_id, quantity, actor)
    return allotment


def give_back(
    session: Session, lot: Lot, device: Device, allotment: Allotment, quantity: int, actor: str
) -> None:
    """Move goods of a locked allotment back to the free stock of its site, and publish it.

    Raises:
        BeyondRemaining: less is left of it.
    """
    _move_out(
        session,
        lot,
        allotment,
        allotment.quota.give_back(quantity),
        free_bucket(lot.status),
        quantity,
        Reason.ALLOTMENT_RETURNED,
        actor,
    )
    allotment.proposed_return = max(0, allotment.proposed_return - quantity)
    tell(device, allotment)
    record(
        session,
        AllotmentReturned,
        allotment,
        allotment_id=allotment.id,
        device_id=device.id,
        lot_id=lot.id,
        quantity=quantity,
    )
    over = allotment.status in (AllotmentStatus.RETURNING, AllotmentStatus.SUSPENDED)
    if over and not allotment.remaining:
        _close(session, device, allotment)


def bring(
    session: Session,
    lot: Lot,
    from_location_id: UUID,
    to_location_id: UUID,
    quantity: int,
    actor: str,
) -> StockLevel:
    """Move free goods of a locked lot from one location to another; return where they are now."""
    free = free_bucket(lot.status)
    source, target = level_at(lot, from_location_id), level_at(lot, to_location_id)
    move(session, source, free, Account.IN_TRANSIT, quantity, Reason.SHIPPED, actor=actor)
    move(session, target, Account.IN_TRANSIT, free, quantity, Reason.ARRIVED, actor=actor)
    return target


def write_off(
    session: Session, allotment_id: UUID, counted: int, reason: str, actor: str
) -> Allotment:
    """Close an allotment after a count: what is there is free again, the rest is lost.

    This is the only way to get back what a lost or broken device held. Who counted, and why,
    is kept.

    Raises:
        AllotmentNotFound: there is none with this id.
        WrongAllotmentState: it is closed already.
        BeyondRemaining: more was counted than should be left.
    """
    lot, device, allotment = locked_allotment(session, allotment_id)
    if allotment.status == AllotmentStatus.CLOSED:
        raise WrongAllotmentState("The allotment is closed already.", state=allotment.status)
    if counted > allotment.remaining:
        raise BeyondRemaining(
            f"{counted} counted, {allotment.remaining} should be left.",
            requested=counted,
            remaining=allotment.remaining,
        )
    missing = allotment.remaining - counted
    allotment.actor, allotment.note = actor, reason
    session.add(
        AllotmentCount(
            allotment_id=allotment.id,
            counted=counted,
            missing=missing,
            reason=reason,
            actor=actor,
            at=clock.now(),
        )
    )
    if missing:
        _move_out(
            session,
            lot,
            allotment,
            allotment.quota.write_off(missing),
            Account.LOST,
            missing,
            Reason.WRITTEN_OFF,
            actor,
        )
        record(
            session,
            AllotmentWrittenOff,
            allotment,
            allotment_id=allotment.id,
            device_id=device.id,
            lot_id=lot.id,
            quantity=missing,
            reason=reason,
        )
    if counted:
        give_back(session, lot, device, allotment, counted, actor)
    _close(session, device, allotment)
    return allotment


def close(session: Session, allotment_id: UUID, actor: str) -> Allotment:
    """Close an allotment of which nothing is left. Repeating it changes nothing.

    Raises:
        AllotmentNotFound: there is none with this id.
        AllotmentNotEmpty: something is left; it must be returned or counted.
    """
    _, device, allotment = locked_allotment(session, allotment_id)
    if allotment.remaining:
        raise AllotmentNotEmpty(
            f"{allotment.remaining} are left; return them, or write off what is not there.",
            remaining=allotment.remaining,
        )
    allotment.actor = actor
    _close(session, device, allotment)
    return allotment


def close_sold_out(session: Session, before: datetime) -> int:
    """Close allotments of which nothing is left since `before`; return how many, if any.

    They would otherwise be told to their devices for ever.
    """
    which = (
        Allotment.remaining == 0,
        Allotment.status != AllotmentStatus.CLOSED.value,
        Allotment.changed_at < before,
    )
    ids = session.scalars(select(Allotment.id).where(*which).limit(CLOSED_AT_ONCE)).all()
    of_those = Allotment.id.in_(ids)
    lock_rows(session, Device.id, session.scalars(select(Allotment.device_id).where(of_those)))
    sold_out = lock_allotments(session, of_those, *which)
    for allotment in sold_out:
        _close(session, locked_device(session, allotment.device_id), allotment)
    return len(sold_out)


def _close(session: Session, device: Device, allotment: Allotment) -> None:
    if allotment.status == AllotmentStatus.CLOSED:
        return
    _become(allotment, AllotmentStatus.CLOSED)
    allotment.reason, allotment.proposed_return = None, 0
    tell(device, allotment)
    record(
        session,
        AllotmentClosed,
        allotment,
        allotment_id=allotment.id,
        device_id=device.id,
        lot_id=allotment.lot_id,
    )


def _move_out(
    session: Session,
    lot: Lot,
    allotment: Allotment,
    quota: Quota,
    target: Bucket | Account,
    quantity: int,
    reason: Reason,
    actor: str,
) -> None:
    """Book what leaves a locked allotment: the row's quota, and the movement it explains."""
    allotment.quota = quota
    allotment.changed_at = clock.now()
    level = level_at(lot, allotment.site_id)
    move(
        session,
        level,
        Bucket.ALLOTTED,
        target,
        quantity,
        reason,
        actor=actor,
        allotment_id=allotment.id,
    )


def _become(allotment: Allotment, status: AllotmentStatus) -> None:
    allotment.status = allotment_step(allotment.status, status).value


def lock_for_allotments(session: Session, allotment_ids: Iterable[UUID]) -> None:
    """Lock these allotments with their lots and devices, in a fixed number of statements."""
    wanted = Allotment.id.in_(list(allotment_ids))
    found = session.execute(select(Allotment.lot_id, Allotment.device_id).where(wanted)).all()
    lock_lots(session, {row.lot_id for row in found})
    lock_rows(session, Device.id, {row.device_id for row in found})
    lock_allotments(session, wanted)
