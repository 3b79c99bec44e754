"""A PostgreSQL and a RabbitMQ of one's own, on free ports, from the machine's binaries.

Each is a context manager that yields an address and stops what it started, by pid. They serve
the tests and the benchmarks; a deployment has servers that outlive it.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

START_SECONDS = 90


class NoServer(RuntimeError):
    """Raised when a server's programs are not installed; the message says what to install."""


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def wait_until(holds: Callable[[], bool], seconds: float, what: str) -> None:
    """Return once `holds()`; asked every 50 ms.

    Raises:
        TimeoutError: it did not within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(0.05)


def stop(process: Any, with_signal: int = signal.SIGTERM) -> None:
    """End a process we started: politely, and after 20 s for good."""
    if process.poll() is None:
        process.send_signal(with_signal)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _accepts(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
        return True
    return False


def _lives(pid: bytes) -> bool:
    with suppress(ProcessLookupError):
        os.kill(int(pid), 0)
        return True
    return False


# --- PostgreSQL --------------------------------------------------------------------------------


def _postgres_programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), reverse=True)
    if found:
        return found[0].parent
    on_path = shutil.which("postgres")
    if on_path is None:
        raise NoServer("PostgreSQL is not installed: apt-get install postgresql")
    return Path(on_path).resolve().parent


@dataclass
class Postgres:
    """A running PostgreSQL that can be killed and started again on the same data."""

    port: int
    folder: Path
    fsync: bool
    user: str | None
    process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres") -> str:
        """Return the SQLAlchemy address of one of its databases."""
        return f"postgresql+psycopg://farmgate@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        programs = _postgres_programs()
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    programs / "postgres",
                    *("-D", self.folder / "data", "-p", str(self.port), "-k", self.folder),
                    *("-c", "listen_addresses=127.0.0.1", "-c", "max_connections=300"),
                    *("-c", f"fsync={'on' if self.fsync else 'off'}"),
                    *("-c", "shared_buffers=128MB"),
                ],
                stdout=subprocess.DEVNULL,
                stderr=log,
                user=self.user,
                start_new_session=True,
            )
        ready = [str(programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        wait_until(
            lambda: subprocess.run(ready, check=False).returncode == 0,
            START_SECONDS,
            "PostgreSQL answers",
        )

    def kill(self) -> None:
        """End the server as a power cut would."""
        assert self.process is not None
        asked = ["pgrep", "-P", str(self.process.pid)]
        children = subprocess.run(asked, capture_output=True, check=False).stdout.split()
        self.process.kill()
        self.process.wait()
        for child in map(int, children):
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        wait_until(lambda: not any(map(_lives, children)), 10, "the killed server is gone")

    def promote(self) -> None:
        """Make a standby the server that is written to."""
        self._tell("SELECT pg_promote()")

    def wait_for(self, standby: str) -> None:
        """Let no commit be confirmed any more that `standby` does not have."""
        self._tell(f"ALTER SYSTEM SET synchronous_standby_names = '{standby}'")
        self._tell("SELECT pg_reload_conf()")

    def _tell(self, statement: str) -> None:
        import psycopg

        address = f"postgresql://farmgate@127.0.0.1:{self.port}/postgres"
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(statement.encode())

    def create(self, database: str) -> str:
        """Make a new database and return its address."""
        self._tell(f'CREATE DATABASE "{database}"')
        return self.url(database)


@contextmanager
def postgres(*, fsync: bool = False) -> Iterator[Postgres]:
    """Run a PostgreSQL; `fsync` only where a measurement must be honest.

    Raises:
        NoServer: it is not installed.
    """
    initdb = ["initdb", "-U", "farmgate", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
    with _postgres(initdb, fsync) as server:
        yield server


@contextmanager
def standby(primary: Postgres) -> Iterator[Postgres]:
    """Run a copy of `primary` that follows it, named `standby`, until it is promoted.

    Raises:
        NoServer: it is not installed.
    """
    origin = f"host=127.0.0.1 port={primary.port} user=farmgate application_name=standby"
    with _postgres(
        ["pg_basebackup", "-d", origin, "-R", "-X", "stream", "-c", "fast", "--no-sync"],
        primary.fsync,
    ) as server:
        yield server


@contextmanager
def _postgres(making: list[str], fsync: bool) -> Iterator[Postgres]:
    """Run a server on data that a program of PostgreSQL's makes, called with `-D` besides."""
    programs = _postgres_programs()
    user = None
    if os.getuid() == 0:  # PostgreSQL refuses to run as root
        user = "postgres" if any(p.pw_name == "postgres" for p in pwd.getpwall()) else "nobody"
    with tempfile.TemporaryDirectory(prefix="farmgate-pg-") as name:
        folder = Path(name)
        if user is not None:
            shutil.chown(folder, user)
        subprocess.run(
            [programs / making[0], *making[1:], "-D", folder / "data"],
            check=True,
            stdout=subprocess.DEVNULL,
            user=user,
        )
        server = Postgres(free_port(), folder, fsync, user)
        try:
            server.start()
            yield server
        finally:
            if server.process is not None:
                stop(server.process, signal.SIGINT)


# --- RabbitMQ ----------------------------------------------------------------------------------


def _rabbit_programs() -> Path:
    for place in ("/usr/lib/rabbitmq/bin", "/opt/homebrew/sbin", "/usr/local/sbin"):
        if (Path(place) / "rabbitmq-server").exists():
            return Path(place)
    raise NoServer("RabbitMQ is not installed: apt-get install rabbitmq-server")


