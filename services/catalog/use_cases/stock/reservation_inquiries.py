"""What catalog knows of one order's stock."""

from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from services.catalog.models import Location, Lot, Reservation, ReservationLine
from services.catalog.rules import ReservationStatus
from shared.runtime import clock
from shared.runtime.errors import NotFound


class ReservationNotFound(NotFound):
    """Raised when no order with this id has asked for stock."""


def get_reservation(session: Session, order_id: UUID) -> Reservation:
    """Return the reservation of an order with its lines.

    Raises:
        ReservationNotFound: there is none.
    """
    found = session.get(Reservation, order_id, options=[selectinload(Reservation.lines)])
    if found is None:
        raise ReservationNotFound(f"No stock was asked for by order {order_id}.")
    return found


def state_of_order(session: Session, order_id: UUID) -> dict[str, Any]:
    """Return the state of an order's stock for operators; {} if the order never asked for stock."""
    reservation = session.get(Reservation, order_id)
    if reservation is None:
        return {}
    lots = session.execute(
        select(ReservationLine.line_no, ReservationLine.quantity, Lot.code, Location.code)
        .join(Lot, Lot.id == ReservationLine.lot_id)
        .join(Location, Location.id == ReservationLine.location_id)
        .where(ReservationLine.order_id == order_id)
        .order_by(ReservationLine.line_no, Lot.code)
    )
    return {
        "reservation": reservation.status,
        "reason": reservation.reason,
        "changed_at": clock.rfc3339(reservation.changed_at),
        "lots": [
            {"line_no": line_no, "quantity": quantity, "lot": lot, "location": location}
            for line_no, quantity, lot, location in lots
        ],
    }


def waiting_for(session: Session, order_id: UUID) -> list[dict[str, Any]]:
    """Return which service's event the order's stock waits for, and since when."""
    reservation = session.get(Reservation, order_id)
    if reservation is None:
        return []
    if reservation.status == ReservationStatus.RESERVED:
        what = "orders to confirm the order, or to give it up"
    elif reservation.status == ReservationStatus.COMMITTED and reservation.reason is not None:
        what = "logistics to say where the goods of the cancelled order are"
    elif reservation.status == ReservationStatus.COMMITTED:
        what = "logistics to dispatch the goods"
    else:
        return []
    return [{"what": what, "since": reservation.changed_at}]
