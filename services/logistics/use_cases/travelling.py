"""A shipment is packed, dispatched, seen on its way and, if nobody takes it, brought back."""

import secrets
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy.orm import selectinload

from services.logistics import rules
from services.logistics.batch import LogisticsBatch
from services.logistics.models import (
    CollectionCode,
    Shipment,
    ShipmentLine,
    Site,
    TrackingEvent,
)
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
from shared.events.placing import TakenLot
from shared.events.travel import ShippedLine
from shared.runtime import clock
from shared.runtime.errors import NotFound
from shared.runtime.ids import new_id


class ShipmentNotFound(NotFound):
    """Raised when no shipment has the id asked for."""


def lock_shipment(batch: LogisticsBatch, shipment_id: UUID, *options: Any) -> Shipment:
    """Return a shipment, locked until the commit.

    Raises:
        ShipmentNotFound: there is none.
    """
    batch.load_for_update(Shipment.id, (shipment_id,), *options)
    shipment: Shipment | None = batch.get_for_update(Shipment.id, shipment_id)
    if shipment is None:
        raise ShipmentNotFound(f"There is no shipment {shipment_id}.")
    return shipment


def transition(shipment: Shipment, to: ShipmentState) -> datetime | None:
    """Move a shipment to a state and return the time; None: it is in that state already.

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


def pack(batch: LogisticsBatch, shipment_id: UUID) -> Shipment:
    """Record that a shipment's goods are packed.

    Raises:
        ShipmentNotFound, WrongShipmentState
        LotStopped: one of its lots is held or recalled.
    """
    shipment = lock_shipment(batch, shipment_id)
    packed_at = transition(shipment, ShipmentState.PACKED)
    if packed_at is not None:
        check_lots(batch.session, shipment)
        shipment.packed_at = packed_at
        batch.record(shipment, ShipmentPacked(shipment_id=shipment.id, order_id=shipment.order_id))
    return shipment


def dispatch(batch: LogisticsBatch, shipment_id: UUID) -> Shipment:
    """Hand a packed shipment to its carrier; from now on its goods are out of stock.

    Raises:
        ShipmentNotFound, WrongShipmentState
        LotStopped: one of its lots is held or recalled.
    """
    shipment = lock_shipment(batch, shipment_id, selectinload(Shipment.lines))
    handed_over_at = transition(shipment, ShipmentState.HANDED_OVER)
    if handed_over_at is not None:
        check_lots(batch.session, shipment)
        shipment.handed_over_at = handed_over_at
        batch.record(
            shipment,
            ShipmentDispatched(
                shipment_id=shipment.id,
                shipment_ref=shipment.shipment_ref,
                order_id=shipment.order_id,
                lines=shipped_lines(shipment),
                promised_on=shipment.promised_on,
            ),
        )
    return shipment


def arrive(batch: LogisticsBatch, shipment_id: UUID, site_id: UUID) -> Shipment:
    """Record that a shipment, on its way to the buyer or back, reached a site.

    When a shipment that the buyer collects reaches its own site, a collection code is issued.
    While one of its lots is held, neither arrival nor code is published; `resume` does it later.

    Raises:
        ShipmentNotFound: there is none.
        UnknownSite: there is no such site.
        WrongShipmentState: it is not on its way.
    """
    shipment = lock_shipment(batch, shipment_id)
    if batch.session.get(Site, site_id) is None:
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
    is_stopped = final and bool(stopped_lots(batch.session, [shipment.id]))
    waits = final and shipment.collect and not is_stopped
    batch.session.add(
        TrackingEvent(
            id=new_id(),
            shipment_id=shipment.id,
            status=TrackingStatus.AVAILABLE_FOR_PICKUP if waits else TrackingStatus.AT_STATION,
            site_id=site_id,
            happened_at=now,
            recorded_at=now,
        )
    )
    # On its way back no buyer waits for it.
    if on_its_way and not is_stopped:
        _record_arrival(batch, shipment, site_id)
    return shipment


def resume(batch: LogisticsBatch, shipment: Shipment) -> None:
    """Publish the arrival of a locked shipment that waited at its site for a held lot."""
    on_its_way = shipment.state == ShipmentState.HANDED_OVER and shipment.arrived_at is None
    waits = on_its_way and shipment.at_site_id == shipment.site_id
    if waits and not stopped_lots(batch.session, [shipment.id]):
        _record_arrival(batch, shipment, shipment.site_id)


def _record_arrival(batch: LogisticsBatch, shipment: Shipment, site_id: UUID) -> None:
    final = site_id == shipment.site_id
    batch.record(
        shipment,
        ShipmentArrived(
            shipment_id=shipment.id,
            order_id=shipment.order_id,
            site_id=site_id,
            final=final,
            collect=shipment.collect,
        ),
    )
    if final and shipment.arrived_at is None:
        shipment.arrived_at = clock.now()
        if shipment.collect:
            _issue_code(batch, shipment)


def _issue_code(batch: LogisticsBatch, shipment: Shipment) -> None:
    code, salt = f"{secrets.randbelow(1_000_000):06d}", secrets.token_bytes(16)
    batch.session.add(
        CollectionCode(
            shipment_id=shipment.id,
            salt=salt,
            digest=rules.code_digest(code, salt),
            issued_at=clock.now(),
        )
    )
    batch.record(
        shipment,
        CollectionCodeIssued(
            shipment_id=shipment.id, order_id=shipment.order_id, site_id=shipment.site_id, code=code
        ),
    )


def fail(batch: LogisticsBatch, shipment_id: UUID, reason: str) -> Shipment:
    """Record that a shipment could not be handed over; it goes back.

    Raises:
        ShipmentNotFound, WrongShipmentState
    """
    shipment = lock_shipment(batch, shipment_id)
    call_back(batch, shipment, reason)
    return shipment


def call_back(batch: LogisticsBatch, shipment: Shipment, reason: str) -> None:
    """Send a locked shipment back and publish why.

    Raises:
        WrongShipmentState: it is not on its way.
    """
    refused_at = transition(shipment, ShipmentState.REFUSED)
    if refused_at is not None:
        shipment.refused_at, shipment.refusal = refused_at, reason
        batch.record(
            shipment,
            DeliveryFailed(shipment_id=shipment.id, order_id=shipment.order_id, reason=reason),
        )


def take_back(batch: LogisticsBatch, shipment_id: UUID, restock: bool) -> Shipment:
    """Record that a refused shipment's goods are back, to be sold again or written off.

    Raises:
        ShipmentNotFound, WrongShipmentState
    """
    shipment = lock_shipment(batch, shipment_id, selectinload(Shipment.lines))
    if transition(shipment, ShipmentState.RETURNED) is not None:
        shipment.restocked = restock
        delete_code(batch, shipment)
        batch.record(
            shipment,
            ShipmentReturned(
                shipment_id=shipment.id,
                order_id=shipment.order_id,
                restock=restock,
                lines=shipped_lines(shipment),
            ),
        )
    return shipment


def delete_code(batch: LogisticsBatch, shipment: Shipment) -> None:
    """Delete the collection code of a shipment that nobody can collect any more."""
    code = batch.session.get(CollectionCode, shipment.id)
    if code is not None:
        batch.session.delete(code)


def shipped_lines(shipment: Shipment) -> list[ShippedLine]:
    """Return what a shipment carries, by line and lot, as events carry it."""
    by_line = groupby(shipment.lines, key=lambda row: (row.line_no, row.variant_id))
    return [
        ShippedLine(line_no=line_no, variant_id=variant_id, lots=[shipped_lot(row) for row in rows])
        for (line_no, variant_id), rows in by_line
    ]


def shipped_lot(row: ShipmentLine) -> TakenLot:
    """Return what a shipment carries of one lot, as events carry it."""
    return TakenLot(
        lot_id=row.lot_id,
        lot_code=row.lot_code,
        location_id=row.location_id,
        producer_id=row.producer_id,
        quantity=row.quantity,
    )
