"""A provider of one's own, or the demo's: callbacks and refunds signed as Standard Webhooks."""

import json
from collections.abc import Mapping
from typing import Any

from standardwebhooks.webhooks import (
    EmptyWebhookSecretError,
    Webhook,
    WebhookVerificationError,
)

from services.orders.providers import read_together, read_url
from services.orders.providers.news import TIMEOUT, InvalidSignature, UnreadableNews, code_of
from services.orders.rules.payments import (
    STANDARD,
    Attempt,
    News,
    Outcome,
    ProviderRefundState,
    RefundedInAll,
    RefundRequest,
)
from services.orders.schemas.callbacks import PaymentCallbackRequest
from shared.runtime import clock, strict_json
from shared.runtime.config import read
from shared.runtime.errors import Misconfigured

SECRET = "FARMGATE_PAYMENT_SECRET"
REFUND_URL, REFUND_SECRET = "FARMGATE_PAYMENT_REFUND_URL", "FARMGATE_PAYMENT_REFUND_SECRET"
#: Statuses that ask for another attempt; other 4xx are a refusal.
_LATER = frozenset((401, 403, 404, 408, 421, 425, 429))


class Standard:
    """A provider that orders shares secrets with."""

    name = STANDARD

    def __init__(self, verifiers: list[Webhook], refund_url: str, signer: Webhook | None) -> None:
        self._verifiers, self._refund_url, self._signer = verifiers, refund_url, signer
        self.can_verify, self.can_refund = bool(verifiers), signer is not None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Standard":
        """Read the provider from its settings.

        Two secrets may be set, parted by a space, while one replaces the other.

        Raises:
            Misconfigured: a secret or the address is malformed, or one of them is missing.
        """
        read_together(
            environment, (REFUND_URL, REFUND_SECRET), "a call for each refund", optional=True
        )
        refund_secrets = _webhooks(environment, REFUND_SECRET)
        return cls(
            _webhooks(environment, SECRET),
            read_url(environment, REFUND_URL, ""),
            refund_secrets[0] if refund_secrets else None,
        )

    def verify(self, headers: Mapping[str, str], body: bytes) -> News | None:
        """Return the payment, the failed attempt or the refunds that a callback tells."""
        if not any(_is_signed(verifier, body, dict(headers)) for verifier in self._verifiers):
            raise InvalidSignature(
                "Sign the raw body as Standard Webhooks do (webhook-id, webhook-timestamp within "
                "5 minutes, webhook-signature) with the secret agreed."
            )
        try:
            found = strict_json.read(body)
        except ValueError as error:
            raise UnreadableNews(f"The body is not valid JSON in UTF-8: {error}.") from error
        told: dict[str, Any] = PaymentCallbackRequest().load(found)
        if told["status"] == "refunded":
            return RefundedInAll(told["payment_ref"], told["refunded_fen"])
        return Attempt(
            told["payment_ref"],
            told["order_id"],
            told["amount_fen"],
            told["status"],
            told["reason"],
        )

    def acknowledge(self) -> dict[str, Any]:
        """Return an empty object; the route answers with the payment, if there is one."""
        return {}

    def refuse(self, detail: str) -> dict[str, Any] | None:
        """Return None: it reads problems."""
        return None

    def refund(self, request: RefundRequest) -> Outcome:
        """Send the refund, signed; the receiver knows a repetition by its `webhook-id`."""
        import requests  # here: most processes never refund, and it takes 5 MB

        assert self._signer is not None
        body = json.dumps(
            {
                "refund_id": str(request.refund_id),
                "payment_ref": request.payment_ref,
                "order_id": str(request.order_id),
                "amount_fen": request.amount_fen,
                "currency": "CNY",
                "cause": request.cause,
            }
        )
        now = clock.now()
        try:
            answer = requests.post(
                self._refund_url,
                data=body.encode(),
                headers={
                    "Content-Type": "application/json",
                    "webhook-id": request.key,
                    "webhook-timestamp": str(int(now.timestamp())),
                    "webhook-signature": self._signer.sign(request.key, now, body),
                },
                timeout=TIMEOUT,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            return Outcome(ProviderRefundState.DUE, reason=code_of(type(error).__name__))
        if answer.ok and not answer.is_redirect:
            return Outcome(ProviderRefundState.DONE)
        is_later = answer.status_code in _LATER or not 400 <= answer.status_code < 500
        state = ProviderRefundState.DUE if is_later else ProviderRefundState.REFUSED
        return Outcome(state, reason=f"http_{answer.status_code}")


def _webhooks(environment: Mapping[str, str], name: str) -> list[Webhook]:
    try:
        return [Webhook(secret) for secret in read(environment, name, "").split()]
    except (EmptyWebhookSecretError, ValueError) as error:
        raise Misconfigured(
            f"{name} (or {name}_FILE) must be the secret agreed with the payment provider: whsec_ "
            "and base64; two, parted by a space, while one replaces the other."
        ) from error


def _is_signed(verifier: Webhook, body: bytes, headers: dict[str, str]) -> bool:
    try:
        verifier.verify(body, headers, json_parse=False)
    # The library lets ValueError through for a signature without comma or base64, and for a
    # body that is no UTF-8.
    except (WebhookVerificationError, ValueError):
        return False
    return True
