"""Payments of an order: requested, received, failed, refunded."""

from shared.events.base import Fen, Moment, OrderFact, PaymentMethod


class PaymentRequested(OrderFact, frozen=True, kw_only=True):
    """The goods of a prepaid order are reserved, and the buyer must pay; once for each order."""

    routing_key = "orders.payment_requested.v1"

    amount_fen: Fen
    #: An order that is not paid by then expires.
    expires_at: Moment


class OrderPaid(OrderFact, frozen=True, kw_only=True):
    """The full amount of the order was received."""

    routing_key = "orders.order_paid.v1"

    amount_fen: Fen
    method: PaymentMethod


class PaymentFailed(OrderFact, frozen=True, kw_only=True):
    """The payment provider reported a failed payment attempt; the order still waits for payment."""

    routing_key = "orders.payment_failed.v1"

    #: The provider's code, such as `declined`; else `not_given`.
    reason: str


class PaymentRefunded(OrderFact, frozen=True, kw_only=True):
    """The buyer gets money back; orders, the payment provider or the buyer's bank decided it."""

    routing_key = "orders.payment_refunded.v1"

    amount_fen: Fen
    #: `order_cancelled`, `order_rejected` or another state in which the order has ended; the flaw
    #: of a payment: `wrong_amount`, `already_paid`, `not_prepaid`; `provider_refund` if somebody
    #: refunded it at the payment provider; `chargeback` if the buyer's bank took the money back.
    cause: str


class RefundReversed(OrderFact, frozen=True, kw_only=True):
    """Refunded money came back to the seller: a refund failed, or a chargeback was won."""

    routing_key = "orders.refund_reversed.v1"

    amount_fen: Fen
    #: That of the `payment_refunded` that it reverses: `provider_refund` or `chargeback`.
    cause: str
