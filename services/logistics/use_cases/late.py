"""Shipments that are late, by what they wait for."""

from sqlalchemy import and_, text

from services.logistics.models import Shipment
from services.logistics.rules import ShipmentState
from shared.runtime.clock import LOCAL
from shared.runtime.late import Late

DAY = 86_400
#: Worded like the partial index `ix_shipments_open`, so that the database uses it.
OPEN = text("ended_at IS NULL")
ON_ITS_WAY = and_(OPEN, Shipment.state == ShipmentState.HANDED_OVER)

LATE = (
    # Planned or packed, and not dispatched.
    Late(
        "undispatched",
        Shipment.order_id,
        Shipment.planned_at,
        and_(OPEN, Shipment.state.in_((ShipmentState.PLANNED, ShipmentState.PACKED))),
        "FARMGATE_LOGISTICS_LATE_DISPATCH_SECONDS",
        2 * DAY,
    ),
    # Not at its site, and the limit has passed since the promised day.
    Late(
        "unarrived",
        Shipment.order_id,
        Shipment.handed_over_at,
        and_(ON_ITS_WAY, Shipment.arrived_at.is_(None)),
        "FARMGATE_LOGISTICS_LATE_ARRIVAL_SECONDS",
        DAY,
        overdue=lambda before: Shipment.promised_on < before.astimezone(LOCAL).date(),
    ),
    # At its site, and neither delivered nor collected.
    Late(
        "untaken",
        Shipment.order_id,
        Shipment.arrived_at,
        and_(ON_ITS_WAY, Shipment.arrived_at.is_not(None)),
        "FARMGATE_LOGISTICS_LATE_HANDOVER_SECONDS",
        3 * DAY,
    ),
    # Refused, and its goods never came back.
    Late(
        "unreturned",
        Shipment.order_id,
        Shipment.refused_at,
        and_(OPEN, Shipment.state == ShipmentState.REFUSED),
        "FARMGATE_LOGISTICS_LATE_RETURN_SECONDS",
        7 * DAY,
    ),
)
