"""What a payment provider of one's own reports; the other providers have formats of theirs."""

from collections.abc import Mapping
from typing import Any

from marshmallow import EXCLUDE, ValidationError, fields, validate, validates_schema

from services.orders.rules.prices import MOST_TOTAL_FEN
from shared.runtime.schemas import RequestSchema, matching


def _fen(**options: Any) -> fields.Integer:
    return fields.Integer(strict=True, validate=validate.Range(1, MOST_TOTAL_FEN), **options)


class PaymentCallbackRequest(RequestSchema):
    """One attempt to pay, or the refunds of a payment; unknown fields are ignored."""

    class Meta:
        # Providers add fields, and money would be lost with the news.
        unknown = EXCLUDE

    payment_ref = matching(
        "[A-Za-z0-9._:-]{1,100}",
        "The provider's name for the attempt: up to 100 letters, digits or . _ : -",
        required=True,
    )
    order_id = fields.UUID(required=True)
    amount_fen = _fen(required=True)
    currency = fields.String(validate=validate.Equal("CNY"), load_default="CNY")
    status = fields.String(
        required=True,
        validate=validate.OneOf(("paid", "failed", "refunded")),
        metadata={"description": "refunded: money went back that Farmgate did not ask for."},
    )
    refunded_fen = _fen(
        metadata={
            "description": "Only with `refunded`, and then required: what went back of the payment "
            "so far, by all its refunds together."
        },
    )
    reason = matching(
        # As in every published code: with seven digits it could be a telephone number.
        "(?!([a-z_]*[0-9]){7})[a-z][a-z0-9_]{0,39}",
        "A code of up to 40 small letters, _ and at most 6 digits, such as declined.",
        load_default=None,
        allow_none=True,
    )

    @validates_schema
    def check_refunded(self, data: Mapping[str, Any], **_: Any) -> None:
        """Refuse a refund without its amount, or of more than was paid."""
        if data["status"] == "refunded":
            if "refunded_fen" not in data:
                raise ValidationError("Missing data for required field.", "refunded_fen")
            if data["refunded_fen"] > data["amount_fen"]:
                raise ValidationError("Must not exceed amount_fen.", "refunded_fen")


#: A payment that succeeded, as the document shows it.
PAYMENT_EXAMPLE = {
    "payment_ref": "pay-20261124-000123",
    "order_id": "0198d1f2-6a3b-7c4d-8e5f-0123456789ad",
    "amount_fen": 13600,
    "status": "paid",
}
