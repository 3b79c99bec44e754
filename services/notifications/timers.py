"""Work by the clock: send due messages, erase contacts, delete the oldest events of feeds."""

from collections.abc import Mapping, Sequence
from time import monotonic, time_ns

import phonenumbers

from services.notifications import channels, use_cases
from services.notifications.batch import NotificationsBatch
from services.notifications.channels import Channel
from services.notifications.rules.messages import Limits, Result
from services.notifications.use_cases import Outgoing, feed, webhooks
from shared.messaging.batch import transaction
from shared.messaging.service import Timer
from shared.runtime import tracing
from shared.runtime.config import Settings, read, read_integer
from shared.runtime.database import Database
from shared.runtime.errors import Misconfigured

#: Calling codes to which messages go: the mainland, Hong Kong, Macao, Taiwan.
COUNTRIES = "+86 +852 +853 +886"
#: Seconds after which a run returns: other timers wait for the same thread.
BUDGET = 5.0


def limits_of(environment: Mapping[str, str]) -> Limits:
    """Read how many messages go to one phone, and to which countries.

    Raises:
        Misconfigured: a number is none, or a country's calling code does not exist.
    """
    name = "FARMGATE_NOTIFICATIONS_COUNTRIES"
    codes = read(environment, name, COUNTRIES).replace("+", "").replace(",", " ").split()
    known = {str(code) for code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE}
    unknown = [code for code in codes if code not in known]
    if unknown:
        raise Misconfigured(
            f"{name} names {', '.join(unknown)}; give calling codes such as +86, +852."
        )
    return Limits(
        daily_cap=read_integer(environment, "FARMGATE_NOTIFICATIONS_DAILY_CAP", 40),
        unverified_cap=read_integer(environment, "FARMGATE_NOTIFICATIONS_UNVERIFIED_CAP", 8),
        countries=frozenset(codes),
    )


def contact_days(environment: Mapping[str, str]) -> int:
    """Read how many days after an order's end its contact is erased.

    Raises:
        Misconfigured: it is no whole number of at least 1.
    """
    return read_integer(environment, "FARMGATE_CONTACT_DAYS", 30, least=1)


def feed_days(environment: Mapping[str, str]) -> int:
    """Read how many days the events of partners' feeds are kept.

    Raises:
        Misconfigured: it is no whole number of at least 1.
    """
    return read_integer(environment, "FARMGATE_FEED_DAYS", 30, least=1)


def run_send(database: Database, settings: Settings) -> bool:
    """Send due messages, for a few seconds at most; return whether there may be more.

    Messages are claimed in one transaction, sent outside of any, and recorded in another;
    `services.notifications.channels` says what that guarantees.
    """
    available = channels.channels_of(settings)
    limits = limits_of(settings.environment)
    limit = min((channel.at_once for channel in available), default=500)
    deadline = monotonic() + BUDGET
    while monotonic() < deadline:
        with transaction(database, NotificationsBatch) as batch:
            outgoing, any_due = use_cases.claim_messages(
                batch,
                channels={channel.name: channel.needs_phone for channel in available},
                limits=limits,
                limit=limit,
            )
        if not any_due:
            return False
        if outgoing:
            began_ns = time_ns()
            results = hand_over(available, outgoing)
            for each, answers in zip(outgoing, results, strict=True):
                trace(each, answers, began_ns)
            with transaction(database, NotificationsBatch) as batch:
                use_cases.record_attempts(batch, outgoing, results)
    return True


def hand_over(
    available: Sequence[Channel], outgoing: Sequence[Outgoing]
) -> list[dict[str, Result]]:
    """Hand each message to the channels that have not taken it yet; return their results."""
    results: list[dict[str, Result]] = [{} for _ in outgoing]
    for channel in available:
        wanted = [index for index, each in enumerate(outgoing) if channel.name in each.channels]
        answers = channel.send([outgoing[index] for index in wanted]) if wanted else []
        for index, answer in zip(wanted, answers, strict=True):
            results[index][channel.name] = answer
    return results


def trace(each: Outgoing, answers: Mapping[str, Result], began_ns: int) -> None:
    """Export a span of one message's hand-over."""
    failures = [answer.reason for answer in answers.values() if answer.reason]
    tracing.ended(
        "notifications",
        f"message {each.template}",
        "producer",
        {
            "message_id": str(each.message_id),
            "attempt": each.attempt,
            "channels": ",".join(each.channels),
        },
        traceparent=each.traceparent,
        began_ns=began_ns,
        failed=failures[0] if failures else None,
    )


def run_erase(database: Database, settings: Settings) -> bool:
    """Erase contacts that are no longer needed; return whether there are more."""
    days = contact_days(settings.environment)
    with transaction(database, NotificationsBatch) as batch:
        use_cases.erase_tallies(batch)
        use_cases.erase_verified(batch)
        more = use_cases.erase_contacts(batch, days)
    channels.file_channel(settings).erase_before(channels.days_kept(days))
    return more


def run_prune_feeds(database: Database, settings: Settings) -> bool:
    """Delete the oldest events and deliveries of partners; return whether there may be more."""
    days = feed_days(settings.environment)
    with transaction(database, NotificationsBatch) as batch:
        more = feed.prune_feeds(batch, days)
    with transaction(database, NotificationsBatch) as batch:
        return webhooks.prune_deliveries(batch, days) or more


TIMERS: Sequence[Timer] = (
    Timer("send", 1.0, run_send),
    Timer("erase", 3600.0, run_erase),
    Timer("prune_feeds", 3600.0, run_prune_feeds),
)
