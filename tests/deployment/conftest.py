"""One deployment for all tests here, built from this tree and removed with its data."""

import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import pika
import psycopg
import pytest

from farmgate.client import Client
from farmgate.services import NAMES
from tests.support.servers import wait_until

ROOT = Path(__file__).parents[2]
PROJECT = "farmgate-tests"
#: Containers of the four services, and all that stay.
PROCESSES = tuple(f"{name}-{kind}" for name in NAMES for kind in ("web", "worker"))
SERVERS = (*PROCESSES, "pages", "topology-keeper", "rabbitmq", "postgres", "gateway")
#: The number of the user in our containers.
OWNER = 10001
#: Others are not told whose socket or memory it is.
AS_ROOT = os.geteuid() == 0


class Deployment:
    """docker-compose, and what the host knows about the containers it started."""

    def __init__(self, port: int) -> None:
        self.listened_before = listening("docker-proxy")
        #: Service → bytes of its containers at rest, before there are any data.
        self.memory_at_rest: dict[str, int] = {}
        self.environment = {**os.environ, "FARMGATE_PORT": str(port), "FARMGATE_BIND": "127.0.0.1"}
        self.url = f"http://127.0.0.1:{port}"
        #: Each demo has buyers of its own: one who leaves many orders unpaid is refused.
        self._seeds = count(1)

    def arguments(self, *arguments: str) -> list[str]:
        return ["docker-compose", "-p", PROJECT, *arguments]

    def compose(
        self, *arguments: str, seconds: float = 300, tree: Path = ROOT, **settings: str
    ) -> subprocess.CompletedProcess[str]:
        """Run docker-compose in a tree (this one), with settings as `.env` would give them."""
        return subprocess.run(
            self.arguments(*arguments),
            cwd=tree,
            env=self.environment | settings,
            capture_output=True,
            text=True,
            timeout=seconds,
        )

    def must(self, *arguments: str, **options: Any) -> str:
        """Run docker-compose and return what it printed; its own words when it fails."""
        done = self.compose(*arguments, **options)
        assert done.returncode == 0, f"{arguments}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout

    def farmgate(self, *arguments: str, mounted: str = "") -> str:
        """Run the operator's command; `mounted` is a volume as `docker run -v` takes it."""
        volume = ["-v", mounted] if mounted else []
        return self.must("run", "--rm", "-T", *volume, "farmgate", *arguments)

    def demo(self, orders: int) -> str:
        return self.farmgate(*self.demo_arguments(orders))

    def demo_arguments(self, orders: int) -> tuple[str, ...]:
        return ("demo", "--orders", str(orders), "--seed", str(next(self._seeds)))

    def verify(self) -> None:
        assert "All four services agree." in self.farmgate("verify")

    def shop(self, patience: float = 60) -> Client:
        """Return a client from outside, through the gateway."""
        token = self.farmgate("tokens", "issue", "--subject", "tests", "--role", "operator")
        return Client(dict.fromkeys(NAMES, self.url), token.split()[-1], patience)

    def log(self, service: str) -> str:
        """Return all that a service's containers wrote."""
        return self.must("logs", "--no-color", service)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Run the operator's command beside the test."""
        return subprocess.Popen(
            self.arguments("run", "--rm", "-T", "farmgate", *arguments),
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def container(self, service: str, number: int = 1) -> str:
        # Of docker, which takes a tenth of the time of docker-compose.
        labels = (
            *(f"project={PROJECT}", f"service={service}"),
            *("oneoff=False", f"container-number={number}"),
        )
        asked = [word for label in labels for word in ("-f", f"label=com.docker.compose.{label}")]
        return docker("ps", "-a", "-q", *asked).strip()

    def inspect(self, service: str) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(docker("inspect", self.container(service)))[0]
        return told

    def healthy(self, service: str) -> bool:
        state = self.inspect(service)["State"]
        return bool(state["Running"]) and state.get("Health", {}).get("Status") in (None, "healthy")

    def address(self, service: str) -> str:
        """Where this host alone reaches a container: no port of it is published."""
        networks = self.inspect(service)["NetworkSettings"]["Networks"]
        return next(network["IPAddress"] for network in networks.values())

    def memory(self, service: str) -> int:
        """Return the bytes that a container's processes hold, what they share counted once."""
        pids = docker("top", self.container(service), "-eo", "pid").split()[1:]
        lines = [
            line.split()
            for pid in pids
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        ]
        return sum(int(line[1]) * 1024 for line in lines if line[0] == "Pss:")

    def password(self, name: str) -> str:
        return self.must(
            "run", "--rm", "-T", "--entrypoint", "cat", "farmgate", f"/run/secrets/passwords/{name}"
        ).strip()


def listening(process: str) -> set[tuple[str, int]]:
    """Return address and port of what a process of that name listens on, over IPv4 and IPv6."""
    done = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True)
    places = [line.split()[3] for line in done.stdout.splitlines() if f'"{process}"' in line]
    return {(place.rpartition(":")[0], int(place.rpartition(":")[2])) for place in places}


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def deployment() -> Iterator[Deployment]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    deployment = Deployment(port)
    try:
        deployment.must("up", "-d", "--build")
        services = deployment.must("ps", "--services").split()
        # Those of profiles have no container.
        names = [name for name in services if deployment.container(name)]
        lasting = [name for name in names if not once(deployment, name)]
        wait_until(
            lambda: all(deployment.healthy(name) for name in lasting), 90, f"healthy: {lasting}"
        )
        ours = [name for name in lasting if name not in ("gateway", "postgres", "rabbitmq")]
        if AS_ROOT:
            deployment.memory_at_rest = {name: deployment.memory(name) for name in ours}
        deployment.farmgate("sample", "load")
        yield deployment
    finally:
        deployment.compose("down", "-v", "--remove-orphans")


