"""The whole system, on both set-ups, with the sample loaded."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support import processes
from tests.support.processes import SERVICES, Processes

#: Seconds an unpaid order keeps its stock in these tests.
HOLD = "4"
SETUPS = [
    pytest.param("embedded", marks=pytest.mark.system),
    pytest.param(
        "distributed", marks=[pytest.mark.system, pytest.mark.broker, pytest.mark.postgres]
    ),
]

StartSystem = Callable[[str], Processes]


@pytest.fixture
def start_system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StartSystem]:
    """Start a system by the name of its set-up, empty; all is stopped after the test."""
    with ExitStack() as stack:

        def start(setup: str) -> Processes:
            folder = tmp_path / setup
            folder.mkdir()
            settings = {"FARMGATE_ORDERS_HOLD_SECONDS": HOLD}
            if setup == "embedded":
                made = processes.embedded(folder, **settings)
            else:
                create = request.getfixturevalue("postgres")
                made = processes.distributed(
                    folder,
                    {service: create(service) for service in SERVICES},
                    request.getfixturevalue("broker"),
                    f"s{uuid4().hex[:8]}",
                    stack,
                    **settings,
                )
            system = stack.enter_context(made)
            system.start()
            return system

        yield start


@pytest.fixture
def start_with_sample(start_system: StartSystem) -> StartSystem:
    """Start a system and load the sample into it."""

    def start(setup: str) -> Processes:
        system = start_system(setup)
        loaded = system.command("sample", "load", "--json")
        assert loaded.returncode == 0, loaded.stderr
        return system

    return start
