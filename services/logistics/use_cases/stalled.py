"""Shipments that do not go on in the time expected of them, as data for the timer."""

from datetime import datetime

from sqlalchemy import and_, text
from sqlalchemy.orm import Session

from services.logistics.models import Shipment
from services.logistics.rules import ShipmentState
from shared.clock import LOCAL
from shared.events import ShipmentStalled
from shared.outbox import record
from shared.stalled import Late

DAY = 86_400
#: In the words of the index.
OPEN = text("ended_at IS NULL")
ON_ITS_WAY = and_(OPEN, Shipment.state == ShipmentState.HANDED_OVER)


def tell(session: Session, shipment: Shipment, *, kind: str, since: datetime) -> None:
    """Record that a locked shipment is stalled."""
    record(
        session,
        ShipmentStalled,
        shipment,
        shipment_id=shipment.id,
        shipment_ref=shipment.shipment_ref,
        order_id=shipment.order_id,
        kind=kind,
        since=since,
    )


LATE = (
    # Planned or packed, and never gave its goods to the road.
    Late(
        "undispatched",
        Shipment,
        Shipment.planned_at,
        and_(OPEN, Shipment.state.in_((ShipmentState.PLANNED, ShipmentState.PACKED))),
        "FARMGATE_LOGISTICS_LATE_DISPATCH_SECONDS",
        2 * DAY,
        tell,
    ),
    # Not at its site, and the promised day is over for longer than the limit.
    Late(
        "unarrived",
        Shipment,
        Shipment.handed_over_at,
        and_(ON_ITS_WAY, Shipment.arrived_at.is_(None)),
        "FARMGATE_LOGISTICS_LATE_ARRIVAL_SECONDS",
        DAY,
        tell,
        overdue=lambda before: Shipment.promised_on < before.astimezone(LOCAL).date(),
    ),
    # At its site, and neither brought nor fetched.
    Late(
        "untaken",
        Shipment,
        Shipment.arrived_at,
        and_(ON_ITS_WAY, Shipment.arrived_at.is_not(None)),
        "FARMGATE_LOGISTICS_LATE_HANDOVER_SECONDS",
        3 * DAY,
        tell,
    ),
    # Refused, and its goods never came back.
    Late(
        "unreturned",
        Shipment,
        Shipment.refused_at,
        and_(OPEN, Shipment.state == ShipmentState.REFUSED),
        "FARMGATE_LOGISTICS_LATE_RETURN_SECONDS",
        7 * DAY,
        tell,
    ),
)
