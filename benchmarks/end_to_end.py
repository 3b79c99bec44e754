"""Orders per second, from HTTP to confirmed, planned and told, on RabbitMQ and PostgreSQL.

Database (fsync on), broker, eight Farmgate processes and the buyers share this machine. First
as many orders as go, then half that rate for the time from placing to the decision. The yard
stick of the same run is the rate of an empty request to the same web process.

    make bench                                   or
    python -m benchmarks.end_to_end --seconds 20 --buyers 24
"""

import argparse
import http.client
import json
import multiprocessing
import random
import threading
import time
from contextlib import ExitStack, suppress
from datetime import datetime
from multiprocessing.queues import Queue
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from farmgate.client import connect
from tests.support import processes, servers
from tests.support.processes import SERVICES, Processes


class Buyer(threading.Thread):
    """Sends one request after the other over one connection, at most `rate` a second."""

    def __init__(self, job: "Job", until: float) -> None:
        super().__init__()
        self.job, self.until = job, until
        self.answered = 0
        self.refused = 0

    def run(self) -> None:
        where = urlsplit(self.job.url)
        connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=30)
        due = time.monotonic()
        while (now := time.monotonic()) < self.until:
            if self.job.rate is not None:
                due += 1 / self.job.rate
                time.sleep(max(0.0, due - now))
            body, headers = self.job.request()
            connection.request("POST" if body else "GET", self.job.path, body, headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status < 300:
                self.answered += 1
            else:
                self.refused += 1
        connection.close()


class Job:
    """What buyers send: orders of one to three lines, or empty requests."""

    def __init__(
        self,
        url: str,
        path: str,
        token: str = "",
        site_id: str = "",
        variants: list[dict[str, Any]] | None = None,
        rate: float | None = None,
    ) -> None:
        self.url, self.path, self.token, self.site_id = url, path, token, site_id
        self.variants, self.rate = variants, rate

    def request(self) -> tuple[bytes | None, dict[str, str]]:
        """Return body and headers of the next request."""
        if self.variants is None:
            return None, {}
        lines = [
            {"variant_id": variant["variant_id"], "quantity": variant["pack_quantity"]}
            for variant in random.sample(self.variants, random.randint(1, 3))
        ]
        # As many buyers, each with a telephone, as the limits of unpaid orders let buy.
        buyer = random.randrange(10_000)
        body = {
            "channel": "online",
            "payment_method": "cash_on_delivery",
            "site_id": self.site_id,
            "collect": False,
            "buyer_id": f"buyer-{buyer}",
            "lines": lines,
            "contact": {
                "name": "卓玛",
                "phone": f"1388904{buyer:04d}",
                "address": "八一镇1号",
                "language": "zh",
            },
        }
        headers = {
            "Authorization": f"Bearer {self.token}",
            "Content-Type": "application/json",
            "Idempotency-Key": str(uuid4()),
        }
        return json.dumps(body).encode(), headers


def _buyers(job: Job, count: int, seconds: float, result: "Queue[tuple[int, int]]") -> None:
    until = time.monotonic() + seconds
    buyers = [Buyer(job, until) for _ in range(count)]
    for buyer in buyers:
        buyer.start()
    for buyer in buyers:
        buyer.join()
    result.put((sum(b.answered for b in buyers), sum(b.refused for b in buyers)))


def send(job: Job, count: int, seconds: float) -> tuple[int, int]:
    """Let `count` buyers send for `seconds`; return how many were answered and refused.

    In a process of their own, so that they do not share our interpreter.
    """
    result: Queue[tuple[int, int]] = multiprocessing.Queue()
    sender = multiprocessing.Process(target=_buyers, args=(job, count, seconds, result))
    sender.start()
    answered = result.get()
    sender.join()
    return answered


def processor_seconds(pids: list[int]) -> float:
    """Return the processor time of processes and all they started, in seconds (Linux)."""
    ticks = 0
    parents: dict[int, int] = {}
    used: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue
        fields = text.rpartition(")")[2].split()
        pid = int(stat.parent.name)
        parents[pid] = int(fields[1])
        used[pid] = int(fields[11]) + int(fields[12])
    for pid, own in used.items():
        ancestor = pid
        while ancestor and ancestor not in pids:
            ancestor = parents.get(ancestor, 0)
        ticks += own if ancestor else 0
    return ticks / 100


def memory_mib(pids: list[int]) -> float:
    """Return the proportional memory of processes and all they started, in MiB (Linux)."""
    total = 0
    for rollup in Path("/proc").glob("[0-9]*/smaps_rollup"):
        pid = int(rollup.parent.name)
        try:
            group = int((rollup.parent / "stat").read_text().rpartition(")")[2].split()[2])
            if group in pids:
                lines = rollup.read_text().splitlines()
                total += sum(int(x.split()[1]) for x in lines if x.startswith("Pss:"))
        except (OSError, ValueError):
            continue
        del pid
    return total / 1024


def settled(system: Processes, operator: Any, orders: int) -> bool:
    """Tell whether as many orders are confirmed, planned and told of."""
    states = operator.get("orders", "/orders/summary")["states"]
    if states.get("placed", 0) or sum(states.values()) < orders:
        return False
    for service in SERVICES:
        if system.ready(service).get("oldest_unpublished_seconds", 1) > 0:
            return False
    return True


def told(operator: Any) -> bool:
    """Tell whether no message waits to be sent."""
    return not operator.get("notifications", "/messages", status="queued", limit=1)["items"]


def decisions(operator: Any, since: str) -> list[float]:
    """Return the milliseconds from placing to the decision of the orders placed since then."""
    found = []
    for order in operator.pages("orders", "/orders", placed_from=since):
        placed, decided = (
            datetime.fromisoformat(order[name]) for name in ("placed_at", "decided_at")
        )
        found.append((decided - placed).total_seconds() * 1000)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--buyers", type=int, default=24)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="farmgate-bench-")))
        postgres = stack.enter_context(servers.postgres(fsync=True))
        broker = stack.enter_context(servers.rabbitmq())
        databases = {service: postgres.create(service) for service in SERVICES}
        system = stack.enter_context(
            processes.distributed(folder, databases, broker, "bench", stack)
        )
        system.start()
        loaded = system.command("sample", "load", "--json")
        assert loaded.returncode == 0, loaded.stderr
        measure(system, postgres, broker, arguments)


def measure(
    system: Processes,
    postgres: servers.Postgres,
    broker: servers.RabbitMQ,
    arguments: argparse.Namespace,
) -> None:
    """Send, wait, and print the table."""
    operator = connect(system.environment)
    token = str(operator._token)
    centre = next(
        site for site in operator.pages("logistics", "/sites") if site["level"] == "centre"
    )
    variants = [
        variant
        for product in operator.pages("catalog", "/products", status="listed")
        if not product["perishable"]
        for variant in product["variants"]
    ]
    stock = {row["variant_id"]: row for row in operator.get("catalog", "/stock/summary")["items"]}
    plenty = [
        v for v in variants if stock[v["variant_id"]]["available"] > 1000 * v["pack_quantity"]
    ] or variants
    ours = [process.pid for process in system.running.values()]
    assert postgres.process is not None and broker.process is not None
    everything = [*ours, postgres.process.pid, broker.process.pid]
    memory = memory_mib(ours)

    url = system.urls["orders"]
    empty, _ = send(Job(url, "/health/live"), arguments.buyers, 5)
    empty_rate = empty / 5

    path = "/api/orders/v1/orders"
    full = Job(url, path, token, centre["site_id"], plenty)
    send(full, arguments.buyers, 2)  # connections, plans and caches are warm afterwards
    before = operator.get("orders", "/orders/summary")["total"]
    used = processor_seconds(everything)
    each = {name: processor_seconds([p.pid]) for name, p in system.running.items()}
    each["postgresql"] = processor_seconds([postgres.process.pid])
    each["rabbitmq"] = processor_seconds([broker.process.pid])
    started = time.monotonic()
    placed, refused = send(full, arguments.buyers, arguments.seconds)
    sent_for = time.monotonic() - started
    servers.wait_until(lambda: settled(system, operator, before + placed), 300, "all is settled")
    settled_after = time.monotonic() - started
    used = processor_seconds(everything) - used
    states = operator.get("orders", "/orders/summary")["states"]

    # What full load left to be sent would slow the next measurement. In quiet hours it stays.
    with suppress(TimeoutError):
        servers.wait_until(lambda: told(operator), 120, "all messages are sent")

    sustained = placed / settled_after
    half = Job(url, path, token, centre["site_id"], plenty, rate=sustained / 2 / 8)
    since = datetime.fromtimestamp(time.time()).astimezone().isoformat()
    total = operator.get("orders", "/orders/summary")["total"]
    half_placed, _ = send(half, 8, arguments.seconds)
    servers.wait_until(lambda: settled(system, operator, total + half_placed), 60, "settled")
    times = sorted(decisions(operator, since))
    cuts = quantiles(times, n=100)

    for name, process in system.running.items():
        own = processor_seconds([process.pid]) - each[name]
        print(f"  {name:<24} {own / placed * 1000:8.2f} ms an order")
    for name, pid in (("postgresql", postgres.process.pid), ("rabbitmq", broker.process.pid)):
        own = processor_seconds([pid]) - each[name]
        print(f"  {name:<24} {own / placed * 1000:8.2f} ms an order")
    print(f"orders placed over HTTP           {placed / sent_for:8.0f} /s   ({refused} refused)")
    print(f"… confirmed, planned, told of     {sustained:8.0f} /s   ({states})")
    print(f"processor time per order          {used / placed * 1000:8.2f} ms  (all processes)")
    print(f"place → decision at half load     {cuts[49]:8.0f} ms p50, {cuts[98]:.0f} ms p99")
    print(f"empty request, same web process   {empty_rate:8.0f} /s")
    print(f"ratio orders : empty requests     1 : {empty_rate / sustained:.1f}")
    print(f"memory of the eight processes     {memory:8.0f} MiB at rest")


if __name__ == "__main__":
    main()
