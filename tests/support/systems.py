"""Fixtures that start the whole system as real processes, in both set-ups; a pytest plugin.

A test run loads the sample once into each set-up and then copies it, because loading takes ten
times as long as copying.
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
from tests.support.fixtures import DatabaseTemplates, run_folder
from tests.support.processes import SERVICES, Processes
from tests.support.servers import wait_until

#: Seconds for which an unpaid order holds its stock in these tests; a setting, so text.
HOLD_SECONDS = "4"
#: Seconds within which the services must process all events of the sample.
SETTLE_SECONDS = 60
EMBEDDED = (pytest.mark.system,)
DISTRIBUTED = (pytest.mark.system, pytest.mark.broker, pytest.mark.postgres)
#: Both set-ups: `make test` runs the first, CI also the second (marker `rest`).
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
    """The data of a system with the sample, per set-up; the first test that needs it creates it."""

    def __init__(self, folder: Path, make: Callable[..., Processes]) -> None:
        self.folder = folder
        self._make = make

    def data(self, setup: str) -> Path:
        """Return the data folder of a system with the sample, which `databases` reads too."""
        path = self.folder / f"sample-{setup}"
        with FileLock(f"{path}.lock"):
            if not path.exists():
                shutil.copytree(self._load(setup), path, ignore=shutil.ignore_patterns("logs"))
        return path

    def databases(self, setup: str) -> dict[str, str]:
        """Return the names of the PostgreSQL databases with the sample; none if embedded."""
        path = self.data(setup) / "databases.json"
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}

    def _load(self, setup: str) -> Path:
        folder = self.folder / f"loading-{setup}"
        folder.mkdir()
        with self._make(setup, folder) as system:
            system.start()
            loaded = system.command("sample", "load", "--json")
            assert loaded.returncode == 0, loaded.stderr
            wait_until(
                lambda: _published(system), SETTLE_SECONDS, "the sample's events are published"
            )
            if setup == "distributed":
                url = system.environment["FARMGATE_BROKER_URL"]
                wait_until(
                    lambda: _queued_messages(url) == 0, SETTLE_SECONDS, "the queues are empty"
                )
                # A worker finishes its batch before it stops, so the databases are complete.
                system.stop_all()
                assert _queued_messages(url) == 0
                urls = {
                    service: system.environment[f"FARMGATE_{service.upper()}_DATABASE_URL"]
                    for service in SERVICES
                }
                names = {service: url.rpartition("/")[2] for service, url in urls.items()}
                (folder / "var" / "databases.json").write_text(json.dumps(names), encoding="utf-8")
        return folder / "var"


def _published(system: Processes) -> bool:
    return all(system.ready(service)["oldest_unpublished_seconds"] == 0 for service in SERVICES)


def _queued_messages(url: str) -> int:
    """Return the number of messages in the queues of the four services."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        return sum(
            channel.queue_declare(topology.queue_of(service), passive=True).method.message_count
            for service in SERVICES
        )


@pytest.fixture
def _make_system(request: pytest.FixtureRequest) -> Iterator[Callable[..., Processes]]:
    """Create a system in a set-up without starting it; `databases` names those to copy."""
    with ExitStack() as stack:

        def make(
            setup: str, folder: Path, databases: dict[str, str] | None = None, **settings: str
        ) -> Processes:
            if setup == "embedded":
                return processes.embedded(folder, **settings)
            create = request.getfixturevalue("postgres")
            migrated: DatabaseTemplates = request.getfixturevalue("_templates")
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
    """Start an empty system in a set-up; the fixture stops all its processes after the test."""
    with ExitStack() as stack:

        def start(setup: str, **settings: str) -> Processes:
            folder = tmp_path / setup
            folder.mkdir()
            given = {"FARMGATE_ORDERS_HOLD_SECONDS": HOLD_SECONDS} | settings
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
    """Start a system with the sample; the fixture stops all its processes after the test."""
    samples = Samples(run_folder(request.config, tmp_path_factory), _make_system)
    with ExitStack() as stack:

        def start(setup: str, **settings: str) -> Processes:
            folder = tmp_path / setup
            shutil.copytree(samples.data(setup), folder / "var")
            given = {"FARMGATE_ORDERS_HOLD_SECONDS": HOLD_SECONDS} | settings
            databases = samples.databases(setup)
            system = stack.enter_context(_make_system(setup, folder, databases, **given))
            system.start()
            return system

        yield start
