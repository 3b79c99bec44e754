"""The whole system as real processes behind proxies, each started again when it dies.

As a deployment has it: two workers for each of two services, a restart after any exit, and
nobody who looks after it. Every service reaches broker and database by a link of its own.
"""

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg

from farmgate.client import Client, connect
from tests.faults.proxy import Proxy
from tests.support import processes, servers
from tests.support.processes import SERVICES, Processes
from tests.support.servers import Postgres, RabbitMQ

VHOST = "soak"
#: Services that have a second worker, which stands by.
TWICE = ("catalog", "orders")
#: Seconds until a process that died is started again.
RESTART = 0.5
#: Seconds an unpaid order holds its stock.
HOLD = "20"
#: Seconds that a caller repeats a request.
PATIENCE = 240.0

EFFECTS = """
CREATE TABLE soak_effects (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  event_id uuid NOT NULL, type text NOT NULL, subject text NOT NULL, sequence bigint NOT NULL,
  at double precision NOT NULL DEFAULT extract(epoch FROM clock_timestamp()))
"""


class HarmedProcesses(Processes):
    """Processes of the system that the bench can harm, each by its name."""

    def program(self, name: str) -> tuple[str, list[str]]:
        """Return which module is run as this process, with which arguments."""
        return "tests.faults.soak.process", [name, *self.commands[name]]


@dataclass
class Bench:
    """Everything a fault may touch."""

    folder: Path
    broker: RabbitMQ
    postgres: Postgres
    system: HarmedProcesses
    #: (service, "broker" or "database") → the link.
    links: dict[tuple[str, str], Proxy]
    client: Client
    #: Held while processes are killed or started.
    turn: threading.RLock = field(default_factory=threading.RLock)
    #: Processes that stay away for now.
    away: set[str] = field(default_factory=set)
    #: Process → starts after a death.
    restarts: dict[str, int] = field(default_factory=dict)
    #: Point → how often a process was killed there.
    reached: Counter[str] = field(default_factory=Counter)
    #: Id under which a bad message is to be parked → its kind, and whose queue it was put into.
    poisoned: dict[str, str] = field(default_factory=dict)
    #: When something that was confirmed was lost at the broker, and when all of it had been said
    #: again, in seconds since 1970. What is lost has lost its place in the order.
    losses: list[tuple[float, float]] = field(default_factory=list)
    #: A loss that is being mended.
    lost_at: float | None = None
    #: Times an operator had to type something.
    by_hand: int = 0
    _done: threading.Event = field(default_factory=threading.Event)

    # --- Processes ----------------------------------------------------------------------------

    @property
    def workers(self) -> list[str]:
        """Names of all workers."""
        return [name for name in self.system.commands if "-worker" in name]

    @property
    def webs(self) -> list[str]:
        """Names of all web processes."""
        return [name for name in self.system.commands if name.endswith("-web")]

    def kill(self, name: str) -> None:
        """End a process as a power cut would; it is started again like any that died."""
        with self.turn, suppress(ProcessLookupError):
            os.killpg(self.system.running[name].pid, signal.SIGKILL)

    def signal(self, name: str, what: signal.Signals) -> None:
        """Send a signal to a process and all it started."""
        with self.turn, suppress(ProcessLookupError):
            os.killpg(self.system.running[name].pid, what)

    def harm(self, name: str, **what: Any) -> None:
        """Say what harms a process from now on; nothing: it is left alone."""
        path = self.folder / f"{name}.json"
        path.with_suffix(".done").unlink(missing_ok=True)
        if not what:
            path.unlink(missing_ok=True)
            return
        scratch = path.with_suffix(".new")
        scratch.write_text(json.dumps(what), encoding="utf-8")
        scratch.replace(path)

    def died_at_point(self, name: str) -> bool:
        """Whether the process reached the point at which it was to die."""
        return (self.folder / f"{name}.done").exists()

    def told(self, name: str, event: str) -> Iterator[dict[str, Any]]:
        """Return the lines of a process's log that tell of an event, the oldest first."""
        for line in self.system.log(name).splitlines():
            # Of a killed process the last one may be half a line.
            if f'"event": "{event}"' in line:
                with suppress(ValueError):
                    yield json.loads(line)

    def look_after(self) -> None:
        """Start again what died, as a container's restart policy does, until `stop`."""
        died: dict[str, float] = {}
        while not self._done.wait(0.1):
            with self.turn:
                for name, process in list(self.system.running.items()):
                    if process.poll() is None or name in self.away:
                        continue
                    since = died.setdefault(name, monotonic())
                    if monotonic() - since < RESTART:
                        continue
                    # What a parent left behind holds its port and its locks.
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    del died[name]
                    self.restarts[name] = self.restarts.get(name, 0) + 1
                    self.system.spawn(name)

    def stop(self) -> None:
        """Look after nothing any more."""
        self._done.set()

    # --- Servers ------------------------------------------------------------------------------

    @contextmanager
    def database(self, service: str) -> Iterator[psycopg.Connection[Any]]:
        """Connect to a service's database, past its link."""
        address = f"postgresql://farmgate@127.0.0.1:{self.postgres.port}/soak_{service}"
        with psycopg.connect(address, autocommit=True, connect_timeout=5) as connection:
            yield connection

    @property
    def broker_url(self) -> str:
        """The broker's address, past the links."""
        return self.broker.url().rpartition("/")[0] + "/" + VHOST

    def make_vhost(self) -> None:
        """Make the virtual host, as whoever installs the broker does."""
        self.broker.create_vhost(VHOST)


