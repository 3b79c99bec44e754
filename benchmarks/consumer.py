"""The consumer: one row and one follow-up event for each event, beside nameko and FastStream.

All get the same queues (quorum), database and broker. With `n waiting` there are never more than n
events under way: a new one is published when the follow-up of one has arrived. At full throughput
the queue is full before the consumer starts.
"""

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pika

from benchmarks import toy
from benchmarks.figures import Figure
from benchmarks.surroundings import Surroundings, processor_seconds
from shared.messaging import topology
from shared.runtime.database import Database
from tests.support import probe, servers
from tests.support.servers import wait_until

PART = "consumer"
WAITING = (1, 10, 100)
OUT = "toy.out"
#: What each peer's environment has, by the name of its script.
PEERS: Mapping[str, tuple[str, ...]] = {
    "nameko": ("nameko==2.14.1", "eventlet==0.41.3", "psycopg2-binary==2.9.13"),
    "faststream": ("faststream[rabbit]==0.7.8", "asyncpg==0.32.0"),
}
FARMGATE = "Farmgate"
FULL, COST = "full queue", ", processor time per event"


class NotInstalled(RuntimeError):
    """Raised when a peer cannot be installed; the message says why."""


@dataclass(frozen=True)
class Contender:
    """One of those that are compared, and how it is fed."""

    name: str
    exchange: str
    #: Of the events that it consumes, and of those that it publishes.
    key: str
    out_key: str
    body: Callable[[], bytes]
    #: Declares its queue and makes its table; called with addresses of broker and database.
    prepare: Callable[[str, str], None]
    #: Runs it on a database, a broker and a folder; yields its process id.
    run: Callable[[str, str, Path], AbstractContextManager[int]]


def measure(surroundings: Surroundings, *, quick: bool) -> list[Figure]:
    """Measure each that can be installed, three times, once if `quick`."""
    contenders = [_farmgate()]
    for name, requirements in PEERS.items():
        try:
            contenders.append(_peer(name, _environment(name, requirements)))
        except NotInstalled as error:
            surroundings.say(
                f"consumer: {name} cannot be installed here, so it is left out: {error}"
            )
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for run in range(1 if quick else 3):
        for contender in contenders:
            surroundings.say(f"consumer, run {run + 1}: {contender.name}")
            for what, value in _measure(surroundings, contender, quick).items():
                found[contender.name, what].append(value)
    return _figures(found)


def _figures(found: Mapping[tuple[str, str], list[float]]) -> list[Figure]:
    figures = []
    for (name, what), values in found.items():
        limit = aim = None
        is_cost = what.endswith(COST)
        if name == FARMGATE:
            peers = [key for key in found if key[0] != FARMGATE and key[1] == what]
            best = (min if is_cost else max)(peers, key=lambda key: sum(found[key]), default=None)
            limit = best and ", ".join(best)
            aim = "≥ 5,000; ≥ 5 ×" if what == FULL else None
        unit = "ms" if is_cost else "/s"
        figures.append(Figure(PART, f"{name}, {what}", unit, tuple(values), limit, aim))
    return figures


def _measure(surroundings: Surroundings, contender: Contender, quick: bool) -> dict[str, float]:
    """Return what one contender reaches, by name, on a database and queues of its own."""
    # The slower ones get fewer events, so that each is measured for seconds.
    events = (30_000 if contender.name == FARMGATE else 6_000) // (3 if quick else 1)
    found: dict[str, float] = {}
    with (
        surroundings.database("consumer") as database,
        surroundings.vhost("consumer") as broker,
        pika.BlockingConnection(pika.URLParameters(broker)) as connection,
    ):
        contender.prepare(broker, database)
        channel = connection.channel()
        channel.queue_declare(OUT, durable=True, arguments={"x-queue-type": "quorum"})
        channel.queue_bind(OUT, contender.exchange, contender.out_key)
        for _ in range(events):
            _publish(channel, contender)
        with contender.run(database, broker, surroundings.folder) as pid:
            pids = {**surroundings.pids(), "consumer": pid}
            rate, milliseconds = _drain(channel, events, pids)
            found[FULL], found[FULL + COST] = rate, milliseconds
            channel.queue_purge(OUT)
            for waiting in WAITING:
                seconds = 1.0 if quick else 3.0
                used = sum(processor_seconds(pids).values())
                began = time.monotonic()
                done = _keep_waiting(channel, contender, waiting, seconds)
                events += done
                found[f"{waiting} waiting"] = done / (time.monotonic() - began)
                used = sum(processor_seconds(pids).values()) - used
                found[f"{waiting} waiting{COST}"] = used / done * 1000
        with surroundings.sql("consumer") as sql:
            rows = sql.execute("SELECT count(*) FROM effects").fetchone()
    assert rows is not None and int(str(rows[0])) == events, f"{rows} rows of {events} events"
    return found


