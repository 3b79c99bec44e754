"""The route by which the payment provider reports payments, signed as Standard Webhooks."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import request
from standardwebhooks.webhooks import (
    EmptyWebhookSecretError,
    Webhook,
    WebhookVerificationError,
)

from services.orders.batch import OrdersBatch
from services.orders.models import Payment
from services.orders.schemas import orders as schemas
from services.orders.use_cases import pay
from shared.runtime.config import read
from shared.runtime.errors import Misconfigured, Unauthorized, Unavailable
from shared.web import Blueprint, public, settings, transaction

blp = Blueprint(
    "payments",
    __name__,
    url_prefix="/api/orders/v1",
    description="What the payment provider tells.",
)

SETTING = "FARMGATE_PAYMENT_SECRET"
#: The document's name of the signature.
SIGNATURE = "signature"
#: How the document explains it.
SECURITY_SCHEME = {
    "type": "apiKey",
    "in": "header",
    "name": "webhook-signature",
    "description": (
        "Standard Webhooks 1.0.0: `v1,` and the base64 of the HMAC-SHA256, with the secret agreed, "
        "of the headers `webhook-id` and `webhook-timestamp` (seconds, within 5 minutes) and the "
        "raw body, joined by dots. All three headers are sent."
    ),
}


class PaymentsNotConfigured(Unavailable):
    """Raised when no secret is set, so a provider's callback cannot be checked."""


class InvalidSignature(Unauthorized):
    """Raised when a callback was not signed by the provider, or too long ago."""


def signed_by_provider(view: Callable[..., Any]) -> Callable[..., Any]:
    """Refuse a request whose raw body is not signed with one of the provider's secrets."""

    @wraps(view)
    def checked(*args: Any, **kwargs: Any) -> Any:
        body, headers = request.get_data(), dict(request.headers)
        if not any(_is_signed(verifier, body, headers) for verifier in _verifiers()):
            raise InvalidSignature(
                "Sign the raw body as Standard Webhooks do (webhook-id, webhook-timestamp within "
                "5 minutes, webhook-signature) with the secret agreed."
            )
        return view(*args, **kwargs)

    return checked


def _verifiers() -> list[Webhook]:
    """Return one verifier per secret: two may be set, parted by a space, while one replaces one."""
    try:
        secrets = read(settings().environment, SETTING).split()
        verifiers = [Webhook(secret) for secret in secrets]
    except (Misconfigured, EmptyWebhookSecretError, ValueError) as error:
        raise PaymentsNotConfigured(_how_to_set()) from error
    if not verifiers:
        raise PaymentsNotConfigured(_how_to_set())
    return verifiers


def _how_to_set() -> str:
    return (
        f"Payments cannot be checked: set {SETTING} (or {SETTING}_FILE) to the secret agreed "
        "with the provider, whsec_ and base64."
    )


def _is_signed(verifier: Webhook, body: bytes, headers: dict[str, str]) -> bool:
    try:
        verifier.verify(body, headers, json_parse=False)
    # The library lets ValueError through for a signature without comma or base64, and for a
    # body that is no UTF-8.
    except (WebhookVerificationError, ValueError):
        return False
    return True


@blp.post("/payments/callbacks")
@public
@signed_by_provider
@blp.arguments(schemas.PaymentCallbackRequest, example=schemas.PAYMENT_EXAMPLE)
@blp.response(200, schemas.PaymentResponse)
@blp.alt_response(401, "UNAUTHORIZED")
@blp.doc(security=[{SIGNATURE: []}])
def book_payment(payment_in: dict[str, Any]) -> Payment:
    """Report a payment, or a failed attempt to pay.

    The payment provider calls and signs it. `payment_ref` names the attempt, so the call may be
    repeated. A payment that cannot count (another amount, an order that is paid or cancelled) is
    booked and refunded at once. An order that expired asks for its stock again.
    """
    with transaction(OrdersBatch) as batch:
        return pay.book_payment(batch, **payment_in)
