"""Receive, count and move stock, and see how much there is."""

from uuid import UUID

from sqlalchemy import Select, select

from services.catalog.batch import CatalogBatch
from services.catalog.models import Lot, StockLevel, StockMovement
from services.catalog.rules import LOSS_REASONS, Account, Reason, check_book, free_bucket
from services.catalog.use_cases.stock.ledger import level_at, lock_lot, move
from services.catalog.use_cases.stock.locations import existing_location, open_location_of
from shared.events import StockAdjusted, StockReceived
from shared.runtime.errors import Unprocessable
from shared.runtime.paging import filtered


class ImpossibleAdjustment(Unprocessable):
    """Raised when stock would grow for a reason that only reduces it, such as drying."""


class ImpossibleMove(Unprocessable):
    """Raised when stock is to be moved from a location to itself."""


def receive_stock(
    batch: CatalogBatch, lot_id: UUID, location_id: UUID, quantity: int, actor: str
) -> StockLevel:
    """Take goods of a lot into stock. They can be sold once their lot is released.

    Raises:
        LotNotFound: there is none with this id.
        UnknownLocation, LocationClosed: they cannot be brought there.
    """
    open_location_of(batch.session, location_id)
    lot = lock_lot(batch, lot_id)
    level = level_at(lot, location_id)
    take_in(batch, lot, level, quantity, actor)
    return level


def take_in(batch: CatalogBatch, lot: Lot, level: StockLevel, quantity: int, actor: str) -> None:
    """Book goods received at one level of a locked lot, and publish it."""
    move(
        batch,
        level,
        Account.RECEIVED,
        free_bucket(lot.status),
        quantity,
        Reason.RECEIVED,
        actor=actor,
    )
    batch.record(
        lot,
        StockReceived(
            lot_id=lot.id,
            location_id=level.location_id,
            variant_id=lot.variant_id,
            quantity=quantity,
        ),
    )


def adjust_stock(
    batch: CatalogBatch,
    lot_id: UUID,
    location_id: UUID,
    difference: int,
    reason: str,
    actor: str,
    book: int | None = None,
) -> StockLevel:
    """Correct how much of a lot lies at a location, by `difference` and for a reason.

    Only free stock can be taken away. `book` is the balance on hand when the difference was found.

    Raises:
        LotNotFound: there is none with this id.
        OutdatedCount: the books have moved since the difference was found.
        UnknownLocation: catalog has not heard of the location.
        OutOfStock: less is free than is to be taken away.
        ImpossibleAdjustment: goods do not come back by drying or spoiling.
    """
    existing_location(batch.session, location_id)
    lot = lock_lot(batch, lot_id)
    level = level_at(lot, location_id)
    check_book(level.on_hand, book)
    correct(batch, lot, level, difference, Reason(reason), actor)
    return level


def correct(
    batch: CatalogBatch, lot: Lot, level: StockLevel, difference: int, reason: Reason, actor: str
) -> None:
    """Book a difference at one level of a locked lot, and publish it.

    Raises:
        OutOfStock: less is free than is to be taken away.
        ImpossibleAdjustment: goods do not come back by drying or spoiling.
    """
    free = free_bucket(lot.status)
    if difference > 0:
        if reason in LOSS_REASONS:
            raise ImpossibleAdjustment(f"Reason {reason} only takes away; use counted or adjusted.")
        move(batch, level, Account.FOUND, free, difference, reason, actor=actor)
    else:
        move(batch, level, free, Account.LOST, -difference, reason, actor=actor)
    batch.record(
        lot,
        StockAdjusted(
            lot_id=lot.id,
            location_id=level.location_id,
            difference=difference,
            reason=reason.value,
        ),
    )


def move_stock(
    batch: CatalogBatch,
    lot_id: UUID,
    from_location_id: UUID,
    to_location_id: UUID,
    quantity: int,
    actor: str,
) -> list[StockLevel]:
    """Move free stock of a lot from one location to another; returns both levels.

    Reserved and committed stock stays.

    Raises:
        LotNotFound: there is none with this id.
        UnknownLocation, LocationClosed: it cannot be moved there.
        OutOfStock: less is free at the first location.
        ImpossibleMove: both locations are one.
    """
    if from_location_id == to_location_id:
        raise ImpossibleMove("Both locations are the same.")
    existing_location(batch.session, from_location_id)
    open_location_of(batch.session, to_location_id)
    lot = lock_lot(batch, lot_id)
    return list(transfer(batch, lot, from_location_id, to_location_id, quantity, actor))


def transfer(
    batch: CatalogBatch,
    lot: Lot,
    from_location_id: UUID,
    to_location_id: UUID,
    quantity: int,
    actor: str,
) -> tuple[StockLevel, StockLevel]:
    """Move free stock of a locked lot from one location to another; return both levels.

    Raises:
        OutOfStock: less is free at the first location.
    """
    free = free_bucket(lot.status)
    source, target = level_at(lot, from_location_id), level_at(lot, to_location_id)
    move(batch, source, free, Account.IN_TRANSIT, quantity, Reason.SHIPPED, actor=actor)
    move(batch, target, Account.IN_TRANSIT, free, quantity, Reason.ARRIVED, actor=actor)
    return source, target


def select_levels(
    lot_id: UUID | None = None, location_id: UUID | None = None, variant_id: UUID | None = None
) -> Select[StockLevel]:
    """Return the query for stock levels, with the given filters."""
    statement = filtered(
        select(StockLevel), {StockLevel.lot_id: lot_id, StockLevel.location_id: location_id}
    )
    if variant_id is not None:
        statement = statement.where(
            StockLevel.lot_id.in_(select(Lot.id).where(Lot.variant_id == variant_id))
        )
    return statement


def select_movements(
    lot_id: UUID | None = None, location_id: UUID | None = None
) -> Select[StockMovement]:
    """Return the query for the ledger, with the given filters."""
    return filtered(
        select(StockMovement),
        {StockMovement.lot_id: lot_id, StockMovement.location_id: location_id},
    )
