"""The whole system as real processes, embedded or behind RabbitMQ, each killable by its name.

Used by the system tests and the benchmarks. It starts what an operator would start: the
`farmgate` command, with settings in the environment.
"""

import json
import os
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from farmgate.services import service_of
from shared.messaging import topology
from shared.runtime import keys, migrations
from tests.support.forking import Program
from tests.support.servers import RabbitMQ, free_port, stop, wait_until

SERVICES = ("catalog", "orders", "logistics", "notifications")
#: Seconds until a process must answer.
START_SECONDS = 60


@dataclass
class Processes:
    """Processes of one system; a context manager that stops them all."""

    folder: Path
    environment: dict[str, str]
    #: Name → arguments of `farmgate`.
    commands: dict[str, list[str]]
    #: Service → base address.
    urls: dict[str, str]
    running: dict[str, Any] = field(default_factory=dict)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop_all()

    def start(self, *names: str) -> None:
        """Start processes by name (all when none is named) and wait until webs answer."""
        for name in names or self.commands:
            self.spawn(name)
        for service, url in self.urls.items():
            web = self.web_of(service)
            if web in (names or self.commands):
                wait_until(
                    lambda url=url, service=service: answers(url, service),  # type: ignore[misc]
                    START_SECONDS,
                    f"{service} answers; see {self.folder}/{web}.log",
                )

    def spawn(self, name: str) -> None:
        """Start a process and wait for nothing."""
        log = self.folder / f"{name}.log"
        self.running[name] = Program(*self.program(name), self.environment, log)

    def program(self, name: str) -> tuple[str, list[str]]:
        """Return which module is run as this process, with which arguments."""
        return "farmgate", self.commands[name]

    def web_of(self, service: str) -> str:
        """Return the name of the process that answers for a service."""
        return f"{service}-web" if f"{service}-web" in self.commands else "all"

    def kill(self, name: str) -> None:
        """End a process, and what it started, as a power cut would."""
        process = self.running.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self, name: str) -> None:
        """End a process politely."""
        process = self.running.pop(name)
        stop(process)
        try:
            os.killpg(process.pid, signal.SIGKILL)  # children of a parent that died hard
        except ProcessLookupError:
            return

    def stop_all(self) -> None:
        """End all processes politely, all at once."""
        for process in self.running.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for name in list(self.running):
            self.stop(name)

    def begin(self, *arguments: str) -> "Command":
        """Start one `farmgate` command against the system."""
        folder = Path(tempfile.mkdtemp(prefix="command-", dir=self.folder))
        out, err = folder / "out", folder / "err"
        return Command(Program("farmgate", arguments, self.environment, out, err), out, err)

    def command(self, *arguments: str, seconds: float = 300) -> subprocess.CompletedProcess[str]:
        """Run one `farmgate` command against the system."""
        with self.begin(*arguments) as command:
            return command.end(seconds)

    def log(self, name: str) -> str:
        """Return what a process wrote."""
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def ready(self, service: str) -> dict[str, Any]:
        """Return what a service says about its readiness."""
        return get(f"{self.urls[service]}/api/{service}/health/ready")


@dataclass
class Command:
    """A `farmgate` command beside the test; a context manager that ends it."""

    process: Program
    _out: Path
    _err: Path

    def __enter__(self) -> "Command":
        return self

    def __exit__(self, *details: object) -> None:
        self.process.kill()
        self.process.wait()

    def end(self, seconds: float = 300) -> subprocess.CompletedProcess[str]:
        """Wait until it has ended; return what it printed.

        Raises:
            subprocess.TimeoutExpired: it did not within `seconds`.
        """
        code = self.process.wait(seconds)
        printed = [path.read_text(encoding="utf-8") for path in (self._out, self._err)]
        return subprocess.CompletedProcess(self.process.args, code, *printed)


def get(url: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """Return the JSON at an address, also of an answer that is an error."""
    request = urllib.request.Request(url, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        with error:
            return dict(json.load(error))


def answers(url: str, service: str) -> bool:
    """Tell whether a service's web process answers."""
    try:
        return bool(get(f"{url}/api/{service}/health/live"))
    except OSError:
        return False


def _environment(data: Path, **settings: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FARMGATE_")}
    return {**kept, "FARMGATE_DATA": str(data), "PYTHONUNBUFFERED": "1", **settings}


def embedded(folder: Path, **settings: str) -> Processes:
    """Return the embedded system, one process called `all`, not started."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = _environment(folder / "var", FARMGATE_URL=url, **settings)
    return Processes(
        folder,
        environment,
        {"all": ["up", "--port", str(port)]},
        dict.fromkeys(SERVICES, url),
    )


def distributed(
    folder: Path,
    databases: dict[str, str],
    broker: RabbitMQ,
    vhost: str,
    stack: ExitStack,
    **settings: str,
) -> Processes:
    """Return the system behind RabbitMQ and PostgreSQL, migrated and declared, not started.

    Eight processes, `<service>-web` and `<service>-worker`, in a virtual host of their own.
    Databases may be copies of migrated ones.
    """
    broker_url = broker.create_vhost(vhost)
    stack.callback(broker.delete_vhost, vhost)
    environment = _environment(
        folder / "var",
        FARMGATE_BROKER_URL=broker_url,
        **settings,
    )
    commands: dict[str, list[str]] = {}
    urls: dict[str, str] = {}
    for service in SERVICES:
        port = free_port()
        urls[service] = f"http://127.0.0.1:{port}"
        environment[f"FARMGATE_{service.upper()}_URL"] = urls[service]
        environment[f"FARMGATE_{service.upper()}_DATABASE_URL"] = databases[service]
        commands[f"{service}-web"] = ["web", service, "--port", str(port)]
        commands[f"{service}-worker"] = ["worker", service]
    keys.ensure(folder / "var")
    environment["FARMGATE_PAYMENT_SECRET_FILE"] = str(folder / "var" / "keys" / "payment_secret")
    for service, url in databases.items():
        migrations.upgrade(service, url)
    topology.declare(broker_url, [service_of(service) for service in SERVICES])
    return Processes(folder, environment, commands, urls)
