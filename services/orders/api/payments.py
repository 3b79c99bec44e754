"""The routes by which payment providers report payments, refunds and chargebacks."""

from collections.abc import Mapping

from flask import Response, jsonify, make_response, request
from marshmallow import ValidationError

from services.orders import providers
from services.orders.batch import OrdersBatch
from services.orders.gauges import payment_news
from services.orders.models import Payment
from services.orders.providers import Provider
from services.orders.rules.payments import STANDARD, STRIPE, WECHATPAY, News
from services.orders.schemas import payments as schemas
from services.orders.schemas.callbacks import PAYMENT_EXAMPLE, PaymentCallbackRequest
from services.orders.use_cases import take_news
from shared.runtime.errors import FarmgateError, Unavailable
from shared.web import Blueprint, public, settings, transaction
from shared.web.problems import slug_of, status_of
from shared.web.requests import refuse_invalid

blp = Blueprint(
    "payments",
    __name__,
    url_prefix="/api/orders/v1",
    description="What payment providers tell.",
)

#: How the document names and explains the signatures.
SECURITY_SCHEMES: Mapping[str, dict[str, str]] = {
    "signature": {
        "type": "apiKey",
        "in": "header",
        "name": "webhook-signature",
        "description": (
            "Standard Webhooks 1.0.0: `v1,` and the base64 of the HMAC-SHA256, with the secret "
            "agreed, of the headers `webhook-id` and `webhook-timestamp` (seconds, within 5 "
            "minutes) and the raw body, joined by dots. All three headers are sent."
        ),
    },
    "stripe": {
        "type": "apiKey",
        "in": "header",
        "name": "Stripe-Signature",
        "description": "Stripe's signature with the secret of the webhook endpoint.",
    },
    "wechatpay": {
        "type": "apiKey",
        "in": "header",
        "name": "Wechatpay-Signature",
        "description": (
            "WeChat Pay's signature (API v3) with the key of `Wechatpay-Serial`; the headers "
            "`Wechatpay-Timestamp`, `-Nonce` and `-Signature-Type` are sent, too."
        ),
    },
}


class PaymentsNotConfigured(Unavailable):
    """Raised when a provider's callback cannot be checked, since its settings are not set."""


def _receiver(name: str) -> Provider:
    found = providers.configured(settings().environment).get(name)
    if found is None or not found.can_verify:
        raise PaymentsNotConfigured(
            f"Payments of the provider {name} cannot be checked: set {providers.FIRST[name]} (or "
            f"{providers.FIRST[name]}_FILE); docs/payments.md says how."
        )
    return found


def _verified(provider: Provider) -> News | None:
    headers = {name.lower(): value for name, value in request.headers.items()}
    try:
        return provider.verify(headers, request.get_data())
    except ValidationError as error:
        refuse_invalid(error)


def _take(name: str) -> Payment | Response:
    """Book what the request tells; return the payment, or what the provider expects."""
    provider = None
    try:
        provider = _receiver(name)
        news = _verified(provider)
        payment = None
        if news is not None:
            with transaction(OrdersBatch) as batch:
                payment = take_news.take(batch, name, news)
    except FarmgateError as error:
        payment_news.labels("orders", name, slug_of(type(error).__name__)).inc()
        refusal = provider.refuse(error.detail) if provider is not None else None
        if refusal is None:
            raise
        return make_response(jsonify(refusal), status_of(error))
    payment_news.labels("orders", name, "taken" if news is not None else "ignored").inc()
    if name == STANDARD and payment is not None:
        return payment
    return make_response(jsonify(provider.acknowledge()), 200)


@blp.post("/payments/callbacks")
@public
@blp.response(200, schemas.PaymentResponse)
@blp.alt_response(401, "UNAUTHORIZED")
@blp.alt_response(409, "CONFLICT")
@blp.alt_response(422, "UNPROCESSABLE_ENTITY")
@blp.doc(
    security=[{"signature": []}],
    requestBody={
        "required": True,
        "content": {
            "application/json": {"schema": PaymentCallbackRequest, "example": PAYMENT_EXAMPLE}
        },
    },
)
def book_payment() -> Payment | Response:
    """Report a payment, a failed attempt to pay, or a refund.

    A payment provider of one's own calls and signs it. `payment_ref` names the attempt, so the
    call may be repeated; unknown fields are ignored, and old news changes nothing. A payment that
    cannot count (another amount, an order that is paid or cancelled) is booked and refunded at
    once. An order that expired asks for its stock again. `refunded` reports money that went back
    without Farmgate; an order whose money is all gone is cancelled if its goods have not left.
    """
    return _take(STANDARD)


@blp.post("/payments/callbacks/stripe")
@public
@blp.alt_response(200, description="Stored, or not about an order")
@blp.alt_response(401, "UNAUTHORIZED")
@blp.alt_response(409, "CONFLICT")
@blp.alt_response(422, "UNPROCESSABLE_ENTITY")
@blp.doc(security=[{"stripe": []}])
def take_stripe_event() -> Payment | Response:
    """Take an event of Stripe.

    Stripe calls and signs it: `payment_intent.succeeded`, `payment_intent.payment_failed`,
    `charge.refunded`, `refund.failed` and `charge.dispute.*`. The payment intent's metadata have
    the order as `order_id`; events without it are answered 200 and ignored. News about a payment
    that is not booked yet is refused with 409, and Stripe sends it again.
    """
    return _take(STRIPE)


@blp.post("/payments/callbacks/wechatpay")
@public
@blp.alt_response(200, description="Stored, or not about an order")
@blp.alt_response(401, "UNAUTHORIZED")
@blp.alt_response(409, "CONFLICT")
@blp.alt_response(422, "UNPROCESSABLE_ENTITY")
@blp.doc(security=[{"wechatpay": []}])
def take_wechatpay_notification() -> Payment | Response:
    """Take a notification of WeChat Pay (API v3): `TRANSACTION.SUCCESS` and `REFUND.*`.

    WeChat Pay calls and signs it. `out_trade_no` is the order's id without dashes, or its
    reference, `_` and a number. Refusals have WeChat Pay's form (`code` is FAIL).
    """
    return _take(WECHATPAY)
