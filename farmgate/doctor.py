"""The checks of `farmgate doctor`; each reports what it found, or what is wrong and what to do."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pika
from pika.exceptions import AMQPError, ChannelClosedByBroker
from sqlalchemy import func, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from farmgate import run_file
from farmgate.broker_users import FEEDER
from farmgate.client import Client, addresses
from farmgate.failures import Failed, Unreachable, reason_of
from farmgate.integrators import list_integrators
from farmgate.management import management_of
from farmgate.migrating import refusal
from farmgate.services import NAMES, service_of
from services.notifications.use_cases import queues
from services.orders import providers
from shared.messaging import parked, topology
from shared.messaging.feeding import Outcome
from shared.messaging.tables import Outbox
from shared.runtime import clock, late, migrations
from shared.runtime.config import Settings, read
from shared.runtime.database import Database
from shared.runtime.errors import Misconfigured

#: Seconds an event may wait to be published.
LATE = 30
#: Seconds by which a database's clock may differ from this machine's: both set time limits.
CLOCK_SECONDS = 5
#: Events in a queue; with more, its worker does not keep up.
LONG_QUEUE = 10_000
#: The part of an integrator's queue that may be in use, how long nobody may take anything from it,
#: and how old the feeder's last look at it may be.
FULL = 0.8
STANDS_STILL, NOT_LOOKED = timedelta(hours=1), timedelta(minutes=2)
#: Bytes of free disk space; with less, PostgreSQL, RabbitMQ and SQLite soon refuse to write.
FREE_BYTES = 1_000_000_000
#: Allocates 1 MB of new pages and frees it. With more, a nearly full server might lack room for its
#: next log segment, and stop.
ALLOCATE_PAGES = text(
    "CREATE TEMPORARY TABLE doctor_takes_room ON COMMIT DROP AS SELECT generate_series(1, 28000)"
)


class CheckFailed(Exception):
    """Raised when a check fails; the message says what is wrong and what to do."""


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    check: str
    ok: bool
    detail: str


def examine(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Run every check that applies to the settings; yield each result."""
    data = Path(read(environment, "FARMGATE_DATA", "var"))
    yield _check("disk", _disk, data)
    yield _check("signing key", _signing_key, data)
    yield _check("payment secret", _payment_secret, environment, data)
    yield _check("payment providers", _payment_providers, environment)
    brokers: dict[str, str] = {}
    feeder: Settings | None = None
    for name in NAMES:
        try:
            settings = Settings.from_environment(name, environment)
        except Misconfigured as error:
            yield Finding(f"{name}: settings", False, error.detail)
            continue
        yield Finding(f"{name}: settings", True, _mode(settings))
        yield _check(f"{name}: token keys", _jwks, settings)
        database = _check(f"{name}: database", _database, settings)
        yield database
        if database.ok:
            feeder = settings if name == FEEDER else feeder
            yield _check(f"{name}: writes", _writes, settings)
            yield _check(f"{name}: events", _events, settings)
            yield _check(f"{name}: clock", _clock, settings)
            if service_of(name).late:
                yield _check(f"{name}: late", _late, settings)
        if settings.broker_url:
            brokers.setdefault(settings.broker_url, name)
    for url in brokers:
        yield _check(f"broker {_without_password(url)}", _broker, url)
    if brokers:
        yield _check("broker's alarms", _alarms, environment)
        yield _check("topology", _topology, next(iter(brokers)))
        for name in NAMES:
            yield _check(f"{name}: queue", _queue, next(iter(brokers)), name)
        if feeder is not None:
            yield _check("integrators' queues", _integrators, environment, feeder)
    client = Client(addresses(environment), token=None)
    running = run_file.read(data) is not None
    for name in NAMES:
        yield _check(f"{name}: answers", _ready, client, name, running)


def _check(name: str, work: Callable[..., str], *what: Any) -> Finding:
    try:
        return Finding(name, True, work(*what))
    except CheckFailed as failure:
        return Finding(name, False, str(failure))


def _disk(data: Path) -> str:
    place = data if data.exists() else data.absolute().parent
    try:
        free = shutil.disk_usage(place).free
    except OSError as error:
        raise CheckFailed(
            f"{place} cannot be read: {error.strerror}. Set FARMGATE_DATA."
        ) from error
    if free < FREE_BYTES:
        raise CheckFailed(f"only {free / 1e9:.1f} GB are free at {place}; free disk space.")
    return f"{free / 1e9:.0f} GB free at {place}"


