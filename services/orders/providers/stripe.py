"""Stripe: payment intents with the order in their metadata, refunds, chargebacks.

Stripe neither sends events in their order nor each once; https://docs.stripe.com/webhooks.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec
import stripe

from services.orders.providers import read_url
from services.orders.providers.news import (
    TIMEOUT,
    TOLERANCE_SECONDS,
    Amount,
    InvalidSignature,
    Ref,
    UnreadableNews,
    check_currency,
    code_of,
    read_json,
)
from services.orders.rules.payments import (
    STRIPE,
    Attempt,
    Disputed,
    DisputeState,
    News,
    Outcome,
    ProviderRefundState,
    RefundedInAll,
    RefundFailed,
    RefundRequest,
)
from shared.runtime.config import read
from shared.runtime.errors import Misconfigured

WEBHOOK_SECRET, API_KEY = "FARMGATE_STRIPE_WEBHOOK_SECRET", "FARMGATE_STRIPE_API_KEY"
#: Another address is that of a stand-in, such as Stripe's own stripe-mock.
URL, DEFAULT_URL = "FARMGATE_STRIPE_URL", "https://api.stripe.com"
#: The key of a payment intent's metadata that holds the order's id or reference.
ORDER = "order_id"
#: The key of a refund's metadata that holds the key under which orders asked for it.
REFUND = "farmgate_refund"

_STATES = {
    "succeeded": ProviderRefundState.DONE,
    "pending": ProviderRefundState.ACCEPTED,
    "requires_action": ProviderRefundState.ACCEPTED,
    "failed": ProviderRefundState.REFUSED,
    "canceled": ProviderRefundState.REFUSED,
}

Metadata = dict[str, str]


class _Error(msgspec.Struct):
    code: str | None = None
    decline_code: str | None = None


class _Intent(msgspec.Struct):
    id: Ref
    amount: Amount
    currency: str
    amount_received: int = 0
    metadata: Metadata | None = None
    last_payment_error: _Error | None = None


class _Charge(msgspec.Struct):
    currency: str
    amount_refunded: Amount
    payment_intent: Ref | None = None
    metadata: Metadata | None = None


class _Refund(msgspec.Struct):
    id: Ref
    amount: Amount
    payment_intent: Ref | None = None
    status: str | None = None
    failure_reason: str | None = None
    metadata: Metadata | None = None


class _Dispute(msgspec.Struct):
    id: Ref
    amount: Amount
    currency: str
    status: str
    payment_intent: Ref | None = None


class _Data(msgspec.Struct):
    object: msgspec.Raw


class _Event(msgspec.Struct):
    type: str
    data: _Data


class Stripe:
    """An account at Stripe."""

    name = STRIPE

    def __init__(self, webhook_secrets: list[str], api_key: str, url: str) -> None:
        self._secrets = webhook_secrets
        self._client: Any = None
        if api_key:
            # The timer tries again: a library that did so too would hold up the other timers.
            self._client = stripe.StripeClient(
                api_key,
                base_addresses={"api": url},
                http_client=stripe.RequestsClient(timeout=TIMEOUT),
                max_network_retries=0,
            )
        self.can_verify, self.can_refund = bool(webhook_secrets), bool(api_key)

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Stripe":
        """Read the account from its settings.

        Raises:
            Misconfigured: one of them is malformed.
        """
        secrets = read(environment, WEBHOOK_SECRET, "").split()
        api_key = read(environment, API_KEY, "")
        if not all(secret.startswith("whsec_") for secret in secrets):
            raise Misconfigured(
                f"{WEBHOOK_SECRET} must be the signing secret of the webhook endpoint (whsec_…), "
                "which Stripe's dashboard shows; two, parted by a space, while one is rolled."
            )
        if api_key and not api_key.startswith(("sk_", "rk_")):
            raise Misconfigured(
                f"{API_KEY} must be a secret or restricted key of Stripe (sk_… or rk_…) that may "
                "write refunds."
            )
        return cls(secrets, api_key, read_url(environment, URL, DEFAULT_URL))

    def verify(self, headers: Mapping[str, str], body: bytes) -> News | None:
        """Return what an event tells; None for types and payment intents that are not orders'."""
        header = headers.get("stripe-signature", "")
        if not any(_is_signed(body, header, secret) for secret in self._secrets):
            raise InvalidSignature(
                "The Stripe-Signature is not by the endpoint's signing secret, or too old; set "
                f"{WEBHOOK_SECRET} to the secret that Stripe's dashboard shows for this endpoint."
            )
        event = read_json(body, _Event)
        return _news_of(event.type, bytes(event.data.object))

    def acknowledge(self) -> dict[str, Any]:
        """Return what is shown in Stripe's dashboard."""
        return {"received": True}

    def refuse(self, detail: str) -> dict[str, Any] | None:
        """Return None: Stripe shows the problem in its dashboard, and sends the event again."""
        return None

    def refund(self, request: RefundRequest) -> Outcome:
        """Refund a payment intent, or find the refund that an earlier attempt made.

        Stripe forgets an idempotency key after a day, so from the second attempt on the refunds
        that it has are looked at first.
        """
        try:
            made = self._made_before(request) if request.attempt > 1 else None
            if made is None:
                made = self._client.v1.refunds.create(
                    params={
                        "payment_intent": request.payment_ref,
                        "amount": request.amount_fen,
                        "metadata": {REFUND: request.key, ORDER: str(request.order_id)},
                    },
                    options={"idempotency_key": request.key},
                )
        except stripe.StripeError as error:
            return _failed(error)
        state = _STATES.get(made.status, ProviderRefundState.ACCEPTED)
        refused = state == ProviderRefundState.REFUSED
        reason = code_of(getattr(made, "failure_reason", None), "failed") if refused else None
        return Outcome(state, made.id, reason, new_key=refused)

    def _made_before(self, request: RefundRequest) -> Any:
        found = self._client.v1.refunds.list(
            params={"payment_intent": request.payment_ref, "limit": 100}
        )
        return next(
            (each for each in found.auto_paging_iter() if _key_of(each.to_dict()) == request.key),
            None,
        )


