"""The route of an order's audit trail in catalog, for operators."""

from typing import Any
from uuid import UUID

from services.catalog.use_cases.stock import reservation_inquiries
from shared.web import Blueprint, reading, scope
from shared.web.trace import TraceRequest, TraceResponse, facts

blp = Blueprint(
    "trace",
    __name__,
    url_prefix="/api/catalog/v1",
    description="What catalog knows of an order, for operators.",
)


@blp.get("/trace/<uuid:order_id>")
@scope("operate")
@blp.arguments(TraceRequest, location="query")
@blp.response(200, TraceResponse)
def trace(query: dict[str, Any], order_id: UUID) -> dict[str, Any]:
    """Show an order's stock, lot by lot, what it waits for, and its events in catalog."""
    with reading() as session:
        return {
            "service": "catalog",
            "state": reservation_inquiries.state_of_order(session, order_id),
            "waiting_for": reservation_inquiries.waiting_for(session, order_id),
            **facts(session, [f"order/{order_id}", *query["subject"]]),
        }
