"""The relay: events a second from a full outbox to the broker's confirm, and the time of one event.

The limits of the same run publish the same bytes without a database: as many confirms under way as
the relay has, and each confirm awaited before the next event.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from statistics import quantiles
from typing import Any

import amqp
import kombu

from benchmarks import toy
from benchmarks.figures import Figure
from benchmarks.surroundings import Surroundings, processor_seconds
from shared.messaging import topology
from shared.messaging.batch import Batch, transaction
from shared.messaging.store import BATCH
from shared.runtime.database import Database
from tests.support import probe
from tests.support.servers import wait_until

PART = "relay"
#: Events recorded in one transaction while the outbox is filled.
CHUNK = 1000
#: Events a second of the second measurement, and the connections that commit them.
RATE, WRITERS = 500, 4

PIPELINED, ONE_BY_ONE = f"{BATCH} confirms under way, no database", "confirms one by one"
FULL, COST = "events from a full outbox", "processor time per event"
P50, P99 = (f"commit → confirm at {RATE}/s, {part}" for part in ("p50", "p99"))
#: Unit, limit and aim of each figure, in the order of the table.
KINDS = {
    FULL: ("/s", PIPELINED, "≥ 8,000"),
    PIPELINED: ("/s", None, None),
    ONE_BY_ONE: ("/s", None, None),
    COST: ("ms", None, None),
    P50: ("ms", None, None),
    P99: ("ms", None, "< 250"),
}


def measure(surroundings: Surroundings, *, quick: bool) -> list[Figure]:
    """Empty a full outbox, then relay a steady rate; three times, once if `quick`."""
    events, seconds = (10_000, 5.0) if quick else (50_000, 10.0)
    found: dict[str, list[float]] = defaultdict(list)
    for run in range(1 if quick else 3):
        name = f"{PART}{run}"
        surroundings.say(f"{PART}, run {run + 1}: {events:,} events, then {RATE}/s")
        with surroundings.database(name) as url, surroundings.vhost(name) as broker:
            topology.declare(broker, [toy.PUBLISHER, toy.CONSUMER])
            database = Database(url)
            probe.create_tables(database)
            _fill(database, events)
            with surroundings.sql(name) as sql:
                bodies = [
                    bytes(row[0])
                    for row in sql.execute("SELECT body FROM outbox ORDER BY id LIMIT 10000")
                ]
            found[PIPELINED].append(_publish(broker, bodies, BATCH))
            found[ONE_BY_ONE].append(_publish(broker, bodies[:1000], 1))
            with toy.running(toy.PUBLISHER, url, broker, surroundings.folder) as pid:
                rate, milliseconds = _drain(surroundings, name, events, pid)
                latencies = quantiles(_relay_steadily(surroundings, name, database, seconds), n=100)
            found[FULL].append(rate)
            found[COST].append(milliseconds)
            found[P50].append(latencies[49])
            found[P99].append(latencies[98])
            database.close()
    return [
        Figure(PART, name, unit, tuple(found[name]), limit, aim)
        for name, (unit, limit, aim) in KINDS.items()
    ]


def _fill(database: Database, events: int) -> None:
    for _ in range(0, events, CHUNK):
        with transaction(database, Batch) as batch:
            for _ in range(CHUNK):
                order = toy.Order()
                batch.record(order, order.payment())


def _publish(broker: str, bodies: list[bytes], at_once: int) -> float:
    """Publish the bodies with up to `at_once` confirms under way; return the events a second."""
    with kombu.Connection(broker) as connection:
        channel = connection.channel()
        channel.confirm_select()
        pending: set[int] = set()

        def on_ack(tag: int, multiple: bool) -> None:
            pending.difference_update(
                [each for each in pending if each <= tag] if multiple else [tag]
            )

        channel.events["basic_ack"].add(on_ack)
        began = time.monotonic()
        for tag, body in enumerate(bodies, start=1):
            channel.basic_publish(
                amqp.Message(body, delivery_mode=2),
                exchange=topology.EXCHANGE,
                routing_key=toy.OrderPaid.routing_key,
            )
            pending.add(tag)
            while len(pending) >= at_once or (pending and tag == len(bodies)):
                connection.drain_events(timeout=30)
        return len(bodies) / (time.monotonic() - began)


def _drain(surroundings: Surroundings, name: str, events: int, pid: int) -> tuple[float, float]:
    """Wait until a full outbox is published; return events a second, and ms of processor time each.

    Both begin with the first confirmed batch, since the process has to start before it.
    """
    pids = {**surroundings.pids(), "relay": pid}
    with surroundings.sql(name) as sql:
        position = _asking(sql, "SELECT coalesce(max(position), 0) FROM relay_state")
        wait_until(lambda: position() > 0, 60, "the relay publishes")
        used, already = sum(processor_seconds(pids).values()), position()
        wait_until(lambda: position() == events, 300, "the outbox is published")
        used = sum(processor_seconds(pids).values()) - used
        row = sql.execute(
            "SELECT count(*) FILTER (WHERE published_at > began)"
            " / extract(epoch FROM max(published_at) - min(began)) FROM outbox,"
            " (SELECT min(published_at) AS began FROM outbox) AS first"
        ).fetchone()
    assert row is not None
    return float(str(row[0])), used / (events - already) * 1000


def _asking(sql: Any, statement: str) -> Callable[[], int]:
    return lambda: int(sql.execute(statement).fetchone()[0])


def _relay_steadily(
    surroundings: Surroundings, name: str, database: Database, seconds: float
) -> list[float]:
    """Commit `RATE` events a second; return the milliseconds from each commit to its confirm."""
    committed: dict[str, float] = {}

    def write() -> None:
        due = time.monotonic()
        until = due + seconds
        while due < until:
            time.sleep(max(0.0, due - time.monotonic()))
            order = toy.Order()
            with transaction(database, Batch) as batch:
                batch.record(order, order.payment())
            committed[f"order/{order.id}"] = time.time()
            due += WRITERS / RATE

    writers = [threading.Thread(target=write) for _ in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    with surroundings.sql(name) as sql:
        waiting = _asking(sql, "SELECT count(*) FROM outbox WHERE position IS NULL")
        wait_until(lambda: waiting() == 0, 60, "everything is published")
        rows = sql.execute(
            "SELECT subject, extract(epoch FROM published_at) FROM outbox WHERE subject = ANY(%s)",
            [list(committed)],
        ).fetchall()
    # A confirm may come before the thread that committed runs again.
    return [max(0.0, float(str(at)) - committed[str(subject)]) * 1000 for subject, at in rows]