def _key_of(refund: Mapping[str, Any]) -> str | None:
    found: str | None = (refund.get("metadata") or {}).get(REFUND)
    return found


def _is_signed(body: bytes, header: str, secret: str) -> bool:
    try:
        return stripe.WebhookSignature.verify_header(
            body.decode("utf-8"), header, secret, TOLERANCE_SECONDS
        )
    # ValueError: no UTF-8, or an odd moment; TypeError: a signature that is not ASCII.
    except (stripe.SignatureVerificationError, ValueError, TypeError, OverflowError):
        return False


def _news_of(kind: str, body: bytes) -> News | None:
    match kind:
        case "payment_intent.succeeded" | "payment_intent.payment_failed":
            return _attempt(read_json(body, _Intent), failed=kind.endswith("failed"))
        case "charge.refunded":
            charge = read_json(body, _Charge)
            if charge.payment_intent is None or ORDER not in (charge.metadata or {}):
                return None
            check_currency(charge.currency)
            return RefundedInAll(charge.payment_intent, charge.amount_refunded)
        case "refund.failed" | "charge.refund.updated" | "refund.updated":
            refund = read_json(body, _Refund)
            if refund.payment_intent is None or refund.status not in ("failed", "canceled"):
                return None
            return RefundFailed(
                refund.payment_intent,
                refund.id,
                (refund.metadata or {}).get(REFUND),
                refund.amount,
                code_of(refund.failure_reason, refund.status),
                new_key=True,
            )
    if kind.startswith("charge.dispute."):
        return _dispute(kind.removeprefix("charge.dispute."), read_json(body, _Dispute))
    return None


def _attempt(intent: _Intent, failed: bool) -> Attempt | None:
    order = (intent.metadata or {}).get(ORDER)
    if order is None:
        return None
    check_currency(intent.currency)
    if not failed:
        return Attempt(intent.id, _order(order), intent.amount_received or intent.amount, "paid")
    error = intent.last_payment_error or _Error()
    reason = code_of(error.decline_code or error.code)
    return Attempt(intent.id, _order(order), intent.amount, "failed", reason)


def _order(text: str) -> UUID | str:
    try:
        return UUID(text.strip())
    except ValueError:
        if not text.strip() or len(text) > 40 or "\x00" in text:
            raise UnreadableNews(f"The metadata's {ORDER} is no order's id.") from None
        return text.strip()


def _dispute(change: str, dispute: _Dispute) -> Disputed | None:
    # An inquiry (warning_…) moves no money; `updated` moves none either.
    if dispute.payment_intent is None or dispute.status.startswith("warning"):
        return None
    match change, dispute.status:
        case ("closed", "won") | ("funds_reinstated", _):
            state = DisputeState.WON
        case "closed", "lost":
            state = DisputeState.LOST
        case "created" | "funds_withdrawn", _:
            state = DisputeState.OPEN
        case _:
            return None
    check_currency(dispute.currency)
    return Disputed(dispute.payment_intent, dispute.id, dispute.amount, state)


def _failed(error: stripe.StripeError) -> Outcome:
    reason = code_of(error.code or type(error).__name__)
    if error.code == "charge_already_refunded":
        # All of it went back, which includes this refund: somebody made it in the dashboard.
        return Outcome(ProviderRefundState.DONE, reason=reason)
    if isinstance(error, stripe.InvalidRequestError | stripe.CardError | stripe.IdempotencyError):
        return Outcome(ProviderRefundState.REFUSED, reason=reason, new_key=True)
    # A wrong key of ours, a limit, an error of Stripe's, or no answer: it may succeed later.
    return Outcome(ProviderRefundState.DUE, reason=reason)
