"""Read shipments: one, a selection, and the one of an order with what it waits for."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, joinedload, selectinload

from services.logistics.models import DeliveryAddress, Shipment, ShipmentLine, Site
from services.logistics.rules import ShipmentState
from services.logistics.use_cases.stopped import is_recalled, stopped_lots
from services.logistics.use_cases.travelling import ShipmentNotFound, shipped_lines
from shared.runtime.paging import filtered

#: States of a shipment that a held or recalled lot stops.
GOING_ON = (ShipmentState.PLANNED, ShipmentState.PACKED, ShipmentState.HANDED_OVER)


def describe_shipment(session: Session, shipment_id: UUID, *, with_people: bool) -> dict[str, Any]:
    """Return a shipment with its lines and, `with_people`, its contact and its proof.

    Raises:
        ShipmentNotFound: there is none.
    """
    shipment = session.get(
        Shipment, shipment_id, options=[selectinload(Shipment.lines), joinedload(Shipment.proof)]
    )
    if shipment is None:
        raise ShipmentNotFound(f"There is no shipment {shipment_id}.")
    contact = session.get(DeliveryAddress, shipment.order_id) if with_people else None
    return {
        "shipment": shipment,
        "lines": shipped_lines(shipment),
        "contact": contact,
        "proof": shipment.proof if with_people else None,
    }


def select_shipments(
    order_id: UUID | None = None,
    state: ShipmentState | None = None,
    site_id: UUID | None = None,
    lot_id: UUID | None = None,
) -> Select[Shipment]:
    """Return the query for shipments of an order, in a state, for a site, with goods of a lot."""
    query = filtered(
        select(Shipment),
        {Shipment.order_id: order_id, Shipment.state: state, Shipment.site_id: site_id},
    )
    if lot_id is not None:
        carrying = select(ShipmentLine.shipment_id).where(ShipmentLine.lot_id == lot_id)
        query = query.where(Shipment.id.in_(carrying))
    return query


def state_of_order(session: Session, order_id: UUID) -> tuple[Shipment | None, dict[str, Any]]:
    """Return an order's shipment, if there is one, and its state as operators see it."""
    shipment = session.scalar(select(Shipment).where(Shipment.order_id == order_id))
    if shipment is None:
        return None, {"shipment": None}
    site = session.get_one(Site, shipment.site_id)
    here = session.get(Site, shipment.at_site_id) if shipment.at_site_id is not None else None
    return shipment, {
        "shipment": shipment.shipment_ref,
        "shipment_id": str(shipment.id),
        "state": str(shipment.state),
        "site": site.code,
        "at_site": here.code if here is not None else None,
        "promised_on": shipment.promised_on.isoformat(),
        "collect": shipment.collect,
        "cold_gap": shipment.cold_gap,
        "due_fen": shipment.due_fen,
        "collected_fen": shipment.collected_fen,
        "refusal": shipment.refusal,
    }


def waiting_for(session: Session, shipment: Shipment | None) -> list[dict[str, Any]]:
    """Return what a shipment waits for and since when; nothing when it is over."""
    if shipment is None:
        return []
    stopped = stopped_lots(session, [shipment.id]).get(shipment.id, [])
    if stopped and shipment.state in GOING_ON:
        codes = ", ".join(lot.lot_code for lot in stopped)
        # A shipment with a recalled lot that has left is called back, so this one has not left.
        what = "other lots" if is_recalled(stopped) else "the release of what is held"
        return [{"what": f"{what} (lot {codes})", "since": None}]
    moments: dict[ShipmentState, tuple[str, datetime | None]] = {
        ShipmentState.PLANNED: ("the goods to be packed", shipment.planned_at),
        ShipmentState.PACKED: ("the parcel to be dispatched", shipment.packed_at),
        ShipmentState.HANDED_OVER: _waiting_on_its_way(shipment),
        ShipmentState.REFUSED: ("the goods to come back", shipment.refused_at),
    }
    found = moments.get(shipment.state)
    return [] if found is None else [{"what": found[0], "since": found[1]}]


def _waiting_on_its_way(shipment: Shipment) -> tuple[str, datetime | None]:
    if shipment.arrived_at is None:
        return "the parcel to reach its site", shipment.handed_over_at
    what = "the buyer to collect the parcel" if shipment.collect else "the parcel to be delivered"
    return what, shipment.arrived_at