@dataclass
class RabbitMQ:
    """A running broker that can be killed and started again on the same data."""

    port: int
    management_port: int
    folder: Path
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    epmd: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def url(self, user: str = "guest", password: str = "guest") -> str:
        """Return the AMQP address for a user."""
        return f"amqp://{user}:{password}@127.0.0.1:{self.port}/%2F"

    def start(self) -> None:
        """Start the broker and wait until it takes connections."""
        with (self.folder / "out").open("ab") as log:
            self.process = subprocess.Popen(
                [_rabbit_programs() / "rabbitmq-server"],
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(lambda: _accepts(self.port), START_SECONDS, "RabbitMQ takes connections")
        self.ctl("await_startup")

    def kill(self) -> None:
        """End the broker as a power cut would."""
        assert self.process is not None
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        # The node is a grandchild: its end cannot be waited for, but its port tells.
        wait_until(lambda: not _accepts(self.port), 10, "the killed broker is gone")

    @property
    def management_url(self) -> str:
        """The address of the management API, with a user's password."""
        return f"http://guest:guest@127.0.0.1:{self.management_port}"

    def create_vhost(self, name: str) -> str:
        """Make an empty virtual host in which `guest` may do everything; return its address."""
        self._manage("PUT", f"vhosts/{name}")
        self.permit("guest", name, configure=".*", write=".*", read=".*")
        return self.url().rpartition("/")[0] + "/" + name

    def delete_vhost(self, name: str) -> None:
        """Delete a virtual host and all in it."""
        self._manage("DELETE", f"vhosts/{name}")

    def create_user(self, name: str, password: str) -> None:
        """Make a user, or give the one that there is this password."""
        self._manage("PUT", f"users/{name}", password=password, tags="")

    def permit(self, user: str, vhost: str, **rights: str) -> None:
        """Give a user rights in a virtual host: `configure`, `write`, `read`."""
        self._manage("PUT", f"permissions/{vhost}/{user}", **rights)

    def permit_keys(self, user: str, vhost: str, **rights: str) -> None:
        """Give a user rights to routing keys of the exchange `events`: `write`, `read`."""
        path = f"topic-permissions/{vhost}/{user}"
        self._manage("PUT", path, exchange="events", **rights)

    def bindings(self, vhost: str, queue: str) -> list[str]:
        """Return the routing keys by which a queue gets messages from the exchange `events`."""
        found = self._manage("GET", f"queues/{vhost}/{queue}/bindings").json()
        return [each["routing_key"] for each in found if each["source"] == "events"]

    def _manage(self, method: str, path: str, **body: str) -> requests.Response:
        answer = requests.request(
            method, f"{self.management_url}/api/{path}", json=body, timeout=60
        )
        answer.raise_for_status()
        return answer

    def ctl(self, *arguments: str) -> str:
        """Run `rabbitmqctl` against this broker and return what it printed.

        It takes half a second; the methods above take milliseconds.
        """
        done = subprocess.run(
            [_rabbit_programs() / "rabbitmqctl", "-q", *arguments],
            env=self.environment,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout


@contextmanager
def rabbitmq(cluster: RabbitMQ | None = None, *, management: bool = True) -> Iterator[RabbitMQ]:
    """Run a RabbitMQ with a home, node name and ports of its own.

    With `cluster` it joins that one's cluster, before anything is declared there: what is
    declared afterwards has a copy on each node. Without `management` it takes less memory.

    Raises:
        NoServer: it is not installed.
    """
    _rabbit_programs()
    with tempfile.TemporaryDirectory(prefix="farmgate-mq-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        cookie = folder / ".erlang.cookie"
        shared = cluster and (cluster.folder / cookie.name).read_text()
        cookie.write_text(shared or os.urandom(16).hex())
        cookie.chmod(0o400)
        plugins = "rabbitmq_management" if management else ""
        (folder / "enabled_plugins").write_text(f"[{plugins}].\n")
        port, management_port = free_port(), free_port()
        epmd_port = int(cluster.environment["ERL_EPMD_PORT"]) if cluster else free_port()
        (folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{port}\n"
            f"management.tcp.port = {management_port}\n"
            "management.tcp.ip = 127.0.0.1\n"
            "disk_free_limit.absolute = 50MB\n"
            "vm_memory_high_watermark.relative = 0.6\n"
        )
        environment = {
            "HOME": str(folder),
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "LANG": "C.UTF-8",
            "RABBITMQ_NODENAME": f"farmgate-{port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "ERL_EPMD_PORT": str(epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        broker = RabbitMQ(port, management_port, folder, environment)
        epmd = shutil.which("epmd")
        try:
            if epmd is not None and cluster is None:
                # Started here, not by the node, so that it can be stopped by its pid.
                broker.epmd = subprocess.Popen(
                    [epmd], env=environment, stderr=subprocess.DEVNULL, start_new_session=True
                )
                wait_until(lambda: _accepts(epmd_port), 10, "epmd listens")
            broker.start()
            if cluster is not None:
                broker.ctl("stop_app")
                broker.ctl("reset")
                broker.ctl("join_cluster", cluster.environment["RABBITMQ_NODENAME"])
                broker.ctl("start_app")
                broker.ctl("await_startup")
            yield broker
        finally:
            if broker.process is not None and broker.process.poll() is None:
                broker.kill()  # its data go with the folder
            if broker.epmd is not None:
                stop(broker.epmd)
