"""When a message may be sent, to whom, and how often it is tried. Values in, values out."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import NamedTuple

import phonenumbers
from phonenumbers import PhoneNumberType

from shared.runtime.backoff import pause_after
from shared.runtime.clock import LOCAL
from shared.runtime.errors import Conflict

LANGUAGES = ("zh", "bo", "en")
DEFAULT_LANGUAGE = "zh"

#: Channels that reach a person outside of Farmgate; the inbox is always on.
CHANNELS = ("file", "apprise")

#: Source: domain.md section 3, the message machine. `queued → dead`: its recipient never became
#: known. `sending → sending`: its sender died, and another sender claimed it.
TRANSITIONS: Mapping[str, frozenset[str]] = {
    "queued": frozenset({"sending", "sent", "suppressed", "stale", "dead"}),
    "sending": frozenset({"sending", "sent", "retrying", "suppressed", "stale", "dead"}),
    "retrying": frozenset({"sending", "suppressed", "stale", "dead"}),
    "sent": frozenset({"delivered"}),
    "delivered": frozenset(),
    "suppressed": frozenset(),
    "stale": frozenset(),
    "dead": frozenset(),
}
STATUSES = tuple(TRANSITIONS)
#: States of messages that have not ended.
OPEN = ("queued", "sending", "retrying")

#: Attempts to hand a message to its channels; with the pauses below, over about 4 hours.
ATTEMPTS = 8
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=30), timedelta(hours=2)
#: How long a sender may take with a message it has claimed, before another may claim it.
LEASE = timedelta(minutes=2)
#: Pauses between checks for a fact that has not arrived yet, doubling.
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=1), timedelta(minutes=10)


class IllegalTransition(Conflict):
    """Raised when a message's state does not allow the next one."""


def transition(status: str, following: str) -> str:
    """Return `following`, if a message in `status` may become it.

    Raises:
        IllegalTransition: the machine has no such arrow.
    """
    if following not in TRANSITIONS[status]:
        raise IllegalTransition(f"A message that is {status} cannot become {following}.")
    return following


@dataclass(frozen=True)
class Template:
    """One kind of message: which fact causes it, who gets it, and how long it is useful."""

    name: str
    #: Type of the event it is about.
    fact: str
    #: `buyer`: of the order. `producer`: every producer whose lots are in the order.
    audience: str
    #: After this time since the fact the message is `stale`.
    useful: timedelta
    #: Urgent messages do not wait for the end of quiet hours.
    urgent: bool = False
    #: False: shown in the inbox only, because the next message follows within moments.
    direct: bool = True
    #: True: pointless once the order is paid or over.
    while_unpaid: bool = False


_DAY = timedelta(days=1)

#: Every kind of message: a fact, and who is notified of it. Conditions (cash or prepaid, the last
#: site or one on the way) are in the handlers.
TEMPLATES: Mapping[str, Template] = {
    template.name: template
    for template in (
        Template("order_placed", "orders.order_placed.v1", "buyer", _DAY, direct=False),
        Template("approval_requested", "orders.approval_requested.v1", "buyer", 3 * _DAY),
        Template(
            "payment_requested",
            "catalog.stock_reserved.v1",
            "buyer",
            timedelta(hours=1),
            urgent=True,
            while_unpaid=True,
        ),
        Template("order_paid", "orders.order_paid.v1", "buyer", 2 * _DAY),
        Template(
            "payment_failed",
            "orders.payment_failed.v1",
            "buyer",
            timedelta(hours=6),
            urgent=True,
            while_unpaid=True,
        ),
        Template("order_confirmed", "orders.order_confirmed.v1", "buyer", 2 * _DAY),
        Template("goods_sold", "orders.order_confirmed.v1", "producer", 3 * _DAY),
        Template("sale_replaced", "orders.order_confirmed.v1", "producer", 3 * _DAY),
        Template("order_rejected", "orders.order_rejected.v1", "buyer", 3 * _DAY),
        Template("order_declined", "orders.order_rejected.v1", "buyer", 3 * _DAY),
        Template("order_expired", "orders.order_expired.v1", "buyer", 3 * _DAY),
        Template("order_cancelled", "orders.order_cancelled.v1", "buyer", 3 * _DAY),
        Template("sale_cancelled", "orders.order_cancelled.v1", "producer", 3 * _DAY),
        Template("payment_refunded", "orders.payment_refunded.v1", "buyer", 14 * _DAY),
        Template("shipment_dispatched", "logistics.shipment_dispatched.v1", "buyer", 3 * _DAY),
        Template("shipment_arrived", "logistics.shipment_arrived.v1", "buyer", 2 * _DAY),
        Template(
            "collection_code",
            "logistics.collection_code_issued.v1",
            "buyer",
            14 * _DAY,
            urgent=True,
        ),
        Template("shipment_delivered", "logistics.shipment_delivered.v1", "buyer", 3 * _DAY),
        Template("shipment_collected", "logistics.shipment_collected.v1", "buyer", 3 * _DAY),
        Template("delivery_failed", "logistics.delivery_failed.v1", "buyer", 3 * _DAY),
        # The same fact with the reason `lot_recalled`.
        Template("parcel_recalled", "logistics.delivery_failed.v1", "buyer", 14 * _DAY),
        Template(
            "goods_recalled",
            "logistics.shipment_recalled.v1",
            "buyer",
            30 * _DAY,
            urgent=True,
        ),
        Template("goods_returned", "logistics.shipment_returned.v1", "producer", 7 * _DAY),
        Template("order_returned", "orders.order_returned.v1", "buyer", 7 * _DAY),
        Template("sale_completed", "orders.order_completed.v1", "producer", 7 * _DAY),
    )
}