def _signing_key(data: Path) -> str:
    path = data / "keys" / "signing.json"
    if not path.exists():
        raise CheckFailed(
            f"{path} is missing; the first `farmgate up` or `farmgate tokens issue` makes it"
        )
    mode = path.stat().st_mode & 0o077
    if mode:
        raise CheckFailed(f"{path} can be read by others; chmod 600 {path}")
    return str(path)


def _payment_secret(environment: Mapping[str, str], data: Path) -> str:
    try:
        if read(environment, "FARMGATE_PAYMENT_SECRET", ""):
            return "set by FARMGATE_PAYMENT_SECRET"
    except Misconfigured as error:
        raise CheckFailed(error.detail) from error
    path = data / "keys" / "payment_secret"
    if not path.exists():
        raise CheckFailed(
            "set FARMGATE_PAYMENT_SECRET_FILE; without it prepaid orders cannot be paid"
        )
    return str(path)


def _payment_providers(environment: Mapping[str, str]) -> str:
    """Check the settings of payment providers that this command has, too."""
    try:
        found = providers.configured(environment)
    except Misconfigured as error:
        raise CheckFailed(error.detail) from error
    able = [
        f"{name} ({', '.join(what for what, can in uses.items() if can)})"
        for name, provider in found.items()
        if any((uses := {"reports": provider.can_verify, "refunds": provider.can_refund}).values())
    ]
    return "; ".join(able) or "none is set here"


def _mode(settings: Settings) -> str:
    return "RabbitMQ" if settings.broker_url else "embedded, no broker"


def _jwks(settings: Settings) -> str:
    if settings.jwks.startswith(("http://", "https://")):
        return settings.jwks
    try:
        keys = json.loads(Path(settings.jwks).read_text(encoding="utf-8"))["keys"]
    except (OSError, ValueError, KeyError) as error:
        raise CheckFailed(
            f"{settings.jwks} holds no keys ({error}); set FARMGATE_JWKS, or start "
            "`farmgate up` once"
        ) from error
    return f"{len(keys)} in {settings.jwks}"


def _database(settings: Settings) -> str:
    name = settings.service
    url = make_url(settings.database_url)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        raise CheckFailed(f"{url.database} is missing; run: farmgate migrate {name}")
    try:
        present, newest = migrations.revisions(name, settings.database_url)
    except SQLAlchemyError as error:
        raise CheckFailed(
            f"{url.render_as_string()} cannot be used: {_first_line(error)}; check "
            f"FARMGATE_{name.upper()}_DATABASE_URL and that the server runs"
        ) from error
    if present is not None and not migrations.knows(name, present):
        raise CheckFailed(refusal(settings, present, f"{newest}"))
    if present != newest:
        raise CheckFailed(f"at revision {present}, not {newest}; run: farmgate migrate {name}")
    return f"{url.render_as_string()}, revision {present}"


@contextmanager
def _connected(settings: Settings, refused: str) -> Iterator[Database]:
    """Open a service's database; an error of it becomes a `CheckFailed` with the text `refused`."""
    database = Database(settings.database_url, statement_seconds=10)
    try:
        yield database
    except SQLAlchemyError as error:
        raise CheckFailed(refused.format(_first_line(error))) from error
    finally:
        database.close()


def _writes(settings: Settings) -> str:
    """Check that the database can store new rows: on a full volume it still reads."""
    refused = (
        "refused: {}; requests get 503 and events wait until the database stores rows again: free "
        "space on its volume, or find out why it is read-only"
    )
    with _connected(settings, refused) as database:
        if database.is_sqlite:
            return "to the disk above"
        with database.sessions.begin() as session:
            session.execute(ALLOCATE_PAGES)
    return "new rows are stored"


def _events(settings: Settings) -> str:
    with _connected(settings, "cannot be counted: {}") as database, database.readers() as session:
        oldest = session.scalar(
            select(func.min(Outbox.recorded_at)).where(Outbox.position.is_(None))
        )
        counts = parked.counts(session)
    if counts:
        states = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
        raise CheckFailed(f"parked: {states}; see why: farmgate parked list")
    if oldest is None:
        return "none waits to be published, none is parked"
    age = (clock.now() - oldest).total_seconds()
    if age > LATE:
        raise CheckFailed(
            f"the oldest waits for {age:.0f} s to be published; start `farmgate worker "
            f"{settings.service}` (or `farmgate up`) and look at its log"
        )
    return f"the oldest waits for {age:.1f} s to be published, none is parked"


