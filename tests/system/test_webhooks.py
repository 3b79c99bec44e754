"""Webhooks through all four services: what a subscriber that is killed at random ends with."""

import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.processes import Processes
from tests.support.servers import wait_until
from tests.support.systems import EMBEDDED_FIRST

RECEIVER = Path(__file__).parents[2] / "examples" / "webhook" / "flask" / "receiver.py"


def _port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def _answer(system: Processes, *arguments: str) -> Any:
    done = system.command(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _stored(database: Path) -> list[dict[str, Any]]:
    """Return the events of the example, in the order of their arrival."""
    if not database.exists():
        return []
    connection = sqlite3.connect(database)
    try:
        rows = connection.execute("SELECT body FROM events ORDER BY rowid").fetchall()
    except sqlite3.OperationalError:  # no table yet
        return []
    finally:
        connection.close()
    return [json.loads(body) for (body,) in rows]


@pytest.mark.parametrize("setup", EMBEDDED_FIRST)
def test_a_subscriber_and_a_sender_that_are_killed_end_with_each_event_once_in_order(
    start_with_sample: Callable[..., Processes], setup: str, tmp_path: Path
) -> None:
    """Slow: the demo runs beside the subscriber."""
    system = start_with_sample(setup, FARMGATE_WEBHOOK_NETWORKS="127.0.0.0/8")
    chance, port, database = random.Random(18), _port(), tmp_path / "events.db"
    issued = _answer(system, "tokens", "issue", "--subject", "watcher", "--role", "operator")
    url = f"{system.urls['notifications']}/api/events/v1"
    headers = {"Authorization": f"Bearer {issued['token']}"}
    for path, body in (
        ("/subscription", {"types": []}),
        ("/subscriptions/watcher/grants", {"grants": ["orders"]}),
    ):
        requests.put(f"{url}{path}", json=body, headers=headers, timeout=30).raise_for_status()
    system.environment["FARMGATE_TOKEN"] = issued["token"]
    hook = f"http://127.0.0.1:{port}/webhook"
    endpoint = _answer(system, "integrators", "endpoints", "add", hook)
    environment = os.environ | {
        "FARMGATE_WEBHOOK_SECRET": endpoint["secret"],
        "EVENTS_DATABASE": str(database),
        "PORT": str(port),
    }

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, RECEIVER],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    receiver = start()
    try:
        # A ping is sent once, also to a receiver that is just starting.
        wait_until(lambda: _listens(port), 30, "the receiver listens")
        pinged = _answer(system, "integrators", "endpoints", "ping", endpoint["endpoint_id"])
        assert pinged["status"] == "delivered"
        with system.begin("demo", "--orders", "40") as demo:
            for _ in range(4):
                time.sleep(chance.uniform(0.2, 1.5))  # the moment of the kill is under test
                receiver.send_signal(signal.SIGKILL)
                receiver.wait()
                receiver = start()
            assert demo.end().returncode == 0
        sender = "all" if setup == "embedded" else "notifications-worker"
        system.kill(sender)
        system.start(sender)

        def expected() -> list[dict[str, Any]]:
            found, after = [], None
            while True:
                page = requests.get(
                    f"{url}/events",
                    params={"limit": 1000, "after": after},
                    headers=headers,
                    timeout=30,
                ).json()
                found += [item["event"] for item in page["events"]]
                after = page["next"]
                if not page["more"]:
                    return found

        def ids(events: list[dict[str, Any]]) -> set[str]:
            return {each["id"] for each in events if "ping" not in each["type"]}

        def is_complete() -> bool:
            _answer(system, "integrators", "endpoints", "resume", endpoint["endpoint_id"])
            events = expected()
            return len(events) > 150 and ids(_stored(database)) == ids(events)

        wait_until(is_complete, 120, "the subscriber has every event of its feed")
    finally:
        receiver.kill()
        receiver.wait()
    sequences: defaultdict[str, list[str]] = defaultdict(list)
    for event in _stored(database):
        if "sequence" in event:
            sequences[event["subject"]].append(event["sequence"])
    assert all(each == sorted(each) for each in sequences.values())
