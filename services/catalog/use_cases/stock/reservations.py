"""What happens to reserved stock: it is committed, freed, shipped, or comes back.

Everything is decided under the locks of the lots, in one transaction per batch of events. A
reservation has all lines of its order or none.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from uuid import UUID

from services.catalog.batch import CatalogBatch
from services.catalog.models import Reservation, StockLevel
from services.catalog.rules import (
    BUCKET_OF,
    Account,
    Bucket,
    LotStatus,
    Reason,
    ReservationStatus,
    WrongReservationState,
    check_reservation_step,
    free_bucket,
)
from services.catalog.use_cases.stock.ledger import level_at, lock_lot, lock_lots, move
from services.catalog.use_cases.stock.picking import forget_pickable
from services.catalog.use_cases.stock.reservation_lines import load_reserved, reserved_for
from shared.events import ShippedLine, StockReleased
from shared.runtime import clock
from shared.runtime.errors import Conflict

#: The actors of movements that events of these services cause.
ORDERS, LOGISTICS = "orders", "logistics"


class UnknownReservation(Conflict):
    """Raised when an event is about an order that has not asked for stock (yet)."""


def load_for_orders(batch: CatalogBatch, order_ids: Iterable[UUID]) -> None:
    """Lock the reservations of these orders and the lots they have set aside."""
    wanted = list(order_ids)
    batch.load_for_update(Reservation.order_id, wanted)
    load_reserved(batch, wanted)
    lots = {line.lot_id for order_id in wanted for line in reserved_for(batch, order_id)}
    lock_lots(batch, lots)


def commit_stock(batch: CatalogBatch, order_id: UUID) -> None:
    """Commit the reserved stock of a confirmed order; from now on it does not expire.

    Logistics' events may arrive first: if the goods have left already, or were freed because the
    order was cancelled, nothing is done.

    Raises:
        UnknownReservation: the order never asked for stock.
        WrongReservationState: nothing is reserved for it, so it must not be delivered.
    """
    reservation = lock_reservation(batch, order_id)
    past = (ReservationStatus.COMMITTED, ReservationStatus.CONSUMED, ReservationStatus.RETURNED)
    cancelled = ReservationStatus.RELEASED, "cancelled"
    if reservation.status in past or (reservation.status, reservation.reason) == cancelled:
        return
    _step(reservation, ReservationStatus.COMMITTED)
    for level, quantity in _levels_of(batch, reservation):
        move(
            batch,
            level,
            Bucket.RESERVED,
            Bucket.COMMITTED,
            quantity,
            Reason.COMMITTED,
            actor=ORDERS,
            order_id=order_id,
        )


def give_up_stock(batch: CatalogBatch, order_id: UUID, reason: str) -> None:
    """Free the stock of an order that was cancelled or has expired.

    Committed goods may be on a lorry: they stay committed until logistics says where they are
    (`release_stopped` or `consume_stock`).

    Raises:
        UnknownReservation: the order never asked for stock.
        WrongReservationState: committed goods do not expire.
    """
    reservation = lock_reservation(batch, order_id)
    if reservation.status == ReservationStatus.RESERVED:
        _release(batch, reservation, reason, ORDERS)
    elif reservation.status == ReservationStatus.COMMITTED:
        if reason != "cancelled":
            raise WrongReservationState(f"Committed stock of order {order_id} cannot be {reason}.")
        reservation.reason = reason


def release_stopped(batch: CatalogBatch, order_id: UUID) -> None:
    """Free the goods of a shipment that was stopped before they left.

    If they are free already, or the order got no other lots after a recall, nothing is done.

    Raises:
        UnknownReservation: the order never asked for stock.
        WrongReservationState: the goods had left.
    """
    reservation = lock_reservation(batch, order_id)
    if reservation.status not in (ReservationStatus.RELEASED, ReservationStatus.REFUSED):
        _release(batch, reservation, "cancelled", LOGISTICS)


def release_recalled(batch: CatalogBatch, reservation: Reservation) -> None:
    """Free all lots of a locked reservation if one of them is recalled."""
    lots = (lock_lot(batch, line.lot_id) for line in reserved_for(batch, reservation.order_id))
    if reservation.status in BUCKET_OF and any(lot.status == LotStatus.RECALLED for lot in lots):
        _release(batch, reservation, "recalled", ORDERS)


def consume_stock(batch: CatalogBatch, order_id: UUID, shipped: Sequence[ShippedLine]) -> None:
    """Take the goods of an order out of stock: `shipped` says which lots have left.

    They are in the bucket `reserved` if logistics' event arrives before that of orders.

    Raises:
        UnknownReservation: the order never asked for stock, or has not yet.
        WrongReservationState: its stock is not set aside.
        ShippedOtherwise: other lots or quantities left than were set aside.
    """
    reservation = lock_reservation(batch, order_id)
    if reservation.status == ReservationStatus.CONSUMED:
        return
    _check_shipped(batch, reservation, shipped)
    bucket = BUCKET_OF.get(ReservationStatus(reservation.status), Bucket.COMMITTED)
    _step(reservation, ReservationStatus.CONSUMED)
    for level, quantity in _levels_of(batch, reservation):
        move(
            batch,
            level,
            bucket,
            Account.CONSUMED,
            quantity,
            Reason.CONSUMED,
            actor=LOGISTICS,
            order_id=order_id,
        )


def take_back(
    batch: CatalogBatch, order_id: UUID, shipped: Sequence[ShippedLine], restock: bool
) -> None:
    """Take back goods that were not delivered: to stock (`restock`), or written off.

    They return to the location they left, and can be sold only while their lot may be sold.

    Raises:
        UnknownReservation: the order never asked for stock.
        WrongReservationState: its goods had not left.
        ShippedOtherwise: other lots or quantities came back than had left.
    """
    reservation = lock_reservation(batch, order_id)
    if reservation.status == ReservationStatus.RETURNED:
        return
    _check_shipped(batch, reservation, shipped)
    _step(reservation, ReservationStatus.RETURNED)
    for level, quantity in _levels_of(batch, reservation):
        bucket = free_bucket(level.lot.status) if restock else Bucket.QUARANTINED
        move(
            batch,
            level,
            Account.RESTOCKED,
            bucket,
            quantity,
            Reason.RESTOCKED,
            actor=LOGISTICS,
            order_id=order_id,
        )
        if restock:
            forget_pickable(batch, level.lot.variant_id)
            continue
        move(
            batch,
            level,
            bucket,
            Account.LOST,
            quantity,
            Reason.WRITTEN_OFF,
            actor=LOGISTICS,
            order_id=order_id,
        )


class ShippedOtherwise(Conflict):
    """Raised when logistics ships or returns other lots or quantities than were set aside."""


def _check_shipped(
    batch: CatalogBatch, reservation: Reservation, shipped: Sequence[ShippedLine]
) -> None:
    moved: defaultdict[tuple[UUID, UUID], int] = defaultdict(int)
    for line in reserved_for(batch, reservation.order_id):
        moved[line.lot_id, line.location_id] += line.quantity
    for line_in in shipped:
        for lot in line_in.lots:
            moved[lot.lot_id, lot.location_id] -= lot.quantity
    if any(moved.values()):
        raise ShippedOtherwise(
            f"Shipped for order {reservation.order_id} is not what was set aside for it."
        )


def _release(batch: CatalogBatch, reservation: Reservation, reason: str, actor: str) -> None:
    bucket = BUCKET_OF.get(ReservationStatus(reservation.status), Bucket.RESERVED)
    _step(reservation, ReservationStatus.RELEASED)
    reservation.reason = reason
    for level, quantity in _levels_of(batch, reservation):
        move(
            batch,
            level,
            bucket,
            free_bucket(level.lot.status),
            quantity,
            Reason.RELEASED,
            actor=actor,
            order_id=reservation.order_id,
        )
    batch.record(reservation, StockReleased(order_id=reservation.order_id, reason=reason))


def _step(reservation: Reservation, status: ReservationStatus) -> None:
    check_reservation_step(reservation.status, status)
    reservation.status = status.value
    reservation.changed_at = clock.now()


def lock_reservation(batch: CatalogBatch, order_id: UUID) -> Reservation:
    """Return an order's reservation with its lines, locked until the transaction ends.

    Raises:
        UnknownReservation: the order never asked for stock.
    """
    load_for_orders(batch, (order_id,))
    reservation: Reservation | None = batch.get_for_update(Reservation.order_id, order_id)
    if reservation is None:
        raise UnknownReservation(f"No stock was asked for by order {order_id}.")
    return reservation


def _levels_of(batch: CatalogBatch, reservation: Reservation) -> list[tuple[StockLevel, int]]:
    return [
        (level_at(lock_lot(batch, line.lot_id), line.location_id), line.quantity)
        for line in reserved_for(batch, reservation.order_id)
    ]