@dataclass(frozen=True)
class Preferences:
    """What a person prefers; the defaults apply to everyone who has set nothing."""

    #: None: the language given with the order, or with the enterprise's contact.
    language: str | None = None
    #: Minutes after midnight in Asia/Shanghai; equal ones mean no quiet hours.
    quiet_from: int = 22 * 60
    quiet_to: int = 7 * 60
    channels: tuple[str, ...] = CHANNELS
    #: Messages per phone and day that are sent outside of the inbox; None: the setting's.
    daily_cap: int | None = None


def quiet_until(preferences: Preferences, moment: datetime) -> datetime | None:
    """Return when the quiet hours around `moment` end, in UTC; None outside of them."""
    local = moment.astimezone(LOCAL)
    minute = local.hour * 60 + local.minute
    start, end = preferences.quiet_from, preferences.quiet_to
    if start == end:
        return None
    quiet = start <= minute < end if start < end else minute >= start or minute < end
    if not quiet:
        return None
    until = datetime.combine(local.date(), time(end // 60, end % 60), LOCAL)
    return (until if until > local else until + _DAY).astimezone(UTC)


@dataclass(frozen=True)
class Limits:
    """Limits against abuse: messages that harass people, or run up the operator's bill."""

    #: Messages per phone and day.
    daily_cap: int
    #: The same, for a phone that is not verified: no collection code that it got was shown.
    unverified_cap: int
    #: Calling codes, without the plus, to which messages go.
    countries: frozenset[str]


class Cap(NamedTuple):
    """How many messages a phone gets today, and the reason given when more are suppressed."""

    messages: int
    reason: str


def cap_of(preferences: Preferences, limits: Limits, *, trusted: bool) -> Cap:
    """Return the smallest of the caps that the settings and the person set."""
    caps = [Cap(limits.daily_cap, "daily_cap")]
    if not trusted:
        caps.append(Cap(limits.unverified_cap, "unverified_number"))
    if preferences.daily_cap is not None:
        caps.append(Cap(preferences.daily_cap, WISHED_CAP))
    return min(caps, key=lambda cap: cap.messages)


#: Reasons of messages that are suppressed because their reader does not want them.
SWITCHED_OFF, WISHED_CAP = "switched_off", "wished_cap"
#: Numbers whose owner is paid at the sender's cost, or that no person answers.
_COSTLY = frozenset(
    (
        PhoneNumberType.PREMIUM_RATE,
        PhoneNumberType.SHARED_COST,
        PhoneNumberType.UAN,
        PhoneNumberType.PAGER,
        PhoneNumberType.VOICEMAIL,
    )
)


def barred(phone: str | None, countries: Collection[str]) -> str | None:
    """Return the reason why no message may go to a number in E.164; None: it may.

    A text that is no number passes: a till took it offline, and the channel refuses it.
    """
    if phone is None or not phone.startswith("+"):
        return None
    try:
        number = phonenumbers.parse(phone, None)
    except phonenumbers.NumberParseException:
        return None
    if str(number.country_code) not in countries:
        return "country_not_allowed"
    return "costly_number" if phonenumbers.number_type(number) in _COSTLY else None


def within_cap(sent_today: int, cap: int, *, urgent: bool) -> bool:
    """Tell whether one more message may go to a phone today.

    Urgent ones may use as much again: otherwise routine texts could use up the cap of a buyer
    who waits for a collection code.
    """
    return sent_today < cap * (2 if urgent else 1)


@dataclass(frozen=True)
class Decision:
    """What happens to a due message: its next state and, if it stays open, when it is due again."""

    status: str
    due_at: datetime | None = None
    reason: str | None = None


def decide(
    template: Template,
    preferences: Preferences,
    *,
    status: str,
    happened_at: datetime,
    moment: datetime,
    attempts: int,
    complete: bool,
    settled: bool,
    channels: Collection[str],
    bar: str | None,
    sent_today: int,
    cap: Cap,
) -> Decision:
    """Decide what happens to an open message at `moment`.

    `complete`: everything that the text mentions is known. `settled`: the order is paid or over.
    `channels`: those that have not taken the message and are not switched off. `bar`: why the
    phone must get no message, or None. `sent_today`: how many it got today, without this one.
    """
    if attempts >= ATTEMPTS:
        # The last attempt ended without a result, or it would not be open.
        return Decision("dead", reason="attempts_used_up")
    if moment - happened_at > template.useful:
        # A text that is still incomplete is a fault that operators must see, not an old message.
        return (
            Decision("stale", reason="too_late") if complete else Decision("dead", None, "unknown")
        )
    if settled and template.while_unpaid:
        return Decision("stale", reason="overtaken")
    if not complete:
        return Decision(status, moment + _wait(moment - happened_at), "incomplete")
    if not channels:
        return Decision("suppressed", reason=SWITCHED_OFF)
    if attempts == 0 and bar is not None:
        return Decision("suppressed", reason=bar)
    until = None if template.urgent else quiet_until(preferences, moment)
    if until is not None:
        return Decision(status, until, "quiet_hours")
    if attempts == 0 and not within_cap(sent_today, cap.messages, urgent=template.urgent):
        return Decision("suppressed", reason=cap.reason)
    return Decision("sending", moment + LEASE)


def _wait(age: timedelta) -> timedelta:
    """Return the pause before the next check: about the age of the message."""
    return max(FIRST_WAIT, min(LONGEST_WAIT, age))


def after_attempt(
    attempts: int, moment: datetime, *, missing: Collection[str], hopeless: bool
) -> Decision:
    """Decide what happens to a message after an attempt, given the channels that refused it.

    `hopeless` is whether none of these channels will ever take it.
    """
    if not missing:
        return Decision("sent")
    if hopeless:
        return Decision("dead", reason="refused")
    if attempts >= ATTEMPTS:
        return Decision("dead", reason="attempts_used_up")
    return Decision("retrying", moment + pause_after(attempts, FIRST_PAUSE, LONGEST_PAUSE))


@dataclass(frozen=True)
class Result:
    """The result of handing a message to one channel; `reason` None: the channel took it.

    `final`: the channel will never take this message, so it is not retried. Reasons are our own
    words, never a gateway's: its answer could repeat the phone number.
    """

    reason: str | None = None
    final: bool = False


def language_of(*tags: str | None) -> str:
    """Return the first of the language tags (`zh`, `zh-CN`, `bo`, …) that messages exist in."""
    for tag in tags:
        primary = (tag or "").replace("_", "-").partition("-")[0].lower()
        if primary in LANGUAGES:
            return primary
    return DEFAULT_LANGUAGE


def clock_time(minute: int) -> str:
    """Return minutes after midnight as `HH:MM`."""
    return f"{minute // 60:02d}:{minute % 60:02d}"


def minute_of(clock: str) -> int:
    """Return `HH:MM` as minutes after midnight."""
    hours, _, minutes = clock.partition(":")
    return int(hours) * 60 + int(minutes)
