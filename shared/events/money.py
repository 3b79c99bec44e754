"""Payments of an order: requested, received, failed, refunded."""

from uuid import UUID

from shared.events.base import Fact, Fen, Moment, PaymentMethod


class PaymentRequested(Fact, frozen=True, kw_only=True):
    """The goods of a prepaid order are reserved, and the buyer must pay; once for each order."""

    routing_key = "orders.payment_requested.v1"
    subject = "order_id"

    order_id: UUID
    order_ref: str
    amount_fen: Fen
    #: An order that is not paid by then expires.
    expires_at: Moment


class OrderPaid(Fact, frozen=True, kw_only=True):
    """The full amount of the order was received."""

    routing_key = "orders.order_paid.v1"
    subject = "order_id"

    order_id: UUID
    order_ref: str
    amount_fen: Fen
    method: PaymentMethod


class PaymentFailed(Fact, frozen=True, kw_only=True):
    """The payment provider reported a failed payment attempt; the order still waits for payment."""

    routing_key = "orders.payment_failed.v1"
    subject = "order_id"

    order_id: UUID
    order_ref: str
    reason: str


class PaymentRefunded(Fact, frozen=True, kw_only=True):
    """The buyer gets money back: the order was paid and will not be delivered."""

    routing_key = "orders.payment_refunded.v1"
    subject = "order_id"

    order_id: UUID
    order_ref: str
    amount_fen: Fen
    cause: str
