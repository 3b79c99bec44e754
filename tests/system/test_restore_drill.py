"""A set is made beside running orders; it comes back whole, or as one service beside newer ones."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.testing.processes import SERVICES, Processes

SETUPS = [
    pytest.param("embedded", marks=pytest.mark.system),
    pytest.param(
        "distributed", marks=[pytest.mark.system, pytest.mark.broker, pytest.mark.postgres]
    ),
]
StartSystem = Callable[[str], Processes]


def run(system: Processes, *arguments: str, code: int = 0) -> Any:
    done = system.command(*arguments, "--json")
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def stop_all(system: Processes) -> None:
    for name in list(system.running):
        system.stop(name)


def restore(system: Processes, folder: Path, *arguments: str) -> Any:
    stop_all(system)
    done = run(system, "restore", str(folder), "--yes", *arguments)
    system.start()
    return done


def checks(found: dict[str, Any]) -> set[str]:
    return {each["check"] for each in found["differences"]}


@pytest.mark.parametrize("setup", SETUPS)
def test_a_backup_comes_back_whole_or_one_service_beside_newer_ones(
    start_with_sample: StartSystem, tmp_path: Path, setup: str
) -> None:
    system = start_with_sample(setup)
    run(system, "demo", "--orders", "15")
    older, newer = tmp_path / "older", tmp_path / "newer"
    made = run(system, "backup", str(older))
    run(system, "demo", "--orders", "15")
    run(system, "backup", str(newer))
    in_use = system.command("restore", str(older), "--yes")
    assert in_use.returncode == 1
    assert [part["service"] for part in made["parts"]] == list(SERVICES)

    # Notifications only listens: all that it forgot is said to it again.
    done = restore(system, older, "--service", "notifications")
    assert done["again"]
    assert run(system, "verify")["agrees"]

    # Orders is told by people: what they said after the backup is said by nobody again.
    done = restore(system, older, "--service", "orders")
    assert set(done["epochs"]) >= {"orders"}
    assert "order_unknown" in checks(run(system, "verify", "--patience", "3", code=1))

    # All four go back to one moment, and on from there.
    restore(system, newer)
    found = run(system, "verify")
    assert found["agrees"]
    assert found["checked"]["orders: orders"] == 30
    run(system, "demo", "--orders", "5")
    assert run(system, "verify")["checked"]["orders: orders"] == 35
