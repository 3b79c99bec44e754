"""The facts of a new order: how its buyer is reached, what was ordered, and what it waits for."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from services.orders.models import Order
from shared.events import ApprovalRequested, ContactGiven, OrderPlaced
from shared.messaging.outbox import record


def record_contact(session: Session, order: Order, contact: Mapping[str, Any]) -> None:
    """Record how the buyer is reached; it passes through, and is kept nowhere here."""
    record(
        session,
        ContactGiven,
        order,
        order_id=order.id,
        order_ref=order.order_ref,
        buyer_id=order.buyer_id,
        name=contact["name"],
        phone=contact["phone"],
        # Who collects needs no address, so nobody else gets to know it.
        address=None if order.collect else contact["address"],
        language=contact["language"],
    )


def record_placed(session: Session, order: Order) -> None:
    """Record that the order asks for its stock."""
    record(session, OrderPlaced, order, **_as_ordered(order))


def record_approval_requested(session: Session, order: Order) -> None:
    """Record that the order waits for an operator, and why."""
    facts = _as_ordered(order)
    record(session, ApprovalRequested, order, **facts, reason=order.approval_reason)


def _as_ordered(order: Order) -> dict[str, Any]:
    return {
        "order_id": order.id,
        "order_ref": order.order_ref,
        "channel": order.channel,
        "payment_method": order.payment_method,
        "buyer_id": order.buyer_id,
        "site_id": order.site_id,
        "lines": [
            {
                "line_no": line.line_no,
                "variant_id": line.variant_id,
                "quantity": line.quantity,
                "line_total_fen": line.line_total_fen,
            }
            for line in order.lines
        ],
        "total_fen": order.total_fen,
    }