def _clock(settings: Settings) -> str:
    with _connected(settings, "cannot be asked: {}") as database:
        if database.is_sqlite:
            return "the machine's own"
        with database.readers() as session:
            asked_at = clock.now()
            theirs = session.scalars(select(func.clock_timestamp())).one()
    apart = (theirs.astimezone(UTC) - asked_at).total_seconds()
    if abs(apart) > CLOCK_SECONDS:
        raise CheckFailed(
            f"the database's clock is {apart:+.0f} s from ours; let both machines follow one "
            "time server: timedatectl set-ntp true"
        )
    return f"the database's is {apart:+.1f} s from ours"


def _late(settings: Settings) -> str:
    lates = service_of(settings.service).late
    try:
        limits = late.limits_of(lates, settings.environment)
    except Misconfigured as error:
        raise CheckFailed(error.detail) from error
    with (
        _connected(settings, "cannot be looked for: {}") as database,
        database.readers() as session,
    ):
        found = late.find(session, lates, limits)
    summaries = [_late_summary(kind, cases) for kind, cases in found.items() if cases]
    if summaries:
        raise CheckFailed(
            f"{'; '.join(summaries)}. docs/operations.md says what to do: What waits too long"
        )
    return "nothing waits too long"


def _late_summary(kind: str, cases: Sequence[late.Case]) -> str:
    """Return how many are late, and the command that traces the one that waits longest."""
    first = cases[0]
    count = f"{len(cases)}" if len(cases) < late.MOST else f"{late.MOST} or more"
    since = f"{first.since.astimezone(clock.LOCAL):%Y-%m-%d %H:%M}"
    return f"{count} {kind}, the first since {since}: farmgate trace {first.traced_by}"


def _queue(url: str, name: str) -> str:
    """Check a service's queue with passive declares, which need no permission."""
    try:
        waiting, consumers = _queue_counts(url, topology.queue_of(name))
        dead, _ = _queue_counts(url, topology.dead_queue_of(name))
    except ChannelClosedByBroker as error:
        raise CheckFailed(
            f"cannot be looked at: {error.reply_text}; run: farmgate topology"
        ) from error
    except (AMQPError, OSError) as error:
        raise CheckFailed(f"cannot be looked at: {type(error).__name__}") from error
    if not consumers:
        raise CheckFailed(
            f"{waiting} events wait, and no consumer is connected; start `farmgate worker {name}` "
            "and look at its log"
        )
    if waiting > LONG_QUEUE:
        raise CheckFailed(
            f"{waiting} events wait; if the number does not fall, look at the log of `farmgate "
            f"worker {name}` and at its database"
        )
    if dead:
        raise CheckFailed(
            f"{dead} in {topology.dead_queue_of(name)}; its worker moves them to the parked "
            "events: make sure that it runs, then farmgate parked list"
        )
    return f"{waiting} events wait, {consumers} consumers"


def _queue_counts(url: str, queue: str) -> tuple[int, int]:
    """Return the numbers of a queue's messages and consumers."""
    connection = pika.BlockingConnection(_with_timeouts(url))
    try:
        method = connection.channel().queue_declare(queue, passive=True).method
        return method.message_count, method.consumer_count
    finally:
        connection.close()


def _integrators(environment: Mapping[str, str], settings: Settings) -> str:
    """Check how full integrators' queues are, and whether their subscribers take anything."""
    with _connected(settings, "cannot be read: {}") as database, database.readers() as session:
        states = queues.list_queues(session)
    moment = clock.now()
    wrong = [problem for state in states.values() for problem in _problems(state, moment)]
    with suppress(Failed, Unreachable):
        known = {integrator.queue for integrator in list_integrators(management_of(environment))}
        wrong += [
            f"{queue} has no partner, so it gets no event: farmgate integrators assign "
            f"{queue.removeprefix(topology.INTEGRATOR)} --partner NAME"
            for queue in sorted(known - states.keys())
        ]
    if wrong:
        raise CheckFailed("; ".join(wrong))
    return f"{len(states)} are fed and taken from"