def through(url: str, proxy: Proxy) -> str:
    """Return an address with the proxy's port instead of the server's."""
    parts = urlsplit(url)
    user = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{proxy.port}"))


@contextmanager
def bench(folder: Path, **settings: str) -> Iterator[Bench]:
    """Start servers, links and all processes, with the sample loaded; stop all afterwards."""
    with ExitStack() as stack:
        postgres = stack.enter_context(servers.postgres(fsync=True))
        broker = stack.enter_context(servers.rabbitmq())
        databases = {service: postgres.create(f"soak_{service}") for service in SERVICES}
        plain = processes.distributed(
            folder, databases, broker, VHOST, stack, FARMGATE_ORDERS_HOLD_SECONDS=HOLD, **settings
        )
        system = HarmedProcesses(folder, plain.environment, plain.commands, plain.urls)
        system.environment |= {
            "SOAK_FOLDER": str(folder),
            "PYTHONPATH": os.getcwd(),
            "FARMGATE_BROKER_MANAGEMENT_URL": broker.management_url,
        }
        links = {}
        for service in SERVICES:
            targets = {"broker": broker.port, "database": postgres.port}
            for what, port in targets.items():
                link = links[service, what] = stack.enter_context(Proxy(("127.0.0.1", port)))
            name = f"FARMGATE_{service.upper()}"
            system.environment[f"{name}_BROKER_URL"] = through(
                system.environment["FARMGATE_BROKER_URL"], links[service, "broker"]
            )
            system.environment[f"{name}_DATABASE_URL"] = through(databases[service], link)
        system.commands["topology"] = ["topology", "--watch", "--every", "1"]
        for service in TWICE:
            system.commands[f"{service}-worker-2"] = ["worker", service]
        made = Bench(folder, broker, postgres, system, links, connect(system.environment, PATIENCE))
        for service in SERVICES:
            with made.database(service) as connection:
                connection.execute(EFFECTS)
        stack.enter_context(system)
        system.start()
        loaded = system.command("sample", "load", "--json")
        if loaded.returncode != 0:
            raise RuntimeError(f"farmgate sample load: {loaded.stdout}{loaded.stderr}")
        keeper = threading.Thread(target=made.look_after, name="restarts", daemon=True)
        keeper.start()
        try:
            yield made
        finally:
            made.stop()
            keeper.join()
