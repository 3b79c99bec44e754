"""Partners' feeds through all four services: what a partner ends with, whatever is killed."""

import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import Processes, get
from tests.support.servers import wait_until
from tests.support.systems import EMBEDDED_FIRST

READER = Path(__file__).with_name("feed_reader.py")
#: What a shipment's event says of its order's `fulfilment_state`.
STATES = {
    "logistics.shipment_planned.v1": "planned",
    "logistics.shipment_packed.v1": "packed",
    "logistics.shipment_dispatched.v1": "dispatched",
    "logistics.shipment_delivered.v1": "delivered",
    "logistics.shipment_collected.v1": "collected",
    "logistics.delivery_failed.v1": "failed",
    "logistics.shipment_cancelled.v1": "cancelled",
    "logistics.shipment_returned.v1": "returned",
}


def _token(system: Processes, *arguments: str) -> dict[str, str]:
    done = system.command("tokens", "issue", *arguments)
    assert done.returncode == 0, done.stderr
    return {"Authorization": f"Bearer {done.stdout.strip()}"}


def _rebuilt(events: list[dict[str, Any]]) -> dict[str, str]:
    """Return each order's `fulfilment_state` by its events alone."""
    states: dict[str, str] = {}
    for event in events:
        order_id = event["data"]["order_id"]
        if event["type"] in STATES:
            states[order_id] = STATES[event["type"]]
        elif event["type"] == "orders.order_reinstated.v1" and states.get(order_id) == "packed":
            states[order_id] = "planned"
    return states


@pytest.mark.parametrize("setup", EMBEDDED_FIRST)
def test_a_reader_that_is_killed_at_random_ends_with_its_set_in_order_and_knows_every_state(
    start_with_sample: Callable[[str], Processes], setup: str, tmp_path: Path
) -> None:
    """Slow: the demo runs beside the reader."""
    system, chance = start_with_sample(setup), random.Random(18)
    made = system.command("integrators", "subscribe", "watcher", "--grant", "orders", "--json")
    assert made.returncode == 0, made.stderr
    token = _token(system, "--subject", "watcher", "--scope", "events:read")
    url, path = system.urls["notifications"], tmp_path / "reader.db"
    command = [sys.executable, str(READER), url, token["Authorization"][7:], str(path)]

    kills = 0
    with system.begin("demo", "--orders", "60", "--json") as demo:
        while demo.process.poll() is None:
            reader = subprocess.Popen(command)
            time.sleep(chance.uniform(0.2, 1.5))
            assert reader.poll() is None, "the reader ended by itself"
            reader.send_signal(signal.SIGKILL)
            reader.wait()
            kills += 1
        assert demo.end().returncode == 0
    reader = subprocess.Popen(command)

    def newest() -> Any:
        return get(f"{url}/api/events/v1/subscription", token)["newest_position"]

    def kept() -> list[dict[str, Any]]:
        with sqlite3.connect(path) as database:
            return list(database.execute("SELECT position, event FROM events ORDER BY position"))

    try:
        wait_until(lambda: len(kept()) == newest(), 30, "the reader has everything")
    finally:
        reader.kill()
        reader.wait()
    rows = kept()
    events = [json.loads(event) for _, event in rows]

    assert kills > 3
    assert [position for position, _ in rows] == list(range(1, len(rows) + 1))
    assert len({event["id"] for event in events}) == len(events)
    last: dict[tuple[str, str], str] = {}
    for event in events:
        assert last.get((event["source"], event["subject"]), "") < event["sequence"]
        last[event["source"], event["subject"]] = event["sequence"]
    operator = _token(
        system, "--subject", "tester", "--scope", "orders:operate", "--scope", "orders:read"
    )
    orders = _orders(system, operator)
    assert len(orders) == 60
    states = _rebuilt(events)
    assert {order_id: states.get(order_id) for order_id in orders} == orders


def _orders(system: Processes, headers: dict[str, str]) -> dict[str, str | None]:
    """Return each order's `fulfilment_state` as orders says it."""
    found: dict[str, str | None] = {}
    cursor = ""
    while True:
        page = get(f"{system.urls['orders']}/api/orders/v1/orders?limit=200{cursor}", headers)
        found |= {each["order_id"]: each["fulfilment_state"] for each in page["items"]}
        if page["next"] is None:
            return found
        cursor = f"&cursor={page['next']}"
