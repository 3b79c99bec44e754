"""Record the facts of a new order: its contact, the order, and the approval it waits for."""

from collections.abc import Mapping
from typing import Any, TypedDict
from uuid import UUID

from msgspec import UNSET, UnsetType

from services.orders.batch import OrdersBatch
from services.orders.models import Order
from shared.events import ApprovalRequested, ContactGiven, OrderPlaced
from shared.events.placing import PlacedLine


class Named(TypedDict):
    """What each fact of an order says first: see `OrderFact`."""

    order_id: UUID
    order_ref: str
    partner: str | UnsetType
    external_ref: str | UnsetType


def named(order: Order) -> Named:
    """Return the names of an order as its facts have them."""
    return {
        "order_id": order.id,
        "order_ref": order.order_ref,
        "partner": UNSET if order.partner is None else order.partner,
        "external_ref": UNSET if order.external_ref is None else order.external_ref,
    }


def record_contact(batch: OrdersBatch, order: Order, contact: Mapping[str, Any]) -> None:
    """Record how the buyer is reached; orders itself does not keep it."""
    batch.record(
        order,
        ContactGiven(
            order_id=order.id,
            order_ref=order.order_ref,
            buyer_id=order.buyer_id,
            name=contact["name"],
            phone=contact["phone"],
            # A buyer who collects needs no address, so it is not passed on.
            address=None if order.collect else contact["address"],
            language=contact["language"],
        ),
    )


def record_placed(batch: OrdersBatch, order: Order) -> None:
    """Record that the order asks for its stock."""
    batch.record(
        order,
        OrderPlaced(
            **named(order),
            channel=order.channel,
            payment_method=order.payment_method,
            buyer_id=order.buyer_id,
            site_id=order.site_id,
            lines=placed_lines(order),
            total_fen=order.total_fen,
        ),
    )


def record_approval_requested(batch: OrdersBatch, order: Order, reason: str) -> None:
    """Record that the order waits for an operator, and why."""
    batch.record(
        order,
        ApprovalRequested(
            **named(order),
            channel=order.channel,
            payment_method=order.payment_method,
            buyer_id=order.buyer_id,
            site_id=order.site_id,
            lines=placed_lines(order),
            total_fen=order.total_fen,
            reason=reason,
        ),
    )


def placed_lines(order: Order) -> list[PlacedLine]:
    """Return an order's lines as its events have them."""
    return [
        PlacedLine(
            line_no=line.line_no,
            variant_id=line.variant_id,
            quantity=line.quantity,
            line_total_fen=line.line_total_fen,
        )
        for line in order.lines
    ]