@pytest.fixture(scope="session")
def passwords(deployment: Deployment) -> Callable[[str], str]:
    return cache(deployment.password)


@pytest.fixture
def backups(tmp_path: Path) -> Path:
    """Make a folder as docs/deployment.md does."""
    if not AS_ROOT:
        pytest.skip("only root can give a folder to the container's user")
    folder = tmp_path / "backups"
    folder.mkdir(mode=0o700)
    os.chown(folder, OWNER, OWNER)
    return folder


def connect(
    deployment: Deployment, user: str, password: str, database: str
) -> psycopg.Connection[Any]:
    return psycopg.connect(
        host=deployment.address("postgres"),
        user=user,
        password=password,
        dbname=database,
        autocommit=True,
        connect_timeout=10,
    )


def broker(deployment: Deployment, user: str, password: str) -> pika.BlockingConnection:
    return pika.BlockingConnection(
        pika.ConnectionParameters(
            host=deployment.address("rabbitmq"),
            credentials=pika.PlainCredentials(user, password),
            socket_timeout=10,
        )
    )


def orders_placed(deployment: Deployment, password: str) -> int:
    with connect(deployment, "orders", password, "orders") as orders:
        row = orders.execute("SELECT count(*) FROM orders").fetchone()
        assert row is not None
        return int(row[0])


@contextmanager
def orders_coming_in(
    deployment: Deployment, password: str, orders: int = 30, seconds: float = 240
) -> Iterator[None]:
    """Let the demo place orders around what is done in the block; all of them come through."""
    before = orders_placed(deployment, password)
    demo = deployment.start(*deployment.demo_arguments(orders), "--patience", "120")
    wait_until(
        lambda: demo.poll() is not None or orders_placed(deployment, password) >= before + 5,
        60,
        "orders come in",
    )
    assert demo.poll() is None, demo.communicate()[0]
    yield
    output, _ = demo.communicate(timeout=seconds)
    assert demo.returncode == 0, output[-3000:]


def once(deployment: Deployment, service: str) -> bool:
    """Tell whether a service is a job that ends; its container is not started again."""
    return bool(deployment.inspect(service)["HostConfig"]["RestartPolicy"]["Name"] in ("", "no"))
