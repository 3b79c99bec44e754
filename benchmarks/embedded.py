"""The embedded run: all four services in one process on SQLite, as `make run` starts them."""

import sqlite3
import time
from collections import defaultdict
from contextlib import closing
from pathlib import Path

from benchmarks import goods
from benchmarks.figures import Figure
from benchmarks.load import Load
from benchmarks.surroundings import Surroundings, embedded, memory_mib, processor_seconds
from services.orders.models.orders import UNPLANNED
from tests.support.processes import SERVICES
from tests.support.servers import wait_until

PART = "embedded"
CLIENTS, VARIANTS = 16, 31
#: Seconds until the sample is loaded, and until everything that was placed is told.
PATIENCE = 300
#: Unit and aim of each figure, in the order of the table.
KINDS = {
    "first start, until it answers": ("s", None),
    "first start, until the sample is loaded": ("s", None),
    "start with data": ("s", "< 3"),
    "memory at rest": ("MiB", "< 120"),
    "orders told": ("/s", None),
    "processor time per order until told": ("ms", None),
}


def measure(surroundings: Surroundings, *, quick: bool) -> list[Figure]:
    """Start it, place orders, and start it again; three times, once if `quick`."""
    found: dict[str, list[float]] = defaultdict(list)
    for run in range(1 if quick else 3):
        surroundings.say(f"{PART}, run {run + 1}")
        folder = surroundings.folder / f"{PART}{run}"
        for name, value in _measure(folder, 5 if quick else 10).items():
            found[name].append(value)
    return [
        Figure(PART, name, unit, tuple(found[name]), aim=aim) for name, (unit, aim) in KINDS.items()
    ]


def _measure(folder: Path, seconds: float) -> dict[str, float]:
    """Return the figures of one run by name."""
    found: dict[str, float] = {}
    with embedded(folder, "--sample") as system:
        began = time.monotonic()
        system.start()
        found["first start, until it answers"] = time.monotonic() - began
        wait_until(lambda: "Sample:" in system.log("all"), PATIENCE, "the sample is loaded")
        found["first start, until the sample is loaded"] = time.monotonic() - began
        system.issue_token()
        centre_id = goods.open_sites(system, 1)
        variants = goods.list_variants(system, VARIANTS)
        wait_until(lambda: _is_told(folder), PATIENCE, "all services know the goods")
        system.stop_all()

        system.commands["all"].remove("--sample")
        began = time.monotonic()
        system.start()
        found["start with data"] = time.monotonic() - began
        time.sleep(5)  # the timers have run once
        found["memory at rest"] = sum(memory_mib(system.pids()).values())
        load = Load(system.urls["orders"], system.token, centre_id, variants, CLIENTS, seconds)
        used = sum(processor_seconds(system.pids()).values())
        sent = load.send()
        assert not sent.refused, sent.refused
        wait_until(lambda: _is_told(folder), PATIENCE, "all orders are told")
        found["orders told"] = sent.accepted / (time.time() - sent.began)
        used = sum(processor_seconds(system.pids()).values()) - used + sent.processor_seconds
        found["processor time per order until told"] = used / sent.accepted * 1000
    return found


def _is_told(folder: Path) -> bool:
    """Tell whether no event waits to take effect, no order for its plan, no message to be sent."""
    waiting = {service: ["outbox WHERE position IS NULL"] for service in SERVICES}
    waiting["orders"].append(f"orders WHERE {UNPLANNED}")
    waiting["notifications"].append("messages WHERE due_at IS NOT NULL")
    for service, conditions in waiting.items():
        address = f"file:{folder}/var/{service}.db?mode=ro"
        with closing(sqlite3.connect(address, uri=True)) as connection:
            for condition in conditions:
                if connection.execute(f"SELECT 1 FROM {condition} LIMIT 1").fetchone():
                    return False
    return True
