"""Set stock aside for an order: all of its lines, or none."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from services.catalog.models import Reservation, StockLevel
from services.catalog.rules import (
    Bucket,
    Line,
    Reason,
    ReservationStatus,
    Short,
    Take,
    plan,
    reservation_step,
)
from services.catalog.use_cases.held import Held, hold
from services.catalog.use_cases.ledger import move
from services.catalog.use_cases.reservations import (
    ORDERS,
    locked_reservation,
    release_recalled,
)
from services.catalog.use_cases.shelves import shelf, stock_shelves
from shared.events import StockRefused, StockReserved
from shared.messaging.outbox import record
from shared.messaging.rows import lock_rows, locked, remember
from shared.runtime import clock


def lock_for_placement(
    session: Session, order_ids: Iterable[UUID], variant_ids: Iterable[UUID]
) -> None:
    """Lock what a batch of orders needs: the lots they may take from, in the order of their ids."""
    lock_rows(session, Reservation.order_id, order_ids)
    stock_shelves(session, set(variant_ids))


def reserve_stock(
    session: Session,
    order_id: UUID,
    channel: str,
    site_id: UUID,
    lines: Sequence[Mapping[str, Any]],
) -> None:
    """Reserve all lines of a new order, or none of them, and say which.

    Repeating it for an order that has asked before changes nothing.
    """
    if locked(session, Reservation.order_id, order_id) is not None:
        return
    taken, shortfalls = _plan(session, channel, site_id, lines)
    reservation = Reservation(
        order_id=order_id,
        channel=channel,
        site_id=site_id,
        status=(ReservationStatus.REFUSED if shortfalls else ReservationStatus.HELD).value,
        reason=None,
        changed_at=clock.now(),
        version=0,
    )
    remember(session, Reservation.order_id, reservation)
    hold(session, order_id, _held(taken), is_new=True)
    _answer(session, reservation, taken, shortfalls)


def reserve_again(session: Session, order_id: UUID, lines: Sequence[Mapping[str, Any]]) -> None:
    """Ask once more for the stock of an order that is paid late, or whose lot is recalled.

    In the second case all that it had set aside is free first, so that it may take that again.

    Raises:
        UnknownReservation: the order never asked before.
        WrongReservationState: its stock is set aside, or gone.
    """
    reservation = locked_reservation(session, order_id)
    release_recalled(session, reservation)
    reservation_step(reservation.status, ReservationStatus.HELD)
    taken, shortfalls = _plan(session, reservation.channel, reservation.site_id, lines)
    status = ReservationStatus.REFUSED if shortfalls else ReservationStatus.HELD
    hold(session, order_id, _held(taken), is_new=False)
    reservation.status, reservation.reason = status.value, None
    reservation.changed_at = clock.now()
    _answer(session, reservation, taken, shortfalls)


def _plan(
    session: Session, channel: str, site_id: UUID, lines: Sequence[Mapping[str, Any]]
) -> tuple[list[Take[StockLevel]], list[Short]]:
    wanted = [Line(line["line_no"], line["variant_id"], line["quantity"]) for line in lines]
    variant_ids = {line.variant_id for line in wanted}
    stock_shelves(session, variant_ids)
    station = site_id if channel == "station" else None
    return plan(wanted, {variant: shelf(session, variant, station) for variant in variant_ids})


def _held(taken: Iterable[Take[StockLevel]]) -> list[Held]:
    return [
        Held(
            take.line.line_no,
            take.line.variant_id,
            take.shelved.lot_id,
            take.shelved.location_id,
            take.quantity,
        )
        for take in taken
    ]


def _answer(
    session: Session,
    reservation: Reservation,
    taken: Sequence[Take[StockLevel]],
    shortfalls: Sequence[Short],
) -> None:
    """Move what was taken, and publish it or what was short."""
    order_id = reservation.order_id
    if shortfalls:
        short = [
            {
                "line_no": short.line.line_no,
                "variant_id": short.line.variant_id,
                "requested": short.line.quantity,
                "available": short.available,
            }
            for short in shortfalls
        ]
        record(session, StockRefused, reservation, order_id=order_id, shortfalls=short)
        return
    for take in taken:
        move(
            session,
            take.shelved,
            Bucket.AVAILABLE,
            Bucket.RESERVED,
            take.quantity,
            Reason.RESERVED,
            actor=ORDERS,
            order_id=order_id,
        )
    record(session, StockReserved, reservation, order_id=order_id, lines=_reserved_lines(taken))


def _reserved_lines(taken: Iterable[Take[StockLevel]]) -> list[dict[str, Any]]:
    lines: dict[int, dict[str, Any]] = {}
    for take in taken:
        line = lines.setdefault(
            take.line.line_no,
            {"line_no": take.line.line_no, "variant_id": take.line.variant_id, "lots": []},
        )
        lot = take.shelved.lot
        line["lots"].append(
            {
                "lot_id": lot.id,
                "lot_code": lot.code,
                "location_id": take.shelved.location_id,
                "producer_id": lot.producer_id,
                "quantity": take.quantity,
            }
        )
    return list(lines.values())
