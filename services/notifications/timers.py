"""Work by the clock: send what is due, erase what is of no use. Edges: they open transactions."""

from collections.abc import Mapping, Sequence
from time import monotonic, time_ns

import phonenumbers

from services.notifications import channels, use_cases
from services.notifications.channels import Channel
from services.notifications.rules import Limits, Result
from services.notifications.use_cases import Outgoing
from shared.messaging.service import Timer
from shared.runtime import tracing
from shared.runtime.config import Settings, read, read_integer
from shared.runtime.database import Database
from shared.runtime.errors import Misconfigured

#: Calling codes to which messages go: the mainland, Hong Kong, Macao, Taiwan.
COUNTRIES = "+86 +852 +853 +886"
#: Seconds after which a run gives the thread back; other timers wait for it.
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


def run_send(database: Database, settings: Settings) -> bool:
    """Send what is due, for a few seconds at most; return whether there may be more.

    Claimed in one transaction, sent outside of any, recorded in another: see
    `services.notifications.channels` for what that promises.
    """
    ways = channels.channels_of(settings)
    limits = limits_of(settings.environment)
    limit = min((way.at_once for way in ways), default=200)
    deadline = monotonic() + BUDGET
    while monotonic() < deadline:
        with database.sessions.begin() as session:
            outgoing, any_due = use_cases.claim_messages(
                session,
                channels={way.name: way.needs_phone for way in ways},
                limits=limits,
                limit=limit,
            )
        if not any_due:
            return False
        if outgoing:
            began_ns = time_ns()
            results = hand_over(ways, outgoing)
            for each, answers in zip(outgoing, results, strict=True):
                trace(each, answers, began_ns)
            with database.sessions.begin() as session:
                use_cases.record_attempts(session, outgoing, results)
    return True


def hand_over(ways: Sequence[Channel], outgoing: Sequence[Outgoing]) -> list[dict[str, Result]]:
    """Hand each message to the channels that have not taken it yet; say what came of it."""
    results: list[dict[str, Result]] = [{} for _ in outgoing]
    for way in ways:
        wanted = [index for index, each in enumerate(outgoing) if way.name in each.channels]
        answers = way.send([outgoing[index] for index in wanted]) if wanted else []
        for index, answer in zip(wanted, answers, strict=True):
            results[index][way.name] = answer
    return results


def trace(each: Outgoing, answers: Mapping[str, Result], began_ns: int) -> None:
    """Add a span of one message's hand-over."""
    missing = [answer.reason for answer in answers.values() if answer.reason]
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
        failed=missing[0] if missing else None,
    )


def run_erase(database: Database, settings: Settings) -> bool:
    """Erase contacts that are of no use any more; return whether there are more."""
    days = read_integer(settings.environment, "FARMGATE_CONTACT_DAYS", 30, least=1)
    with database.sessions.begin() as session:
        use_cases.erase_tallies(session)
        use_cases.erase_verified(session)
        more = use_cases.erase_contacts(session, days)
    channels.file_channel(settings).erase_before(channels.days_kept(days))
    return more


TIMERS: Sequence[Timer] = (
    Timer("send", 0.5, run_send),
    Timer("erase", 3600.0, run_erase),
)
