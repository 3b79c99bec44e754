"""`kill -9` of any process during the demo: every order has its outcome, nothing counts twice."""

import json
from collections.abc import Callable

import pytest

from tests.support.processes import SERVICES, Command, Processes, get
from tests.support.servers import wait_until

StartSystem = Callable[[str], Processes]
#: So many that each process is killed while they come in.
ORDERS = "100"


def demo(system: Processes) -> Command:
    """Run the demo beside the test."""
    return system.begin("demo", "--json", "--orders", ORDERS)


def orders_recorded(system: Processes) -> int:
    """Return how many orders there are, by the count of all states."""
    token = system.command("tokens", "issue", "--subject", "test", "--role", "operator")
    url = f"{system.urls['orders']}/api/orders/v1/orders/summary"
    headers = {"Authorization": f"Bearer {token.stdout.strip()}"}
    answer = get(url, headers)
    return sum(int(count) for count in answer["states"].values())


def assert_settled_and_balanced(demo: Command, system: Processes) -> None:
    done = demo.end(240)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout)["balanced"]
    for service in SERVICES:
        report = system.ready(service)
        assert report["parked"] == {}, f"{service}: {report}"
    doctor = system.command("doctor")
    assert doctor.returncode == 0, doctor.stdout


@pytest.mark.rest
@pytest.mark.system
def test_embedded_killed_three_times_during_the_demo(start_with_sample: StartSystem) -> None:
    """Slow: the demo with three new starts in it."""
    system = start_with_sample("embedded")

    with demo(system) as running:
        for orders in (15, 40, 65):
            wait_until(
                lambda orders=orders: orders_recorded(system) >= orders,  # type: ignore[misc]
                120,
                f"{orders} orders",
            )
            system.kill("all")
            system.start("all")
        assert_settled_and_balanced(running, system)


@pytest.mark.system
@pytest.mark.broker
@pytest.mark.postgres
def test_each_web_and_worker_killed_once_during_the_demo(start_with_sample: StartSystem) -> None:
    """Slow: the demo with eight new starts in it."""
    system = start_with_sample("distributed")
    names = list(system.commands)

    with demo(system) as running:
        for number, name in enumerate(names):
            wait_until(
                lambda number=number: orders_recorded(system) >= 5 + 10 * number,  # type: ignore[misc]
                120,
                f"time to kill {name}",
            )
            system.kill(name)
            system.start(name)
        assert_settled_and_balanced(running, system)