def _publish(channel: Any, contender: Contender) -> None:
    properties = pika.BasicProperties(content_type="application/json", delivery_mode=2)
    channel.basic_publish(contender.exchange, contender.key, contender.body(), properties)


def _drain(channel: Any, events: int, pids: Mapping[str, int]) -> tuple[float, float]:
    """Wait for all follow-ups; return events a second, and ms of processor time each.

    Both begin when the first have come, since the process has to start before.
    """

    def followed() -> int:
        return int(channel.queue_declare(OUT, passive=True).method.message_count)

    wait_until(lambda: followed() > 0, 60, "the consumer begins")
    already, began, used = followed(), time.monotonic(), sum(processor_seconds(pids).values())
    wait_until(lambda: followed() >= events, 300, "all events are consumed")
    seconds, used = time.monotonic() - began, sum(processor_seconds(pids).values()) - used
    return (events - already) / seconds, used / (events - already) * 1000


def _keep_waiting(channel: Any, contender: Contender, waiting: int, seconds: float) -> int:
    """Keep as many events under way for some seconds; return how many were followed up."""
    for _ in range(waiting):
        _publish(channel, contender)
    until, done, open_ = time.monotonic() + seconds, 0, waiting
    for method, _properties, _body in channel.consume(OUT, auto_ack=True, inactivity_timeout=30):
        if method is None:
            raise TimeoutError(f"{contender.name} has not answered for 30 s")
        done, open_ = done + 1, open_ - 1
        if time.monotonic() < until:
            _publish(channel, contender)
            open_ += 1
        elif open_ == 0:
            break
    channel.cancel()
    return done


# --- The contenders -----------------------------------------------------------------------------


def _farmgate() -> Contender:
    def prepare(broker: str, database: str) -> None:
        topology.declare(broker, [toy.CONSUMER])
        opened = Database(database)
        probe.create_tables(opened)
        opened.close()

    return Contender(
        name=FARMGATE,
        exchange=topology.EXCHANGE,
        key=toy.OrderPaid.routing_key,
        out_key=toy.FollowUp.routing_key,
        body=lambda: toy.event_of(toy.Order().payment()),
        prepare=prepare,
        run=lambda database, broker, folder: toy.running(toy.CONSUMER, database, broker, folder),
    )


def _peer(name: str, python: Path) -> Contender:
    script = Path(__file__).parent / "peers" / f"{name}_service.py"

    def prepare(broker: str, database: str) -> None:
        with pika.BlockingConnection(pika.URLParameters(broker)) as connection:
            channel = connection.channel()
            channel.exchange_declare("toy", "direct", durable=True)
            channel.queue_declare("toy.in", durable=True, arguments={"x-queue-type": "quorum"})
            channel.queue_bind("toy.in", "toy", "in")
        with Database(database).engine.begin() as connection:
            connection.exec_driver_sql(
                "CREATE TABLE effects (effect_id uuid PRIMARY KEY, event_id uuid NOT NULL,"
                " amount_fen bigint NOT NULL)"
            )

    def body() -> bytes:
        event = {"event_id": str(uuid4()), "order_id": str(uuid4()), "amount_fen": 1}
        return json.dumps(event).encode()

    @contextmanager
    def run(database: str, broker: str, folder: Path) -> Iterator[int]:
        address = database.replace("+psycopg", "")
        with (folder / f"peer-{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [python, script, address, broker], stdout=log, stderr=subprocess.STDOUT
            )
        try:
            yield process.pid
        finally:
            servers.stop(process)

    return Contender(name, "toy", "in", "out", body, prepare, run)


def _environment(name: str, requirements: tuple[str, ...]) -> Path:
    """Return the Python of an environment with these packages; it is made once and kept.

    Raises:
        NotInstalled: it cannot be made.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = cache / "farmgate" / "peers" / name
    python, done = folder / "bin" / "python", folder / "installed"
    wanted = "\n".join((sys.version, *requirements))
    if done.exists() and done.read_text() == wanted:
        return python
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", *requirements],
    ):
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode != 0:
            raise NotInstalled((ended.stderr or ended.stdout).strip()[-500:])
    done.write_text(wanted)
    return python