def _problems(state: queues.QueueState, moment: datetime) -> Iterator[str]:
    """Yield what is wrong with an integrator's queue, and what to do."""
    queue, in_feed = state.queue, state.subscription.last_position - state.queue.position
    still = moment - queue.moved_at
    looked_at = queue.looked_at or queue.created_at
    if moment - looked_at > NOT_LOOKED:
        yield f"{queue.queue} is not fed; start `farmgate worker {FEEDER}` and look at its log"
    elif queue.outcome == Outcome.MISSING:
        yield f"{queue.queue} is missing; run: farmgate topology"
    elif queue.waiting and still > STANDS_STILL:
        yield (
            f"{queue.queue} stands still: nobody took one of its {queue.waiting} events for "
            f"{still.total_seconds() / 3600:.1f} h ({queue.consumers} consumers); tell its partner "
            f"{state.subscription.partner}. {in_feed} more wait in the feed"
        )
    elif queue.waiting_bytes > FULL * queue.max_bytes or queue.outcome == Outcome.FULL:
        part = queue.waiting_bytes / queue.max_bytes
        yield (
            f"{queue.queue} is {part:.0%} full ({queue.consumers} consumers): its partner "
            f"{state.subscription.partner} takes events too slowly. {in_feed} more wait in the "
            "feed; none is lost within FARMGATE_FEED_DAYS"
        )


def _first_line(error: SQLAlchemyError) -> str:
    return reason_of(error).partition("\n")[0]


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    user, at, place = parts.netloc.rpartition("@")
    hidden = f"{user.partition(':')[0]}:***" if user else ""
    return parts._replace(netloc=f"{hidden}{at}{place}").geturl()


def _broker(url: str) -> str:
    try:
        pika.BlockingConnection(_with_timeouts(url)).close()
    except (AMQPError, OSError) as error:
        raise CheckFailed(
            f"cannot be reached ({type(error).__name__}); check FARMGATE_BROKER_URL and that "
            "RabbitMQ runs"
        ) from error
    return "reached"


def _alarms(environment: Mapping[str, str]) -> str:
    """Check by the management API whether a node blocks publishers."""
    try:
        nodes = management_of(environment).get("nodes") or []
    except (Failed, Unreachable) as error:
        return f"not checked, see rabbitmq-diagnostics alarms: {error.message}"
    wrong = []
    for node in nodes:
        if node.get("disk_free_alarm"):
            free, limit = node["disk_free"] / 1e9, node["disk_free_limit"] / 1e9
            wrong.append(f"{node['name']} has {free:.1f} GB free and needs {limit:.1f}")
        if node.get("mem_alarm"):
            used, limit = node["mem_used"] / 1e6, node["mem_limit"] / 1e6
            wrong.append(f"{node['name']} uses {used:.0f} MB of memory, its limit is {limit:.0f}")
    if wrong:
        raise CheckFailed(
            f"{'; '.join(wrong)}: orders are accepted, but no event is published until the alarm "
            "ends; then the relays go on by themselves"
        )
    return f"none at {len(nodes)} nodes" if len(nodes) > 1 else "none"


def _with_timeouts(url: str) -> pika.URLParameters:
    parameters = pika.URLParameters(url)
    parameters.socket_timeout = parameters.blocked_connection_timeout = 5
    return parameters


def _topology(url: str) -> str:
    try:
        with pika.BlockingConnection(_with_timeouts(url)) as connection:
            found = topology.look(connection, [service_of(name) for name in NAMES])
    except (AMQPError, OSError) as error:
        raise CheckFailed(f"cannot be looked at: {type(error).__name__}") from error
    if absent := [name for name, seen in found.items() if seen is None]:
        raise CheckFailed(f"{', '.join(absent)} missing; run: farmgate topology")
    if down := [name for name, seen in found.items() if seen and seen.is_down]:
        raise CheckFailed(f"{', '.join(down)} is down; see {topology.DOWN_HELP}")
    return "all queues are there"


def _ready(client: Client, name: str, running: bool) -> str:
    answer = client.ready(name)
    url = client.addresses[name]
    if answer is None:
        todo = "look at its log" if running else "run: farmgate up"
        raise CheckFailed(f"nothing at {url}; {todo}")
    if answer.get("status") not in ("ready", "ok"):
        raise CheckFailed(f"{url} is not ready: {json.dumps(answer)}")
    return url
