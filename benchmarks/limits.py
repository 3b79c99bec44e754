"""What the same work costs without Farmgate, on the same servers in the same run.

The bare pipeline writes the same rows and messages as an order, in the same batches
(`benchmarks.bare`). pgbench commits the transaction of a placement, and changes one hot row, from
16 clients, one transaction each.
"""

import resource
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import bare
from benchmarks.figures import Figure
from benchmarks.surroundings import Surroundings, processor_seconds, sql
from tests.support import servers

PART = "limits"
CLIENTS = 16

PLACEMENT = """
BEGIN;
INSERT INTO idempotency_keys VALUES (gen_random_uuid(), gen_random_uuid(), repeat('x', 1250));
INSERT INTO orders VALUES (gen_random_uuid(), gen_random_uuid(), repeat('x', 210));
INSERT INTO order_lines SELECT gen_random_uuid(), gen_random_uuid(), repeat('x', 40)
  FROM generate_series(1, 2);
INSERT INTO outbox (event_id, type, order_id, body)
  SELECT gen_random_uuid(), 'orders.order_placed', gen_random_uuid(), repeat('x', 765)::bytea
  FROM generate_series(1, 2);
COMMIT;
"""
HOT_ROW = """
BEGIN;
UPDATE hot SET n = n - 1 WHERE id = 1;
INSERT INTO movements VALUES (gen_random_uuid(), gen_random_uuid(), repeat('x', 135));
COMMIT;
"""


def measure(surroundings: Surroundings, *, quick: bool) -> list[Figure]:
    """Measure the bare pipeline and pgbench."""
    runs = 1 if quick else 3
    orders, seconds = (3000, 3) if quick else (10_000, 5)
    rates, costs, placements, placement_costs, hot, hot_costs = ([] for _ in range(6))
    for run in range(runs):
        surroundings.say(f"{PART}, run {run + 1}: bare pipeline, {orders} orders")
        rate, cost = _pipeline(surroundings, orders)
        rates.append(rate)
        costs.append(cost)
        surroundings.say(f"{PART}, run {run + 1}: pgbench")
        rate, cost = _pgbench(surroundings, "orders", PLACEMENT, seconds)
        placements.append(rate)
        placement_costs.append(cost)
        rate, cost = _pgbench(surroundings, "catalog", HOT_ROW, seconds)
        hot.append(rate)
        hot_costs.append(cost)
    return [
        Figure(PART, "bare pipeline, orders", "/s", tuple(rates)),
        Figure(PART, "bare pipeline, processor time", "ms", tuple(costs)),
        Figure(PART, "pgbench, placements", "/s", tuple(placements)),
        Figure(PART, "pgbench, processor time of a placement", "ms", tuple(placement_costs)),
        Figure(PART, "pgbench, one hot row", "/s", tuple(hot)),
        Figure(PART, "pgbench, processor time of a change", "ms", tuple(hot_costs)),
    ]


def _pipeline(surroundings: Surroundings, orders: int) -> tuple[float, float]:
    """Return orders a second, and the processor time of an order in milliseconds."""
    with ExitStack() as stack:
        databases = {
            service: stack.enter_context(surroundings.database(f"bare_{service}"))
            for service in bare.STEPS
        }
        broker = stack.enter_context(surroundings.vhost("bare"))
        bare.declare(broker)
        connections = {service: stack.enter_context(sql(url)) for service, url in databases.items()}
        for service, connection in connections.items():
            bare.create_tables(service, connection)
        addresses = {name: url.replace("+psycopg", "") for name, url in databases.items()}

        def start(*arguments: str, **options: Any) -> "subprocess.Popen[bytes]":
            command = [sys.executable, "-m", "benchmarks.bare", *arguments]
            process = subprocess.Popen(command, **options)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        workers = {name: start(name, url, broker).pid for name, url in addresses.items()}
        time.sleep(1)  # to start costs processor time, too
        pids = workers | surroundings.pids()
        before = sum(processor_seconds(pids).values())
        began = time.monotonic()
        placing = start("placements", addresses["orders"], str(orders), stdout=subprocess.PIPE)
        buyers = float(placing.communicate()[0])

        def is_done() -> bool:
            # The cheap question first: to count costs processor time.
            published = (
                connections[service].execute("SELECT position FROM relay_state").fetchone()
                == (count * orders,)
                for service, count in bare.PUBLISHED.items()
            )
            received = (
                connections[service].execute("SELECT count(*) FROM inbox").fetchone()
                == (count * orders,)
                for service, count in bare.DELIVERIES.items()
            )
            unsent = "SELECT FROM messages WHERE state != 'sent' LIMIT 1"
            return (
                all(published)
                and all(received)
                and connections["notifications"].execute(unsent).fetchone() is None
            )

        servers.wait_until(is_done, 300, "the bare pipeline is through")
        seconds = time.monotonic() - began
        used = sum(processor_seconds(pids).values()) - before + buyers
        return orders / seconds, used / orders * 1000


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _pgbench(
    surroundings: Surroundings, service: str, script: str, seconds: int
) -> tuple[float, float]:
    """Return transactions a second, and the processor time of one in milliseconds."""
    with ExitStack() as stack:
        url = stack.enter_context(surroundings.database("pgbench"))
        with sql(url) as connection:
            bare.create_tables(service, connection)
        assert surroundings.postgres.process is not None
        server = Path(str(surroundings.postgres.process.args[0]))  # type: ignore[index]
        path = surroundings.folder / "pgbench.sql"
        path.write_text(script)
        before = sum(processor_seconds(surroundings.pids()).values())
        children = _children_seconds()
        printed = subprocess.run(
            [
                server.parent / "pgbench",
                *("-n", "-M", "prepared", "-c", str(CLIENTS), "-j", "1", "-T", str(seconds)),
                *("-f", str(path), url.replace("+psycopg", "")),
            ],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        used = sum(processor_seconds(surroundings.pids()).values()) - before
        used += _children_seconds() - children
        count = int(_after(printed, "number of transactions actually processed: "))
        return float(_after(printed, "tps = ")), used / count * 1000


def _after(printed: str, words: str) -> str:
    return printed.partition(words)[2].split()[0].partition("/")[0]
