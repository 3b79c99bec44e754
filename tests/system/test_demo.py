"""The demo: varied orders, balanced books, and the same outcomes on both set-ups."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator

from shared.events import BY_TYPE
from shared.events.description import ENVELOPE, schema
from tests.support.processes import Processes
from tests.support.published import STRIPE, bodies_in, run_both_demos

#: Each of the demo's stories is among so many.
ORDERS = "60"


def demo(system: Processes) -> dict[str, Any]:
    done = system.command("demo", "--orders", ORDERS, "--json")
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.system
@pytest.mark.broker
@pytest.mark.postgres
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


@pytest.mark.system
def test_every_event_of_both_demos_fits_its_schema_and_every_type_is_seen(
    start_with_sample: Callable[[str], Processes],
) -> None:
    """Slow: both demos run."""
    system = start_with_sample("embedded", **STRIPE)

    run_both_demos(system)

    checks = {
        name: Draft202012Validator(dict(schema(name)), validate_formats=True)
        for name in (ENVELOPE, *BY_TYPE)
    }
    seen = set()
    for body in bodies_in(system):
        event = json.loads(body)
        checks[ENVELOPE].validate(event)
        checks[event["type"]].validate(event["data"])
        assert event["dataschema"] == schema(event["type"])["$id"]
        seen.add(event["type"])
    assert seen == BY_TYPE.keys()
