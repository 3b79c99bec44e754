"""The route of an order's audit trail in logistics, for operators."""

from typing import Any
from uuid import UUID

from services.logistics.use_cases import reading
from shared import web
from shared.web import Blueprint, scope
from shared.web.trace import TraceRequest, TraceResponse, facts

blp = Blueprint(
    "trace",
    __name__,
    url_prefix="/api/logistics/v1",
    description="What logistics knows of an order, for operators.",
)


@blp.get("/trace/<uuid:order_id>")
@scope("operate")
@blp.arguments(TraceRequest, location="query")
@blp.response(200, TraceResponse)
def trace(query: dict[str, Any], order_id: UUID) -> dict[str, Any]:
    """Show an order's shipment, what it waits for, and its events in logistics."""
    with web.reading() as session:
        shipment, state = reading.state_of_order(session, order_id)
        subjects = [f"order/{order_id}", *query["subject"]]
        if shipment is not None:
            subjects.append(f"shipment/{shipment.id}")
        return {
            "service": "logistics",
            "state": state,
            "waiting_for": reading.waiting_for(session, shipment),
            **facts(session, subjects),
        }
