"""The whole system as real processes, on both set-ups; a pytest plugin.

The sample is loaded once a run into each set-up and then copied: to load it takes ten times as
long as to copy it.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pika
import pytest
from filelock import FileLock

from shared.messaging import topology
from tests.support import processes
from tests.support.fixtures import Templates, run_folder
from tests.support.processes import SERVICES, Processes
from tests.support.servers import wait_until

#: Seconds an unpaid order keeps its stock in these tests.
HOLD = "4"
#: Seconds in which all events of the sample must have taken effect.
SETTLED = 60
EMBEDDED = (pytest.mark.system,)
DISTRIBUTED = (pytest.mark.system, pytest.mark.broker, pytest.mark.postgres)
#: Both set-ups, of which `make test` plays one and CI the other.
EMBEDDED_FIRST = [
    pytest.param("embedded", marks=EMBEDDED),
    pytest.param("distributed", marks=[*DISTRIBUTED, pytest.mark.rest]),
]
DISTRIBUTED_FIRST = [
    pytest.param("embedded", marks=[*EMBEDDED, pytest.mark.rest]),
    pytest.param("distributed", marks=DISTRIBUTED),
]

StartSystem = Callable[..., Processes]


class Samples:
    """The data of a system with the sample, per set-up, made by the first test that asks."""

    def __init__(self, folder: Path, make: Callable[..., Processes]) -> None:
        self.folder = folder
        self._make = make

    def data(self, setup: str) -> Path:
        """Return the data folder of a system with the sample; a file in it names databases."""
        path = self.folder / f"sample-{setup}"
        with FileLock(f"{path}.lock"):
            if not path.exists():
                shutil.copytree(self._load(setup), path, ignore=shutil.ignore_patterns("logs"))
        return path

    def databases(self, setup: str) -> dict[str, str]:
        """Return the names of the PostgreSQL databases with the sample; none if embedded."""
        told = self.data(setup) / "databases.json"
        return dict(json.loads(told.read_text(encoding="utf-8"))) if told.exists() else {}

    def _load(self, setup: str) -> Path:
        folder = self.folder / f"loading-{setup}"
        folder.mkdir()
        with self._make(setup, folder) as system:
            system.start()
            loaded = system.command("sample", "load", "--json")
            assert loaded.returncode == 0, loaded.stderr
            wait_until(lambda: _published(system), SETTLED, "the sample's events are published")
            if setup == "distributed":
                url = system.environment["FARMGATE_BROKER_URL"]
                wait_until(lambda: _waiting(url) == 0, SETTLED, "the sample's events are taken")
                # Whoever has a batch in hand ends it first.
                system.stop_all()
                assert _waiting(url) == 0
                names = {
                    service: system.environment[f"FARMGATE_{service.upper()}_DATABASE_URL"]
                    for service in SERVICES
                }
                told = {service: url.rpartition("/")[2] for service, url in names.items()}
                (folder / "var" / "databases.json").write_text(json.dumps(told), encoding="utf-8")
        return folder / "var"


def _published(system: Processes) -> bool:
    return all(system.ready(service)["oldest_unpublished_seconds"] == 0 for service in SERVICES)


def _waiting(url: str) -> int:
    """Return how many messages wait for the four services."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        return sum(
            channel.queue_declare(topology.queue_of(service), passive=True).method.message_count
            for service in SERVICES
        )


@pytest.fixture
def _make_system(request: pytest.FixtureRequest) -> Iterator[Callable[..., Processes]]:
    """Make a system by the name of its set-up, not started, on an empty folder or on copies."""
    with ExitStack() as stack:

        def make(
            setup: str, folder: Path, databases: dict[str, str] | None = None, **settings: str
        ) -> Processes:
            if setup == "embedded":
                return processes.embedded(folder, **settings)
            create = request.getfixturevalue("postgres")
            migrated: Templates = request.getfixturevalue("_templates")
            templates = databases or {s: migrated.postgres(s, create) for s in SERVICES}
            return processes.distributed(
                folder,
                {service: create(service, template=templates[service]) for service in SERVICES},
                request.getfixturevalue("broker"),
                f"s{uuid4().hex[:8]}",
                stack,
                **settings,
            )

        yield make


@pytest.fixture
def start_system(_make_system: Callable[..., Processes], tmp_path: Path) -> Iterator[StartSystem]:
    """Start a system by the name of its set-up, empty; all is stopped after the test."""
    with ExitStack() as stack:

        def start(setup: str, **settings: str) -> Processes:
            folder = tmp_path / setup
            folder.mkdir()
            given = {"FARMGATE_ORDERS_HOLD_SECONDS": HOLD} | settings
            system = stack.enter_context(_make_system(setup, folder, **given))
            system.start()
            return system

        yield start


@pytest.fixture
def start_with_sample(
    _make_system: Callable[..., Processes],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[StartSystem]:
    """Start a system that has the sample; all is stopped after the test."""
    samples = Samples(run_folder(request.config, tmp_path_factory), _make_system)
    with ExitStack() as stack:

        def start(setup: str, **settings: str) -> Processes:
            folder = tmp_path / setup
            shutil.copytree(samples.data(setup), folder / "var")
            given = {"FARMGATE_ORDERS_HOLD_SECONDS": HOLD} | settings
            databases = samples.databases(setup)
            system = stack.enter_context(_make_system(setup, folder, databases, **given))
            system.start()
            return system

        yield start
