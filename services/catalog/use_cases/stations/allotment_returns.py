"""End allotments: goods are returned or counted, then the allotment is closed.

No time-out takes goods back: only a return or a count does.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import select

from services.catalog.batch import CatalogBatch
from services.catalog.models import Allotment, AllotmentCount, Device, Lot
from services.catalog.rules import (
    Account,
    AllotmentNotEmpty,
    AllotmentStatus,
    BeyondRemaining,
    Bucket,
    Quota,
    Reason,
    WrongAllotmentState,
    check_book,
    free_bucket,
)
from services.catalog.use_cases.stations.allotments import (
    assign_revision,
    end,
    lock_allotment,
    lock_allotments,
)
from services.catalog.use_cases.stations.devices import lock_device
from services.catalog.use_cases.stock.ledger import level_at, move
from services.catalog.use_cases.stock.levels import transfer
from services.catalog.use_cases.stock.locations import open_location_of
from shared.events import AllotmentReturned
from shared.runtime import clock

#: Sold out allotments that are closed in one transaction.
CLOSED_AT_ONCE = 200


def take_back(
    batch: CatalogBatch,
    allotment_id: UUID,
    quantity: int,
    actor: str,
    to_location_id: UUID | None = None,
) -> Allotment:
    """Return goods of an allotment, counted by an operator, to the free stock.

    They lie at the device's site, or are moved on at once. Goods of a lot that must not be sold
    are quarantined.

    Raises:
        AllotmentNotFound: there is none with this id.
        BeyondRemaining: less is left of it.
        UnknownLocation, LocationClosed: they cannot be brought there.
    """
    if to_location_id is not None:
        open_location_of(batch.session, to_location_id)
    lot, device, allotment = lock_allotment(batch, allotment_id)
    give_back(batch, lot, device, allotment, quantity, actor)
    if to_location_id is not None and to_location_id != allotment.site_id:
        transfer(batch, lot, allotment.site_id, to_location_id, quantity, actor)
    return allotment


def give_back(
    batch: CatalogBatch, lot: Lot, device: Device, allotment: Allotment, quantity: int, actor: str
) -> None:
    """Move goods of a locked allotment back to the free stock of its site, and publish it.

    Raises:
        BeyondRemaining: less is left of it.
    """
    _move_out(
        batch,
        lot,
        allotment,
        allotment.quota.give_back(quantity),
        free_bucket(lot.status),
        quantity,
        Reason.ALLOTMENT_RETURNED,
        actor,
    )
    allotment.proposed_return = max(0, allotment.proposed_return - quantity)
    assign_revision(device, allotment)
    batch.record(
        allotment,
        AllotmentReturned(
            allotment_id=allotment.id,
            device_id=device.id,
            lot_id=lot.id,
            quantity=quantity,
        ),
    )
    over = allotment.status in (AllotmentStatus.RETURNING, AllotmentStatus.SUSPENDED)
    if over and not allotment.remaining:
        end(device, allotment)


def write_off(
    batch: CatalogBatch,
    allotment_id: UUID,
    counted: int,
    reason: str,
    actor: str,
    book: int | None = None,
) -> Allotment:
    """Close an allotment after a count: the counted goods are free again, the rest is lost.

    This is the only way to free the goods of a lost or broken device. The count is stored with its
    actor and reason. `book` is what should have been left when it was counted: if a sale is
    uploaded in between, the count is refused, else its goods would be freed although they are sold.

    Raises:
        AllotmentNotFound: there is none with this id.
        WrongAllotmentState: it is closed already.
        OutdatedCount: something else should be left now.
        BeyondRemaining: more was counted than should be left.
    """
    lot, device, allotment = lock_allotment(batch, allotment_id)
    if allotment.status == AllotmentStatus.CLOSED:
        raise WrongAllotmentState("The allotment is closed already.", state=allotment.status)
    check_book(allotment.remaining, book)
    if counted > allotment.remaining:
        raise BeyondRemaining(
            f"{counted} counted, {allotment.remaining} should be left.",
            requested=counted,
            remaining=allotment.remaining,
        )
    missing = allotment.remaining - counted
    allotment.actor, allotment.note = actor, reason
    batch.session.add(
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
            batch,
            lot,
            allotment,
            allotment.quota.write_off(missing),
            Account.LOST,
            missing,
            Reason.WRITTEN_OFF,
            actor,
        )
    if counted:
        give_back(batch, lot, device, allotment, counted, actor)
    end(device, allotment)
    return allotment


def close(batch: CatalogBatch, allotment_id: UUID, actor: str) -> Allotment:
    """Close an allotment of which nothing is left. Repeating it changes nothing.

    Raises:
        AllotmentNotFound: there is none with this id.
        AllotmentNotEmpty: something is left; it must be returned or counted.
    """
    _, device, allotment = lock_allotment(batch, allotment_id)
    if allotment.remaining:
        raise AllotmentNotEmpty(
            f"{allotment.remaining} are left; return them, or write off what is not there.",
            remaining=allotment.remaining,
        )
    allotment.actor = actor
    end(device, allotment)
    return allotment


def close_sold_out(batch: CatalogBatch, before: datetime) -> int:
    """Close allotments that were sold out before `before`; return how many, at most a batch.

    Each contact would otherwise send them to their devices for ever.
    """
    which = (
        Allotment.remaining == 0,
        Allotment.status != AllotmentStatus.CLOSED.value,
        Allotment.changed_at < before,
    )
    ids = batch.session.scalars(select(Allotment.id).where(*which).limit(CLOSED_AT_ONCE)).all()
    of_those = Allotment.id.in_(ids)
    batch.load_for_update(
        Device.id, batch.session.scalars(select(Allotment.device_id).where(of_those))
    )
    sold_out = lock_allotments(batch, of_those, *which)
    for allotment in sold_out:
        end(lock_device(batch, allotment.device_id), allotment)
    return len(sold_out)


def _move_out(
    batch: CatalogBatch,
    lot: Lot,
    allotment: Allotment,
    quota: Quota,
    target: Bucket | Account,
    quantity: int,
    reason: Reason,
    actor: str,
) -> None:
    """Change the quota of a locked allotment, and record the movement that explains it."""
    allotment.quota = quota
    allotment.changed_at = clock.now()
    level = level_at(lot, allotment.site_id)
    move(
        batch,
        level,
        Bucket.ALLOTTED,
        target,
        quantity,
        reason,
        actor=actor,
        allotment_id=allotment.id,
    )
