"""Money comes, fails to come, or goes back."""

from marshmallow import fields, validate

from shared.events.base import PAYMENT_METHODS, Event, fen


class OrderPaid(Event):
    """The full amount of the order was received."""

    routing_key = "orders.order_paid.v1"
    subject = "order_id"

    order_id = fields.UUID(required=True)
    order_ref = fields.String(required=True)
    amount_fen = fen()
    method = fields.String(required=True, validate=validate.OneOf(PAYMENT_METHODS))


class PaymentFailed(Event):
    """The provider said that a payment attempt did not succeed; the order still waits."""

    routing_key = "orders.payment_failed.v1"
    subject = "order_id"

    order_id = fields.UUID(required=True)
    order_ref = fields.String(required=True)
    reason = fields.String(required=True)


class PaymentRefunded(Event):
    """Money goes back to the buyer: the order was paid and will not be delivered."""

    routing_key = "orders.payment_refunded.v1"
    subject = "order_id"

    order_id = fields.UUID(required=True)
    order_ref = fields.String(required=True)
    amount_fen = fen()
    cause = fields.String(required=True)
