"""Payment providers, each behind the same interface: what it tells, and refunds it is asked for.

A provider is imported only when its settings are set: a library of one is of no use to the others.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from services.orders.rules.payments import (
    STANDARD,
    STRIPE,
    WECHATPAY,
    News,
    Outcome,
    RefundRequest,
)
from shared.runtime.config import read
from shared.runtime.errors import Misconfigured

#: The setting without which a provider's callbacks cannot be verified.
FIRST = {
    STANDARD: "FARMGATE_PAYMENT_SECRET",
    STRIPE: "FARMGATE_STRIPE_WEBHOOK_SECRET",
    WECHATPAY: "FARMGATE_WECHATPAY_API_V3_KEY",
}


class Provider(Protocol):
    """A payment provider, as its settings describe it."""

    name: str
    #: Whether its callbacks can be verified, and whether it can be asked for refunds: the web
    #: process needs secrets for the first only, and the worker for the second only.
    can_verify: bool
    can_refund: bool

    def verify(self, headers: Mapping[str, str], body: bytes) -> News | None:
        """Return what a callback tells; None: it is not about the money of an order.

        The names of `headers` are in lower case. Unknown fields are ignored: providers add some.

        Raises:
            InvalidSignature: the provider did not sign it, or too long ago.
            UnreadableNews, WrongCurrency, marshmallow.ValidationError: it is signed, and not as the
                provider's documents say.
        """
        ...

    def acknowledge(self) -> dict[str, Any]:
        """Return the body that tells the provider that its news is stored."""
        ...

    def refuse(self, detail: str) -> dict[str, Any] | None:
        """Return the body of a refusal; None: a problem, as everywhere."""
        ...

    def refund(self, request: RefundRequest) -> Outcome:
        """Ask for one refund, or for what became of it.

        Asked again with the same key, the provider makes no second refund. No answer, and one that
        cannot be trusted, is an outcome: it is not known what the provider did.
        """
        ...


def configured(environment: Mapping[str, str]) -> dict[str, Provider]:
    """Return the providers that have settings, by name.

    Raises:
        Misconfigured: a setting is missing beside the others, or malformed.
    """
    found: dict[str, Provider] = {}
    if _has_any(environment, "FARMGATE_PAYMENT_"):
        from services.orders.providers.standard import Standard

        found[STANDARD] = Standard.of(environment)
    if _has_any(environment, "FARMGATE_STRIPE_"):
        from services.orders.providers.stripe import Stripe

        found[STRIPE] = Stripe.of(environment)
    if _has_any(environment, "FARMGATE_WECHATPAY_"):
        from services.orders.providers.wechatpay import WeChatPay

        found[WECHATPAY] = WeChatPay.of(environment)
    return found


def _has_any(environment: Mapping[str, str], beginning: str) -> bool:
    # An empty setting is none: docker compose passes those that .env leaves out as empty ones.
    return any(
        read(environment, name.removesuffix("_FILE"), "")
        for name in environment
        if name.startswith(beginning)
    )


def read_together(
    environment: Mapping[str, str], names: tuple[str, ...], what: str, *, optional: bool = False
) -> list[str]:
    """Return settings that only make sense together; if they are optional, perhaps all empty.

    Raises:
        Misconfigured: some of them are not set.
    """
    values = [read(environment, name, "") for name in names]
    missing = [name for name, value in zip(names, values, strict=True) if not value]
    if missing and not (optional and len(missing) == len(names)):
        raise Misconfigured(
            f"Set {' and '.join(missing)} (or …_FILE), too: {what} needs {', '.join(names)}."
        )
    return values


def read_url(environment: Mapping[str, str], name: str, default: str) -> str:
    """Return a setting that is the address of an HTTP API, without a slash at its end.

    Raises:
        Misconfigured: it is not an http(s) address.
    """
    url = read(environment, name, "") or default
    if url and not url.startswith(("https://", "http://")):
        raise Misconfigured(f"{name} must begin with https:// (or http://), not {url[:20]!r}.")
    return url.rstrip("/")
