"""Push: events to 1,000 webhook endpoints, alone and beside endpoints that are slow or dead.

Each event goes to one of 1,000 partners. `python -m benchmarks.push URL FOLDER` is the sender as a
process of its own, and `python -m benchmarks.push` the receiver: it keeps nothing and prints when
each event came.
"""

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from statistics import quantiles
from typing import Any

from benchmarks.figures import Figure
from benchmarks.surroundings import Surroundings, processor_seconds
from services.notifications.models import Endpoint, FeedEntry, Subscription
from services.notifications.push.sender import Sender
from shared.messaging.batch import table_of
from shared.runtime import clock, keys, migrations
from shared.runtime.bulk import insert_rows, upsert_rows
from shared.runtime.config import Settings
from shared.runtime.database import Database
from shared.runtime.ids import new_id
from shared.runtime.supervision import Stopping
from tests.support import servers
from tests.support.servers import wait_until

PART = "push"
ENDPOINTS, RATE = 1000, 100
#: Of the endpoints of the second measurement, these are dead, and as many answer after 3 seconds.
BAD = 50
#: Seconds until a slow endpoint answers.
SLOW = 3.0

RATE_REACHED = f"{ENDPOINTS} endpoints at {RATE} events/s"
P50, P99 = "event in the feed → received, p50", "event in the feed → received, p99"
P99_BESIDE = f"the same beside {BAD} dead and {BAD} slow endpoints, p99"
WORST_BESIDE = f"the same beside {BAD} dead and {BAD} slow endpoints, worst"
COST = "processor time of the sender per event"
KINDS = {
    RATE_REACHED: ("/s", None, f"≥ {RATE * 0.99:.0f}"),
    P50: ("ms", None, None),
    P99: ("ms", None, "< 1,000"),
    P99_BESIDE: ("ms", P99, "< 1,000"),
    WORST_BESIDE: ("ms", None, "< 1,000"),
    COST: ("ms", None, None),
}


def measure(surroundings: Surroundings, *, quick: bool) -> list[Figure]:
    """Send a steady rate, to good endpoints and to a mixture; three times, once if `quick`."""
    seconds = 8.0 if quick else 30.0
    found: dict[str, list[float]] = defaultdict(list)
    for run in range(1 if quick else 3):
        for bad in (0, BAD):
            name = f"{PART}{run}_{bad}"
            surroundings.say(
                f"{PART}, run {run + 1}: {RATE}/s, {bad} dead and {bad} slow endpoints"
            )
            with surroundings.database(name) as url:
                rate, delays, cost = _send(url, surroundings.folder / name, bad, seconds)
            if bad:
                found[P99_BESIDE].append(quantiles(delays, n=100)[98])
                found[WORST_BESIDE].append(max(delays))
            else:
                found[RATE_REACHED].append(rate)
                found[P50].append(quantiles(delays, n=100)[49])
                found[P99].append(quantiles(delays, n=100)[98])
                found[COST].append(cost)
    return [
        Figure(PART, name, unit, tuple(found[name]), limit, aim)
        for name, (unit, limit, aim) in KINDS.items()
    ]


def _send(url: str, folder: Path, bad: int, seconds: float) -> tuple[float, list[float], float]:
    """Return events received a second, their delays in ms, and the sender's ms per event."""
    folder.mkdir()
    keys.ensure(folder)
    migrations.upgrade("notifications", url)
    database = Database(url)
    command = [sys.executable, "-m", "benchmarks.push"]
    with (folder / "received").open("wb") as output:
        receiver = subprocess.Popen(command, stdout=output, stdin=subprocess.DEVNULL)
    wait_until(lambda: (folder / "received").stat().st_size > 0, 30, "the receiver listens")
    port = int((folder / "received").read_text(encoding="utf-8").split()[0])
    feeds = _endpoints(database, port, bad)
    with (folder / "sender.log").open("wb") as log:
        sender = subprocess.Popen([*command, url, str(folder)], stdout=log, stderr=log)
    try:
        _first_events(database, feeds, folder)
        used = processor_seconds({"sender": sender.pid})["sender"]
        entered = _enter(database, feeds, seconds)
        good = {event for event, number in entered.values() if number >= 2 * bad}

        def received() -> dict[str, float]:
            lines = (folder / "received").read_text(encoding="utf-8").splitlines()[1:]
            return {line.split()[0]: float(line.split()[1]) for line in lines if " " in line}

        wait_until(lambda: good <= received().keys(), 120, "all good endpoints have their events")
        used = processor_seconds({"sender": sender.pid})["sender"] - used
    finally:
        servers.stop(sender)
        servers.stop(receiver)
    arrivals = received()
    moments = {event: at for at, (event, _) in entered.items()}
    delays = [(arrivals[event] - moments[event]) * 1000 for event in good]
    span = max(arrivals[event] for event in good) - min(moments[event] for event in good)
    database.close()
    return len(good) / span, delays, used * 1000 / len(entered)


