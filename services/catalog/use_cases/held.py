"""What each order holds, line by line and lot by lot, known for a whole batch of orders."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from services.catalog.models import ReservationLine
from services.catalog.use_cases.appending import append


class Held(NamedTuple):
    """What one line of an order took from one lot at one location."""

    line_no: int
    variant_id: UUID
    lot_id: UUID
    location_id: UUID
    quantity: int


def _known(session: Session) -> dict[UUID, list[Held]]:
    known: dict[UUID, list[Held]] = session.info.setdefault("held", {})
    return known


def load_held(session: Session, order_ids: Iterable[UUID]) -> None:
    """Read what these orders hold, in one statement; their reservations must be locked."""
    known = _known(session)
    # Not `set - keys`: that goes through all that is known, once for each order of a batch.
    missing = {order_id for order_id in order_ids if order_id not in known}
    if not missing:
        return
    known.update({order_id: [] for order_id in missing})
    rows = session.execute(
        select(
            ReservationLine.order_id,
            ReservationLine.line_no,
            ReservationLine.variant_id,
            ReservationLine.lot_id,
            ReservationLine.location_id,
            ReservationLine.quantity,
        )
        .where(ReservationLine.order_id.in_(missing))
        .order_by(ReservationLine.order_id, ReservationLine.line_no)
    )
    for row in rows:
        known[row.order_id].append(
            Held(row.line_no, row.variant_id, row.lot_id, row.location_id, row.quantity)
        )


def held_by(session: Session, order_id: UUID) -> Sequence[Held]:
    """Return what an order holds, by line."""
    load_held(session, (order_id,))
    return _known(session)[order_id]


def hold(session: Session, order_id: UUID, lines: list[Held], *, is_new: bool) -> None:
    """Note what an order holds from now on, instead of what it held before (`is_new`: nothing).

    The caller changes the order's reservation in the same transaction.
    """
    if not is_new:
        session.execute(delete(ReservationLine).where(ReservationLine.order_id == order_id))
    _known(session)[order_id] = lines
    for line in lines:
        append(session, ReservationLine, order_id=order_id, **line._asdict())
