"""What was sold over counters and what came back of it, known for a whole batch of events."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from services.catalog.models import StationSale
from services.catalog.rules import SaleStatus, Sold, sold_of
from services.catalog.use_cases.appending import append


@dataclass(frozen=True, slots=True)
class Booking:
    """A sale, void or return as it was booked."""

    sale_id: UUID
    kind: str
    device_id: UUID
    epoch: int
    number: int
    site_id: UUID
    of_sale_id: UUID | None
    status: SaleStatus
    lines: tuple[Sold, ...]
    at: datetime


#: By its own id, and by the id of the sale that it undoes.
_Known = tuple[dict[UUID, Booking | None], dict[UUID, list[Booking]]]


def _known(session: Session) -> _Known:
    known: _Known = session.info.setdefault("bookings", ({}, {}))
    return known


def load_bookings(session: Session, sale_ids: Iterable[UUID]) -> None:
    """Read what is booked under these ids, and what came back of them, in one statement.

    Nobody but the consumer books, and there is one: no lock is needed.
    """
    by_id, back = _known(session)
    missing = {sale_id for sale_id in sale_ids if sale_id not in by_id}
    if not missing:
        return
    by_id.update(dict.fromkeys(missing))
    back.update({sale_id: [] for sale_id in missing})
    statement = select(StationSale).where(
        or_(StationSale.sale_id.in_(missing), StationSale.of_sale_id.in_(missing))
    )
    for row in session.execute(statement.with_only_columns(*StationSale.__table__.columns)):
        _note(
            session,
            Booking(
                row.sale_id,
                row.kind,
                row.device_id,
                row.epoch,
                row.number,
                row.site_id,
                row.of_sale_id,
                SaleStatus(row.status),
                tuple(sold_of(row.lines)),
                row.at,
            ),
        )


def _note(session: Session, booking: Booking) -> None:
    by_id, back = _known(session)
    by_id[booking.sale_id] = booking
    if booking.of_sale_id is not None:
        back.setdefault(booking.of_sale_id, []).append(booking)


def booking_of(session: Session, sale_id: UUID) -> Booking | None:
    """Return what is booked under an id; None: it was never heard of."""
    load_bookings(session, (sale_id,))
    return _known(session)[0][sale_id]


def came_back(session: Session, sale_id: UUID) -> list[Sold]:
    """Return the lines that came back of a sale so far."""
    load_bookings(session, (sale_id,))
    return [line for each in _known(session)[1][sale_id] for line in each.lines]


def book(session: Session, booking: Booking) -> None:
    """Write down a sale, void or return. The caller changes an object of the session too."""
    _note(session, booking)
    append(
        session,
        StationSale,
        sale_id=booking.sale_id,
        kind=booking.kind,
        device_id=booking.device_id,
        epoch=booking.epoch,
        number=booking.number,
        site_id=booking.site_id,
        of_sale_id=booking.of_sale_id,
        status=booking.status.value,
        lines=[line.kept() for line in booking.lines],
        at=booking.at,
    )
