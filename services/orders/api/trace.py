"""The route of an order's audit trail in orders, for operators."""

from typing import Any
from uuid import UUID

from services.orders.models import Order
from services.orders.use_cases import find
from shared.web import Blueprint, reading, scope
from shared.web.trace import TraceRequest, TraceResponse, facts

blp = Blueprint(
    "trace",
    __name__,
    url_prefix="/api/orders/v1",
    description="What orders knows of an order, for operators.",
)


@blp.get("/trace/<uuid:order_id>")
@scope("operate")
@blp.arguments(TraceRequest, location="query")
@blp.response(200, TraceResponse)
def trace(query: dict[str, Any], order_id: UUID) -> dict[str, Any]:
    """Show an order's states and money, what it waits for, and its events in orders."""
    with reading() as session:
        order = session.get(Order, order_id)
        subjects = [f"order/{order_id}", *query["subject"]]
        if order is not None and order.shipment_id is not None:
            subjects.append(f"shipment/{order.shipment_id}")
        return {
            "service": "orders",
            "state": find.state_of_order(order),
            "waiting_for": find.waiting_for(session, order),
            **facts(session, subjects),
        }
