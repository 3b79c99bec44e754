"""When a message may go out, to whom, and how often it is tried. Values in, values out."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import NamedTuple

import phonenumbers
from phonenumbers import PhoneNumberType

from shared.runtime.clock import LOCAL
from shared.runtime.errors import Conflict

LANGUAGES = ("zh", "bo", "en")
DEFAULT_LANGUAGE = "zh"

#: Channels that reach a person outside of Farmgate; the inbox is always on.
CHANNELS = ("file", "apprise")

#: Source: domain.md section 3, the message machine. `queued → dead` is a message that could
#: never be completed, because nobody said whom it is for; `sending → sending` is claimed again
#: after its sender died.
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
#: States in which a message still has something to do.
OPEN = ("queued", "sending", "retrying")

#: Tries to hand a message to its channels; with the pauses below, over about 4 hours.
ATTEMPTS = 8
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=30), timedelta(hours=2)
#: How long a sender may take with what it has claimed, before another may claim it again.
LEASE = timedelta(minutes=2)
#: Pauses between looks for a fact that another service has yet to tell, doubling.
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=1), timedelta(minutes=10)


class IllegalTransition(Conflict):
    """Raised when a message's state does not allow the next one."""


def become(status: str, following: str) -> str:
    """Return `following`, if a message in `status` may become it.

    Raises:
        IllegalTransition: the machine has no such arrow.
    """
    if following not in TRANSITIONS[status]:
        raise IllegalTransition(f"A message that is {status} cannot become {following}.")
    return following


@dataclass(frozen=True)
class Template:
    """One kind of message: who gets it because of which fact, and how long it is of use."""

    name: str
    #: Type of the event it is about.
    fact: str
    #: `buyer`: who ordered. `producer`: everyone whose lots are in the order.
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

#: Every message there is: a fact, and who is told. Conditions (cash or prepaid, the last site
#: or one on the way) are in the handlers.
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
class Wishes:
    """What a person asked for; the defaults are for those who asked for nothing."""

    #: None: the language given with the order or enterprise.
    language: str | None = None
    #: Minutes after midnight in Asia/Shanghai; equal ones mean no quiet hours.
    quiet_from: int = 22 * 60
    quiet_to: int = 7 * 60
    channels: tuple[str, ...] = CHANNELS
    #: Messages per phone and day that are sent outside of the inbox; None: the setting's.
    daily_cap: int | None = None


def quiet_until(wishes: Wishes, moment: datetime) -> datetime | None:
    """Return when the quiet hours around `moment` end, in UTC; None outside of them."""
    local = moment.astimezone(LOCAL)
    minute = local.hour * 60 + local.minute
    start, end = wishes.quiet_from, wishes.quiet_to
    if start == end:
        return None
    quiet = start <= minute < end if start < end else minute >= start or minute < end
    if not quiet:
        return None
    until = datetime.combine(local.date(), time(end // 60, end % 60), LOCAL)
    return (until if until > local else until + _DAY).astimezone(UTC)


@dataclass(frozen=True)
class Limits:
    """What keeps messages from becoming a weapon against people or a bill for the operator."""

    #: Messages per phone and day.
    daily_cap: int
    #: The same, of a phone whose owner never showed a collection code that was sent to it.
    unverified_cap: int
    #: Calling codes, without the plus, to which messages go.
    countries: frozenset[str]


class Cap(NamedTuple):
    """How many messages a phone gets today, and by which word more of them are suppressed."""

    messages: int
    reason: str


def cap_of(wishes: Wishes, limits: Limits, *, trusted: bool) -> Cap:
    """Return the least of what the settings and the person allow."""
    caps = [Cap(limits.daily_cap, "daily_cap")]
    if not trusted:
        caps.append(Cap(limits.unverified_cap, "unverified_number"))
    if wishes.daily_cap is not None:
        caps.append(Cap(wishes.daily_cap, WISHED_CAP))
    return min(caps, key=lambda cap: cap.messages)


#: Why a message is suppressed that its own reader does not want.
SWITCHED_OFF, WISHED_CAP = "switched_off", "wished_cap"
#: Kinds of numbers that somebody is paid for, at the sender's cost, or that no person answers.
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
    """Return by which word no message goes to a number in E.164, or None.

    What a till took for a number, and is none, is for the channel to refuse.
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

    Urgent ones may use as much again, so that routine texts cannot use up the day of somebody
    who waits for a collection code.
    """
    return sent_today < cap * (2 if urgent else 1)


@dataclass(frozen=True)
class Verdict:
    """What becomes of a message whose turn it is: its state, and if open, when to look again."""

    status: str
    due_at: datetime | None = None
    reason: str | None = None


def judge(
    template: Template,
    wishes: Wishes,
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
) -> Verdict:
    """Say what becomes of an open message at `moment`.

    `complete` is whether everything the text needs is known; `settled` whether the order is
    paid or over; `channels` are those that are still to be tried and not switched off; `bar` is
    why the phone must get none, or None; `sent_today` counts what it got today, this message
    not included.
    """
    if attempts >= ATTEMPTS:
        # The last attempt ended without a result, or it would not be open.
        return Verdict("dead", reason="attempts_used_up")
    if moment - happened_at > template.useful:
        # Nobody ever said whom it is for: that is a fault to be seen, not an old message.
        return Verdict("stale", reason="too_late") if complete else Verdict("dead", None, "unknown")
    if settled and template.while_unpaid:
        return Verdict("stale", reason="overtaken")
    if not complete:
        return Verdict(status, moment + _wait(moment - happened_at), "incomplete")
    if not channels:
        return Verdict("suppressed", reason=SWITCHED_OFF)
    if attempts == 0 and bar is not None:
        return Verdict("suppressed", reason=bar)
    until = None if template.urgent else quiet_until(wishes, moment)
    if until is not None:
        return Verdict(status, until, "quiet_hours")
    if attempts == 0 and not within_cap(sent_today, cap.messages, urgent=template.urgent):
        return Verdict("suppressed", reason=cap.reason)
    return Verdict("sending", moment + LEASE)


def _wait(age: timedelta) -> timedelta:
    """Return the pause before the next look: about as long as the message is old."""
    return max(FIRST_WAIT, min(LONGEST_WAIT, age))


def pause_after(attempts: int) -> timedelta:
    """Return how long to wait after the `attempts`-th failure: doubling up to a limit."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * (1 << (attempts - 1)))


def after_attempt(
    attempts: int, moment: datetime, *, missing: Collection[str], hopeless: bool
) -> Verdict:
    """Say what becomes of a message after an attempt, given the channels that did not take it.

    `hopeless` is whether every channel that is missing will never take it.
    """
    if not missing:
        return Verdict("sent")
    if hopeless:
        return Verdict("dead", reason="refused")
    if attempts >= ATTEMPTS:
        return Verdict("dead", reason="attempts_used_up")
    return Verdict("retrying", moment + pause_after(attempts))


@dataclass(frozen=True)
class Result:
    """What came of handing a message to one channel; `reason` None means that it was taken.

    `final`: the same message will never be taken, so there is no use in trying again. Reasons
    are words of ours, never a gateway's: an answer could repeat the phone number.
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
