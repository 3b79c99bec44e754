"""Money comes, fails to come, or goes back."""

from uuid import UUID

from shared.events.base import Fact, Fen, PaymentMethod


class OrderPaid(Fact, frozen=True, kw_only=True):
    """The full amount of the order was received."""

    routing_key = "orders.order_paid.v1"
    subject = "order_id"

    order_id: UUID
    order_ref: str
    amount_fen: Fen
    method: PaymentMethod


class PaymentFailed(Fact, frozen=True, kw_only=True):
    """The provider said that a payment attempt did not succeed; the order still waits."""

    routing_key = "orders.payment_failed.v1"
    subject = "order_id"

    order_id: UUID
    order_ref: str
    reason: str


class PaymentRefunded(Fact, frozen=True, kw_only=True):
    """Money goes back to the buyer: the order was paid and will not be delivered."""

    routing_key = "orders.payment_refunded.v1"
    subject = "order_id"

    order_id: UUID
    order_ref: str
    amount_fen: Fen
    cause: str
