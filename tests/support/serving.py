"""Real servers for the tests; a pytest plugin.

`--servers` starts one PostgreSQL and one RabbitMQ a run. The process that was called starts them,
and its workers (pytest-xdist) use the same ones: each test gets databases and a virtual host of its
own. A test that kills, stops or alarms the broker is marked `harms_broker`; all such tests run in
one worker, on a broker of their own. Without `--servers` (and without `TEST_POSTGRES_URL`), tests
that need a server, a browser or a whole system are skipped at home and fail in CI.
"""

import gc
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn, cast
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, text

from shared.messaging import topology
from tests.support import chance, probe, servers
from tests.support.servers import wait_until

STARTERS: dict[str, Any] = {"postgres": servers.postgres, "broker": servers.rabbitmq}
CLASSES: dict[str, Any] = {"postgres": servers.Postgres, "broker": servers.RabbitMQ}
PATHS = ("folder",)


class Run:
    """The servers of one run, known to all its processes by a file each in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ending = threading.Event()
        self._threads: dict[str, threading.Thread] = {}

    def start(self, kind: str) -> None:
        """Begin to start a server, unless it was done; `find` waits until it answers."""
        if kind not in self._threads:
            thread = threading.Thread(target=self._keep, args=(kind,), name=kind)
            self._threads[kind] = thread
            thread.start()

    def _keep(self, kind: str) -> None:
        told: dict[str, Any]
        try:
            with STARTERS[kind]() as server:
                told = {
                    field.name: getattr(server, field.name)
                    for field in fields(server)
                    if field.name not in ("process", "epmd")
                }
                self._tell(kind, told | {name: str(told[name]) for name in PATHS})
                self._ending.wait()
        except Exception as error:
            self._tell(kind, {"error": str(error)})

    def _tell(self, kind: str, told: dict[str, Any]) -> None:
        part = self.folder / f"{kind}.part"
        part.write_text(json.dumps(told), encoding="utf-8")
        part.replace(self.folder / kind)

    def find(self, kind: str) -> Any:
        """Return a running server of this kind.

        Raises:
            RuntimeError: it could not be started; the message says why.
        """
        place = self.folder / kind
        wait_until(place.exists, servers.START_SECONDS, f"the run's {kind} answers")
        told = json.loads(place.read_text(encoding="utf-8"))
        if "error" in told:
            raise RuntimeError(told["error"])
        return CLASSES[kind](**told | {name: Path(told[name]) for name in PATHS})

    def stop(self) -> None:
        """Stop what was started."""
        self._ending.set()
        for thread in self._threads.values():
            thread.join()


RUN = pytest.StashKey[Run]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--servers", action="store_true", help="start a PostgreSQL and a RabbitMQ")
    parser.addoption("--long", action="store_true", help="faults last minutes instead of seconds")


def pytest_configure(config: pytest.Config) -> None:
    chance.choose(servers=config.getoption("--servers"))
    for marker, meaning in {
        "postgres": "needs a PostgreSQL",
        "broker": "needs a RabbitMQ",
        "system": "runs real processes of all four services",
        "browser": "drives a Chromium",
        "harms_broker": "kills, stops or alarms the broker, so it gets one that no other test uses",
        "smoke": "the few tests of a deployment that CI runs: make deployment-smoke",
        "rest": "another form of what a faster test shows: `make test-rest`, and CI",
        "long": "takes minutes: `make test-long`, by night",
    }.items():
        config.addinivalue_line("markers", f"{marker}: {meaning}")
    worker = getattr(config, "workerinput", None)
    if worker is not None:
        config.stash[RUN] = Run(Path(worker["servers"]))
        return
    config.stash[RUN] = Run(Path(tempfile.mkdtemp(prefix="farmgate-run-")))
    if config.getoption("--servers") and config.getoption("numprocesses", None):
        # Before the workers ask: they collect meanwhile.
        for kind in STARTERS:
            config.stash[RUN].start(kind)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return a process for each core if everything is run, else 0: the run's own process."""
    chosen = config.args_source is not pytest.Config.ArgsSource.TESTPATHS
    return 0 if chosen or config.getoption("keyword") else os.cpu_count() or 1


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker where the servers of the run are named."""
    node.workerinput["servers"] = str(node.config.stash[RUN].folder)


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.stash[RUN].stop()
        shutil.rmtree(config.stash[RUN].folder, ignore_errors=True)


def pytest_itemcollected(item: pytest.Item) -> None:
    if item.get_closest_marker("harms_broker"):
        item.add_marker(pytest.mark.xdist_group("harms_broker"))
    if "system" in getattr(item, "fixturenames", ()):
        item.add_marker(pytest.mark.system)
    if item.config.getoption("--long") and "long" in getattr(item, "fixturenames", ()):
        item.add_marker(pytest.mark.long)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if not item.config.getoption("--servers"):
        # They take minutes, and a plain `pytest` should take less than two.
        for name, what in {"browser": "time for a browser", "system": "time for a system"}.items():
            if item.get_closest_marker(name):
                missing(what)


def pytest_collection_finish() -> None:
    # A full collection walks all that was imported and collected, hundreds of times in a run.
    gc.collect()
    gc.freeze()


def missing(what: str) -> NoReturn:
    """Skip the test at home, fail it in CI."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is needed in CI: run `make test`")
    pytest.skip(f"{what} is needed: run `make test`, or pytest with --servers")


