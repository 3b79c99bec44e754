"""Rules for sending messages: states, templates, quiet hours, caps and retries. Pure functions."""

import re
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

#: Channels that reach a person outside of Farmgate. Every message is also in the person's inbox.
CHANNELS = ("file", "apprise")

#: From each state of a message, the states that may follow. `queued → dead`: the recipient never
#: became known. `sending → sending`: the sender died, and another sender claimed the message.
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
#: States from which a message is still processed.
OPEN = ("queued", "sending", "retrying")

#: Attempts to send a message; with the pauses below they take about 4 hours.
ATTEMPTS = 8
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=30), timedelta(hours=2)
#: A sender that claimed a message has this long to send it; then another sender may claim it.
LEASE = timedelta(minutes=2)
#: Shortest and longest pause before the next check of a message that still lacks a fact.
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=1), timedelta(minutes=10)


class IllegalTransition(Conflict):
    """Raised when a message's state does not allow the next one."""


def transition(status: str, following: str) -> str:
    """Return `following`, if a message in `status` may become it.

    Raises:
        IllegalTransition: there is no such transition.
    """
    if following not in TRANSITIONS[status]:
        raise IllegalTransition(f"A message that is {status} cannot become {following}.")
    return following


@dataclass(frozen=True)
class Template:
    """One kind of message: the event that causes it, its recipients, and its greatest age."""

    name: str
    #: Type of the event that causes it.
    fact: str
    #: `buyer`: the order's buyer. `producer`: each producer whose lots are in the order.
    audience: str
    #: A message older than this, counted from the event, is `stale` and is not sent.
    max_age: timedelta
    #: Urgent messages do not wait for the end of quiet hours.
    urgent: bool = False
    #: True: no channel sends it, because the next message follows within moments.
    inbox_only: bool = False
    #: True: once the order is paid or over, the message is `stale` and is not sent.
    while_unpaid: bool = False


_DAY = timedelta(days=1)

#: Every kind of message. The handlers decide further conditions, such as cash or prepaid, and the
#: last site or one on the way.
TEMPLATES: Mapping[str, Template] = {
    template.name: template
    for template in (
        Template("order_placed", "orders.order_placed.v1", "buyer", _DAY, inbox_only=True),
        Template("approval_requested", "orders.approval_requested.v1", "buyer", 3 * _DAY),
        Template(
            "payment_requested",
            "orders.payment_requested.v1",
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
    """A person's preferences; the defaults apply to everyone who has set nothing."""

    #: None: the language of the order's contact, or of the enterprise's.
    language: str | None = None
    #: Minutes after midnight in Asia/Shanghai; if both are equal, there are no quiet hours.
    quiet_from: int = 22 * 60
    quiet_to: int = 7 * 60
    channels: tuple[str, ...] = CHANNELS
    #: Messages per phone and day that channels send; None: the operator's setting alone applies.
    daily_cap: int | None = None


def quiet_until(preferences: Preferences, moment: datetime) -> datetime | None:
    """Return the UTC end of the quiet hours that `moment` is in; None if it is in none."""
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
    #: The same for an unverified phone: nobody has yet shown a collection code sent to it.
    unverified_cap: int
    #: Calling codes without the plus; messages go only to phones with these.
    countries: frozenset[str]


class Cap(NamedTuple):
    """The most messages that a phone gets in a day, and the reason given to suppress more."""

    messages: int
    reason: str


def effective_cap(preferences: Preferences, limits: Limits, *, verified: bool) -> Cap:
    """Return the smallest cap that applies to a phone, verified or not."""
    caps = [Cap(limits.daily_cap, "daily_cap")]
    if not verified:
        caps.append(Cap(limits.unverified_cap, "unverified_number"))
    if preferences.daily_cap is not None:
        caps.append(Cap(preferences.daily_cap, WISHED_CAP))
    return min(caps, key=lambda cap: cap.messages)


#: Reasons to suppress a message that its recipient does not want.
SWITCHED_OFF, WISHED_CAP = "switched_off", "wished_cap"
#: Kinds of numbers that cost the sender extra, or that no person answers.
_COSTLY = frozenset(
    (
        PhoneNumberType.PREMIUM_RATE,
        PhoneNumberType.SHARED_COST,
        PhoneNumberType.UAN,
        PhoneNumberType.PAGER,
        PhoneNumberType.VOICEMAIL,
    )
)


#: A mobile number of the mainland, as most are: no kind of it is costly. phonenumbers takes twenty
#: times as long to say so.
_MOBILE = re.compile(r"\+861[3-9][0-9]{9}")


def block_reason(phone: str | None, countries: Collection[str]) -> str | None:
    """Return why no message may go to a phone in E.164; None if messages may go to it.

    An invalid number is not blocked here: a till stored it offline, and the channel refuses it.
    """
    if phone is None or not phone.startswith("+"):
        return None
    if "86" in countries and _MOBILE.fullmatch(phone):
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

    The cap for urgent messages is twice as high: otherwise routine messages could use up the cap
    of a buyer who waits for a collection code.
    """
    return sent_today < cap * (2 if urgent else 1)


@dataclass(frozen=True)
class Decision:
    """The decision about a due message: its next state and, if it stays open, its next due time."""

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
    blocked: str | None,
    sent_today: int,
    cap: Cap,
) -> Decision:
    """Decide what happens to an open message at `moment`.

    `complete`: every fact that the text mentions has arrived. `settled`: the order is paid or over.
    `channels`: those that are switched on and have not taken the message. `blocked`: the result of
    `block_reason`. `sent_today`: the number of messages that the phone got today before this one.
    """
    if attempts >= ATTEMPTS:
        # Its sender died during the last attempt: any result would have closed the message.
        return Decision("dead", reason="attempts_used_up")
    if moment - happened_at > template.max_age:
        # A fact that never arrived is a fault, which operators must see: the message is dead.
        return (
            Decision("stale", reason="too_late") if complete else Decision("dead", None, "unknown")
        )
    if settled and template.while_unpaid:
        return Decision("stale", reason="overtaken")
    if not complete:
        return Decision(status, moment + _wait(moment - happened_at), "incomplete")
    if not channels:
        return Decision("suppressed", reason=SWITCHED_OFF)
    if attempts == 0 and blocked is not None:
        return Decision("suppressed", reason=blocked)
    until = None if template.urgent else quiet_until(preferences, moment)
    if until is not None:
        return Decision(status, until, "quiet_hours")
    if attempts == 0 and not within_cap(sent_today, cap.messages, urgent=template.urgent):
        return Decision("suppressed", reason=cap.reason)
    return Decision("sending", moment + LEASE)


def _wait(age: timedelta) -> timedelta:
    """Return the pause before the next check: the age of the message, so pauses double."""
    return max(FIRST_WAIT, min(LONGEST_WAIT, age))


def after_attempt(
    attempts: int, moment: datetime, *, missing: Collection[str], hopeless: bool
) -> Decision:
    """Decide what happens to a message after an attempt.

    `missing`: the channels that did not take it. `hopeless`: none of them will ever take it.
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

    `final`: the channel will never take this message, so there is no retry. `reason` is one of our
    own words, never a gateway's answer, which could repeat the phone number.
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
