"""What payment providers tell and are asked, as values; and when a refund is tried again.

Money is integer fen (CNY).
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Literal
from uuid import UUID

#: The provider whose callbacks are signed as Standard Webhooks.
STANDARD = "standard"
STRIPE = "stripe"
WECHATPAY = "wechatpay"

#: Causes of money that went back without orders' decision.
PROVIDER_REFUND = "provider_refund"
CHARGEBACK = "chargeback"
NOT_OURS = (PROVIDER_REFUND, CHARGEBACK)

# --- What a provider tells ----------------------------------------------------------------------


@dataclass(frozen=True)
class Attempt:
    """A buyer's attempt to pay succeeded or failed."""

    payment_ref: str
    #: The order's id or its reference, as the provider was given it.
    order: UUID | str
    amount_fen: int
    status: Literal["paid", "failed"]
    #: Why it failed, as a code.
    reason: str | None = None


@dataclass(frozen=True)
class RefundedInAll:
    """The provider has refunded this much of a payment, by all refunds together."""

    payment_ref: str
    refunded_fen: int


@dataclass(frozen=True)
class OneRefund:
    """The provider made one refund of a payment."""

    payment_ref: str
    #: The provider's own name for the refund.
    provider_ref: str
    #: The key with which orders asked for it; or the name that somebody else gave it.
    key: str
    amount_fen: int


@dataclass(frozen=True)
class RefundFailed:
    """A refund ended without the buyer getting the money, perhaps after it had seemed done."""

    payment_ref: str
    provider_ref: str
    key: str | None
    amount_fen: int
    reason: str
    #: As in `Outcome`.
    new_key: bool


class DisputeState(StrEnum):
    """The state of a chargeback: the buyer's bank took the money back."""

    OPEN = "open"
    WON = "won"
    LOST = "lost"


@dataclass(frozen=True)
class Disputed:
    """A buyer's bank took a payment back, or gave it back when the dispute was won."""

    payment_ref: str
    dispute_ref: str
    amount_fen: int
    state: DisputeState


News = Attempt | RefundedInAll | OneRefund | RefundFailed | Disputed

# --- What a provider is asked -------------------------------------------------------------------


class ProviderRefundState(StrEnum):
    """What became of a refund at the provider."""

    #: The provider has yet to be asked, or its answer did not arrive.
    DUE = "due"
    #: The provider took the request; the money is on its way.
    ACCEPTED = "accepted"
    DONE = "done"
    #: The provider said no: an operator decides.
    REFUSED = "refused"
    #: Nobody is asked: the provider of one's own follows `payment_refunded`.
    NOT_CALLED = "not_called"


#: States in which nothing more is to come.
OPEN_STATES = (ProviderRefundState.DUE, ProviderRefundState.ACCEPTED, ProviderRefundState.REFUSED)


@dataclass(frozen=True)
class RefundRequest:
    """A refund that a provider is asked for."""

    refund_id: UUID
    #: The name under which the provider makes it once, however often it is asked.
    key: str
    #: From 1; from the second on, the provider may have made the refund already.
    attempt: int
    provider: str
    payment_ref: str
    order_id: UUID
    amount_fen: int
    #: The amount of the payment, of which the refund is a part or the whole.
    paid_fen: int
    cause: str


@dataclass(frozen=True)
class Outcome:
    """A provider's answer to a refund: accepted, done, refused; or due, when it is not known."""

    state: ProviderRefundState
    provider_ref: str | None = None
    #: Why it is refused or not known, as a code.
    reason: str | None = None
    #: Whether a later attempt needs another key: the provider stores its answer under this one.
    new_key: bool = False


def refund_key(refund_id: UUID, key_round: int) -> str:
    """Return the key of a refund, up to 37 letters and digits; it changes only with the round."""
    return f"{refund_id.hex}-{key_round}" if key_round else refund_id.hex


def refund_of(key: str | None) -> UUID | None:
    """Return the id of the refund that a key names; None: the key is not one of orders'."""
    name, _, key_round = (key or "").partition("-")
    if len(name) != 32 or (key_round and not key_round.isdigit()):
        return None
    try:
        return UUID(hex=name)
    except ValueError:
        return None


#: The first attempt after one whose outcome is not known; more than a call can take.
FIRST_WAIT = timedelta(minutes=1)
LONGEST_WAIT = timedelta(hours=1)
#: How often a provider is asked about a refund that it accepted.
ASK_AGAIN = timedelta(hours=1)


def wait_after(attempt: int) -> timedelta:
    """Return how long after an attempt without an answer the next one follows."""
    return min(FIRST_WAIT * (1 << min(attempt - 1, 10)), LONGEST_WAIT)