def _server(config: pytest.Config, kind: str, what: str) -> Any:
    if not config.getoption("--servers"):
        missing(what)
    if not hasattr(config, "workerinput"):
        config.stash[RUN].start(kind)
    return config.stash[RUN].find(kind)


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> Callable[..., str]:
    """Make new PostgreSQL databases: called with a name, returns the address.

    `template` names a database to copy.
    """
    given = os.environ.get("TEST_POSTGRES_URL")
    url = given or _server(request.config, "postgres", "a PostgreSQL").url()

    def create(name: str, template: str = "template1") -> str:
        unique = f"{name}_{uuid4().hex[:8]}"
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f'CREATE DATABASE "{unique}" TEMPLATE "{template}"'))
        engine.dispose()
        return url.rpartition("/")[0] + "/" + unique

    return create


@pytest.fixture(scope="session")
def _own_broker(request: pytest.FixtureRequest) -> Iterator[servers.RabbitMQ]:
    if not request.config.getoption("--servers"):
        missing("a RabbitMQ")
    with servers.rabbitmq() as server:
        yield server


@pytest.fixture
def broker(request: pytest.FixtureRequest) -> servers.RabbitMQ:
    """The run's RabbitMQ, which others use at the same time; another one with `harms_broker`."""
    if request.node.get_closest_marker("harms_broker"):
        return cast(servers.RabbitMQ, request.getfixturevalue("_own_broker"))
    return cast(servers.RabbitMQ, _server(request.config, "broker", "a RabbitMQ"))


@pytest.fixture
def empty_vhost(broker: servers.RabbitMQ) -> Iterator[str]:
    """The address of a virtual host of the test's own, with nothing declared in it."""
    name = f"v{uuid4().hex[:8]}"
    yield broker.create_vhost(name)
    broker.delete_vhost(name)


@pytest.fixture
def vhost(empty_vhost: str) -> str:
    """The address of a virtual host of the test's own, with the probe's topology."""
    topology.declare(empty_vhost, [probe.PUBLISHER, probe.SERVICE])
    return empty_vhost


@pytest.fixture(scope="session")
def long(request: pytest.FixtureRequest) -> bool:
    """Whether a fault is to last as long as docs/reliability.md says, which takes minutes."""
    return bool(request.config.getoption("--long"))


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of the system's Chromium; none is downloaded."""
    # Debian's wrapper switches on extensions and drawing by a graphics processor that tests lack;
    # the program itself needs a fifth less of the processor.
    for name in ("/usr/lib/chromium/chromium", "chromium", "chromium-browser", "google-chrome"):
        path = shutil.which(name)
        if path is not None:
            return path
    missing("a Chromium")
