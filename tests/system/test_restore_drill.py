"""A set is made beside running orders; it comes back whole, or as one service beside newer ones."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from farmgate.client import connect
from tests.support.processes import SERVICES, Processes
from tests.support.servers import wait_until
from tests.support.systems import DISTRIBUTED, EMBEDDED

LOTS = ("reservation_lots", "shipment_lots")
#: Set-up, who is restored alone, what `verify` names then, and what it may name besides (None:
#: anything).
DRILLS = [
    # Orders is told by people: what they said after the backup is said by nobody again.
    pytest.param("embedded", "orders", {"order_unknown"}, None, marks=EMBEDDED),
    # Shipments are planned again; what was done with parcels since is not.
    pytest.param(
        *("embedded", "logistics", set(), {"order_state"}), marks=[*EMBEDDED, pytest.mark.long]
    ),
    # Stock is reserved again, perhaps of other lots; what was received since is not.
    pytest.param(
        *("embedded", "catalog", set(), {"order_state", *LOTS}), marks=[*EMBEDDED, pytest.mark.long]
    ),
    # Notifications only listens: all that it forgot is said to it again.
    pytest.param(
        *("distributed", "notifications", set(), set()), marks=[*DISTRIBUTED, pytest.mark.long]
    ),
]
StartSystem = Callable[[str], Processes]


def run(system: Processes, *arguments: str, code: int = 0) -> Any:
    done = system.command(*arguments, "--json")
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def stop_all(system: Processes) -> None:
    system.stop_all()


def restore(system: Processes, folder: Path, *arguments: str) -> Any:
    stop_all(system)
    done = run(system, "restore", str(folder), "--yes", *arguments)
    system.start()
    return done


def orders_of(system: Processes, *states: str) -> int:
    """Return how many orders there are, in these states or at all."""
    found = connect(system.environment).get("orders", "/orders/summary")["states"]
    return sum(count for state, count in found.items() if not states or state in states)


@pytest.mark.parametrize(("setup", "alone", "named", "more"), DRILLS)
def test_a_backup_comes_back_for_one_service_beside_newer_ones_and_then_whole(
    start_with_sample: StartSystem,
    tmp_path: Path,
    setup: str,
    alone: str,
    named: set[str],
    more: set[str] | None,
) -> None:
    """Slow: the system starts anew after each of two restores."""
    system = start_with_sample(setup)
    run(system, "demo", "--orders", "10")
    older, newer = tmp_path / "older", tmp_path / "newer"
    made = run(system, "backup", str(older))
    with system.begin("demo", "--orders", "30") as selling:
        wait_until(lambda: orders_of(system) >= 20, 60, "the demo has placed ten orders")
        rows = {p["service"]: p["rows"] for p in run(system, "backup", str(newer))["parts"]}
        selling.end()
    in_use = system.command("restore", str(older), "--yes")
    assert in_use.returncode == 1
    assert [part["service"] for part in made["parts"]] == list(SERVICES)

    done = restore(system, older, "--service", alone)
    assert alone in done["epochs"]
    assert done["again"]
    patience = "30" if more == named else "3"
    done = system.command("verify", "--json", "--patience", patience)
    told = {each["check"] for each in json.loads(done.stdout)["differences"]}
    assert named <= told
    assert more is None or told <= named | more
    assert done.returncode == (1 if told else 0)

    restore(system, newer)
    found = run(system, "verify")
    assert found["agrees"]
    assert 20 <= rows["orders"]["orders"] == found["checked"]["orders: orders"]
    # Of the demo that was ended, unpaid orders are left: the next one takes stock alone.
    wait_until(lambda: orders_of(system, "reserved") == 0, 60, "unpaid orders expire")
    run(system, "demo", "--orders", "5")
    after = run(system, "verify")["checked"]["orders: orders"]
    assert after == rows["orders"]["orders"] + 5
