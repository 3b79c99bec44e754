"""The demo: varied orders, balanced books, and the same outcomes on both set-ups."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.processes import Processes

pytestmark = [pytest.mark.system, pytest.mark.broker, pytest.mark.postgres]

#: Each of the demo's stories is among so many.
ORDERS = "60"


def demo(system: Processes) -> dict[str, Any]:
    done = system.command("demo", "--orders", ORDERS, "--json")
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_the_demo_balances_and_ends_alike_embedded_and_behind_a_broker(
    start_with_sample: Callable[[str], Processes],
) -> None:
    """Slow: the demo runs twice, through nine processes."""
    embedded = start_with_sample("embedded")
    first = demo(embedded)
    embedded.stop("all")

    second = demo(start_with_sample("distributed"))

    assert first["balanced"]
    assert second["balanced"]
    assert first["outcomes"] == second["outcomes"]
    assert first["stock"] == second["stock"]
