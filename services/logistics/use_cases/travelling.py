"""A shipment travels: packed, dispatched, seen on its way, and, if it must, brought back."""

import secrets
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session, selectinload

from services.logistics import rules
from services.logistics.models import CollectionCode, Shipment, Site, TrackingEvent
from services.logistics.rules import ShipmentState, TrackingStatus, WrongShipmentState
from services.logistics.use_cases.site_tree import UnknownSite
from services.logistics.use_cases.stopped import check_lots, stopped_lots
from shared.events import (
    CollectionCodeIssued,
    DeliveryFailed,
    ShipmentArrived,
    ShipmentDispatched,
    ShipmentPacked,
    ShipmentReturned,
)
from shared.messaging.outbox import record
from shared.messaging.rows import lock_rows, locked
from shared.runtime import clock
from shared.runtime.errors import NotFound
from shared.runtime.ids import new_id


class ShipmentNotFound(NotFound):
    """Raised when no shipment has the id asked for."""


def lock_shipment(session: Session, shipment_id: UUID, *options: Any) -> Shipment:
    """Return a shipment, locked until the transaction ends.

    Raises:
        ShipmentNotFound: there is none.
    """
    lock_rows(session, Shipment.id, (shipment_id,), *options)
    shipment: Shipment | None = locked(session, Shipment.id, shipment_id)
    if shipment is None:
        raise ShipmentNotFound(f"There is no shipment {shipment_id}.")
    return shipment


def advance(shipment: Shipment, to: ShipmentState) -> datetime | None:
    """Bring a shipment to the next state and return when; None: it was there already.

    Raises:
        WrongShipmentState: it cannot become `to`.
    """
    if shipment.state == to:
        return None
    rules.check_transition(shipment.shipment_ref, shipment.state, to)
    shipment.state = to
    now = clock.now()
    if rules.is_over(to):
        shipment.ended_at = now
    return now


def pack(session: Session, shipment_id: UUID) -> Shipment:
    """Note that a shipment's goods are packed.

    Raises:
        ShipmentNotFound, WrongShipmentState
        LotStopped: one of its lots is held or recalled.
    """
    shipment = lock_shipment(session, shipment_id)
    packed_at = advance(shipment, ShipmentState.PACKED)
    if packed_at is not None:
        check_lots(session, shipment)
        shipment.packed_at = packed_at
        record(
            session,
            ShipmentPacked,
            shipment,
            shipment_id=shipment.id,
            order_id=shipment.order_id,
        )
    return shipment


def dispatch(session: Session, shipment_id: UUID) -> Shipment:
    """Hand a packed shipment to whoever carries it; from now on its goods are out of stock.

    Raises:
        ShipmentNotFound, WrongShipmentState
        LotStopped: one of its lots is held or recalled.
    """
    shipment = lock_shipment(session, shipment_id, selectinload(Shipment.lines))
    handed_over_at = advance(shipment, ShipmentState.HANDED_OVER)
    if handed_over_at is not None:
        check_lots(session, shipment)
        shipment.handed_over_at = handed_over_at
        record(
            session,
            ShipmentDispatched,
            shipment,
            shipment_id=shipment.id,
            shipment_ref=shipment.shipment_ref,
            order_id=shipment.order_id,
            lines=carried_lines(shipment),
        )
    return shipment


def arrive(session: Session, shipment_id: UUID, site_id: UUID) -> Shipment:
    """Note that a shipment on its way, or on its way back, reached a site.

    At its own site a shipment that is to be collected gets the code its buyer will show. While
    one of its lots is held nobody is told that it is there (`go_on` tells them).

    Raises:
        ShipmentNotFound: there is none.
        UnknownSite: there is no such site.
        WrongShipmentState: it is not on its way.
    """
    shipment = lock_shipment(session, shipment_id)
    if session.get(Site, site_id) is None:
        raise UnknownSite(f"There is no site {site_id}.")
    if shipment.state not in (ShipmentState.HANDED_OVER, ShipmentState.REFUSED):
        raise WrongShipmentState(
            f"Shipment {shipment.shipment_ref} is {shipment.state}: "
            "only one that is handed over, or on its way back, arrives at sites.",
            state=str(shipment.state),
        )
    if shipment.at_site_id == site_id:
        return shipment
    now = clock.now()
    shipment.at_site_id = site_id
    on_its_way = shipment.state == ShipmentState.HANDED_OVER
    final = on_its_way and site_id == shipment.site_id
    is_stopped = final and bool(stopped_lots(session, [shipment.id]))
    waits = final and shipment.collect and not is_stopped
    session.add(
        TrackingEvent(
            id=new_id(),
            shipment_id=shipment.id,
            status=TrackingStatus.AVAILABLE_FOR_PICKUP if waits else TrackingStatus.AT_STATION,
            site_id=site_id,
            happened_at=now,
            recorded_at=now,
        )
    )
    # Nobody waits for it at the sites it passes on its way back.
    if on_its_way and not is_stopped:
        _tell_arrival(session, shipment, site_id)
    return shipment


