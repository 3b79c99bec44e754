"""Answers of the routes of payments and refunds, and the request for a list of refunds."""

from marshmallow import fields

from services.orders.rules.payments import ProviderRefundState
from shared.web import ResponseSchema
from shared.web.paging import PageRequest


class PaymentResponse(ResponseSchema):
    """An attempt to pay, as booked."""

    payment_id = fields.UUID(required=True, attribute="id")
    payment_ref = fields.String(required=True)
    order_id = fields.UUID(required=True)
    amount_fen = fields.Integer(required=True)
    status = fields.String(required=True)
    received_at = fields.AwareDateTime(required=True)


class ListRefundsRequest(PageRequest):
    """Which refunds are listed."""

    state = fields.Enum(ProviderRefundState, by_value=True)


class RefundResponse(ResponseSchema):
    """A refund of a payment, and what became of it at the payment's provider."""

    refund_id = fields.UUID(required=True, attribute="id")
    order_id = fields.UUID(required=True)
    order_ref = fields.String(required=True)
    amount_fen = fields.Integer(required=True)
    cause = fields.String(required=True)
    refunded_at = fields.AwareDateTime(required=True)
    provider = fields.String(required=True)
    payment_ref = fields.String(required=True)
    state = fields.Enum(
        ProviderRefundState,
        by_value=True,
        required=True,
        metadata={
            "description": "due: the provider has yet to answer. accepted: the money is on its "
            "way. refused: an operator decides. not_called: nobody is asked, since the provider of "
            "one's own follows payment_refunded."
        },
    )
    reason = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "The provider's code of the refusal, or why it is still due."},
    )
    attempts = fields.Integer(required=True)
    provider_ref = fields.String(required=True, allow_none=True)
    settled_by = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "The operator who gave the money back by another way."},
    )
    changed_at = fields.AwareDateTime(required=True)
