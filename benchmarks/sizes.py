"""Bytes that an order leaves behind: in each database, in the broker's stream, in the logs.

The same varied orders as `farmgate demo` places, each taken to its end, with the eight processes on
PostgreSQL and RabbitMQ. Counted is the difference between two fills, tables with their indexes and
both packed (VACUUM FULL): else what earlier rows left free would take in the first thousand orders.

    python -m benchmarks.sizes --orders 1000
"""

import argparse
import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg

from tests.support import processes, servers
from tests.support.processes import SERVICES, Processes
from tests.support.servers import Postgres, RabbitMQ

#: Orders before the first look: no table is at its smallest size then.
FIRST = 200
#: Counted by themselves: what is kept for a while only, the days in docs/settings.md.
KEPT_FOR_DAYS = ("outbox", "inbox")


def place(system: Processes, orders: int, seed: int) -> None:
    """Place orders and take each to its end, in demos whose buyers stay under their limit."""
    while orders > 0:
        done = system.command(
            "demo", "--orders", str(min(orders, 200)), "--seed", str(seed), seconds=1800
        )
        if done.returncode != 0:
            raise SystemExit(f"farmgate demo: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        orders, seed = orders - 200, seed + 1


def sizes(postgres: Postgres, broker: RabbitMQ, logs: Path) -> dict[str, int]:
    """Return the bytes of what grows, by name."""
    found: dict[str, int] = {}
    for service in SERVICES:
        address = f"postgresql://farmgate@127.0.0.1:{postgres.port}/sizes_{service}"
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute("VACUUM FULL")
            connection.execute("CHECKPOINT")
            rows = connection.execute(
                "SELECT relname, pg_total_relation_size(oid) FROM pg_class "
                "WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
            ).fetchall()
        tables = {str(name): int(size) for name, size in rows}
        for name in KEPT_FOR_DAYS:
            found[f"{service}, {name}"] = tables.pop(name)
        found[f"{service}, all else"] = sum(tables.values())
    found["logs"] = sum(path.stat().st_size for path in logs.glob("*.log"))
    return found


def per_order(before: Mapping[str, int], after: Mapping[str, int], orders: int) -> dict[str, int]:
    """Return how many bytes each order added."""
    return {name: round((after[name] - before[name]) / orders) for name in after}


def main() -> None:
    """Measure, and print a line for each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sizes", description=__doc__)
    parser.add_argument("--orders", type=int, default=1000, help="counted orders (1000)")
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    given = parser.parse_args()
    with TemporaryDirectory(prefix="farmgate-sizes-") as name, ExitStack() as stack:
        folder = Path(name)
        postgres = stack.enter_context(servers.postgres())
        broker = stack.enter_context(servers.rabbitmq())
        databases = {service: postgres.create(f"sizes_{service}") for service in SERVICES}
        # Unpaid orders expire within the run: each is taken to its end.
        system = processes.distributed(
            folder, databases, broker, "sizes", stack, FARMGATE_ORDERS_HOLD_SECONDS="20"
        )
        stack.enter_context(system)
        system.start()
        loaded = system.command("sample", "load", seconds=600)
        if loaded.returncode != 0:
            raise SystemExit(f"farmgate sample load: {loaded.stdout}{loaded.stderr}")
        place(system, FIRST, 1)
        before = sizes(postgres, broker, folder)
        place(system, given.orders, 100)
        after = sizes(postgres, broker, folder)
    each = per_order(before, after, given.orders)
    if given.json:
        print(json.dumps(each, indent=1))
        return
    for what, count in each.items():
        print(f"{what:<32}{count:>8,} bytes an order")
    print(f"{'all':<32}{sum(each.values()):>8,} bytes an order")


if __name__ == "__main__":
    main()