def go_on(session: Session, shipment: Shipment) -> None:
    """Let a locked shipment be handed over that waited at its site for a held lot."""
    on_its_way = shipment.state == ShipmentState.HANDED_OVER and shipment.arrived_at is None
    waits = on_its_way and shipment.at_site_id == shipment.site_id
    if waits and not stopped_lots(session, [shipment.id]):
        _tell_arrival(session, shipment, shipment.site_id)


def _tell_arrival(session: Session, shipment: Shipment, site_id: UUID) -> None:
    final = site_id == shipment.site_id
    record(
        session,
        ShipmentArrived,
        shipment,
        shipment_id=shipment.id,
        order_id=shipment.order_id,
        site_id=site_id,
        final=final,
        collect=shipment.collect,
    )
    if final and shipment.arrived_at is None:
        shipment.arrived_at = clock.now()
        if shipment.collect:
            _issue_code(session, shipment)


def _issue_code(session: Session, shipment: Shipment) -> None:
    code, salt = f"{secrets.randbelow(1_000_000):06d}", secrets.token_bytes(16)
    session.add(
        CollectionCode(
            shipment_id=shipment.id,
            salt=salt,
            digest=rules.code_digest(code, salt),
            issued_at=clock.now(),
        )
    )
    record(
        session,
        CollectionCodeIssued,
        shipment,
        shipment_id=shipment.id,
        order_id=shipment.order_id,
        site_id=shipment.site_id,
        code=code,
    )


def fail(session: Session, shipment_id: UUID, reason: str) -> Shipment:
    """Note that a shipment could not be handed over; it goes back.

    Raises:
        ShipmentNotFound, WrongShipmentState
    """
    shipment = lock_shipment(session, shipment_id)
    call_back(session, shipment, reason)
    return shipment


def call_back(session: Session, shipment: Shipment, reason: str) -> None:
    """Let a locked shipment come back, for a reason that is published.

    Raises:
        WrongShipmentState: it is not on its way.
    """
    refused_at = advance(shipment, ShipmentState.REFUSED)
    if refused_at is not None:
        shipment.refused_at, shipment.refusal = refused_at, reason
        record(
            session,
            DeliveryFailed,
            shipment,
            shipment_id=shipment.id,
            order_id=shipment.order_id,
            reason=reason,
        )


def take_back(session: Session, shipment_id: UUID, restock: bool) -> Shipment:
    """Note that a refused shipment's goods are back, to be sold again or written off.

    Raises:
        ShipmentNotFound, WrongShipmentState
    """
    shipment = lock_shipment(session, shipment_id, selectinload(Shipment.lines))
    if advance(shipment, ShipmentState.RETURNED) is not None:
        shipment.restocked = restock
        drop_code(session, shipment)
        record(
            session,
            ShipmentReturned,
            shipment,
            shipment_id=shipment.id,
            order_id=shipment.order_id,
            restock=restock,
            lines=carried_lines(shipment),
        )
    return shipment


def drop_code(session: Session, shipment: Shipment) -> None:
    """Remove a shipment's collection code, which nobody can use any more."""
    code = session.get(CollectionCode, shipment.id)
    if code is not None:
        session.delete(code)


def carried_lines(shipment: Shipment) -> list[dict[str, Any]]:
    """Return what a shipment carries, by line and lot, as events tell it."""
    by_line = groupby(shipment.lines, key=lambda row: (row.line_no, row.variant_id))
    return [
        {
            "line_no": line_no,
            "variant_id": variant_id,
            "lots": [
                {
                    "lot_id": row.lot_id,
                    "lot_code": row.lot_code,
                    "location_id": row.location_id,
                    "producer_id": row.producer_id,
                    "quantity": row.quantity,
                }
                for row in rows
            ],
        }
        for (line_no, variant_id), rows in by_line
    ]