def _endpoints(database: Database, port: int, bad: int) -> list[dict[str, Any]]:
    """Make the partners with one endpoint each; the first `2 × bad` are dead or slow."""
    feeds = []
    with database.sessions.begin() as session:
        for number in range(ENDPOINTS):
            feed = {
                "id": new_id(),
                "partner": f"partner-{number}",
                "types": [],
                "grants": [],
                "is_wide": False,
                "last_position": 0,
                "pruned_position": 0,
                "epochs": [[1, 0]],
                "created_at": clock.now(),
            }
            feeds.append(feed)
            kind = "dead" if number < bad else "slow" if number < 2 * bad else "good"
            session.add(Subscription(**feed))
            # Without a relationship the ORM does not know which of the two comes first.
            session.flush()
            session.add(
                Endpoint(
                    id=new_id(),
                    subscription_id=feed["id"],
                    url=f"http://127.0.0.1:{port}/{kind}",
                    description=None,
                    types=[],
                    position=0,
                    resend_after=0,
                    resend_until=0,
                    secret_number=1,
                    previous_until=None,
                    status="active",
                    reason=None,
                    failures=0,
                    failing_since=None,
                    paused_until=None,
                    created_at=clock.now(),
                    deleted_at=None,
                )
            )
    return feeds


def _first_events(database: Database, feeds: list[dict[str, Any]], folder: Path) -> None:
    """Let each endpoint get one event, so that the sender knows which ones answer."""
    for number, feed in enumerate(feeds):
        _append(database, feed, number)
    with database.engine.connect() as connection:
        connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        tried = "SELECT count(*) FROM deliveries WHERE attempts > 0"
        wait_until(
            lambda: connection.exec_driver_sql(tried).scalar() == len(feeds), 120, "all were tried"
        )


def _enter(
    database: Database, feeds: list[dict[str, Any]], seconds: float
) -> dict[float, tuple[str, int]]:
    """Enter `RATE` events a second; return each event's id and feed by its moment."""
    entered: dict[float, tuple[str, int]] = {}
    chance = random.Random(1)
    due = time.monotonic()
    until = due + seconds
    while due < until:
        time.sleep(max(0.0, due - time.monotonic()))
        number = chance.randrange(len(feeds))
        event = _append(database, feeds[number], number)
        entered[time.time()] = (event, number)
        due += 1 / RATE
    return entered


def _append(database: Database, feed: dict[str, Any], number: int) -> str:
    feed["last_position"] += 1
    event_id = new_id()
    document = {"specversion": "1.0", "id": str(event_id), "subject": f"order/{event_id}"}
    with database.engine.begin() as connection:
        upsert_rows(connection, table_of(Subscription), [feed])
        row = {
            "subscription_id": feed["id"],
            "position": feed["last_position"],
            "event_id": event_id,
            "type": "orders.order_paid.v1",
            "subject": document["subject"],
            "body": json.dumps(document | {"data": "x" * 800}).encode(),
            "entered_at": clock.now(),
        }
        insert_rows(connection, table_of(FeedEntry), [row])
    return str(event_id)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
    await reader.readexactly(int(fields["Content-Length"]))
    event_id, at = fields["webhook-id"], time.time()
    kind = head.split()[1]
    if kind == "/dead":
        await asyncio.sleep(60)
    if kind == "/slow":
        await asyncio.sleep(SLOW)
    if kind == "/good":
        sys.stdout.write(f"{event_id} {at}\n")
        sys.stdout.flush()
    writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
    await writer.drain()
    writer.close()


async def _receive() -> None:
    server = await asyncio.start_server(_answer, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    if len(sys.argv) == 1:
        asyncio.run(_receive())
    else:
        environment = {
            **os.environ,
            "FARMGATE_DATA": sys.argv[2],
            "FARMGATE_WEBHOOK_NETWORKS": "127.0.0.0/8",
        }
        settings = Settings.from_environment("notifications", environment)
        Sender(Database(sys.argv[1]), settings, Stopping()).run()
