"""What a part measures with: servers, running systems of any checkout, and meters of processes.

Systems run as an operator runs them: eight `farmgate` processes, each an interpreter of its own.
Of another checkout only its command and its HTTP API are needed.
"""

import os
import signal
import struct
import subprocess
import sys
import tempfile
import zoneinfo
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

import psycopg

from farmgate.client import Client
from tests.support import servers
from tests.support.processes import SERVICES, Command, Processes

Connection: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"

#: Seconds to load the sample, and until its events have taken effect.
SAMPLE_SECONDS = 300
#: Seconds in which PostgreSQL ends: it writes its buffers first.
STOP_SECONDS = 120
#: PostgreSQL's settings while tables are filled, besides fsync.
FILLING = {
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "full_page_writes": "off",
    "max_wal_size": "8GB",
    "autovacuum": "off",
    "maintenance_work_mem": "512MB",
}


class NotInstalled(RuntimeError):
    """Raised when a checkout has no environment; the message says what to do."""


@dataclass
class System(Processes):
    """The eight processes of one checkout, behind RabbitMQ and PostgreSQL, and its operator."""

    farmgate: Path = Path(sys.executable).parent / "farmgate"
    #: A bearer token of an operator.
    token: str = ""
    #: None: the embedded run.
    broker: servers.RabbitMQ | None = None

    def spawn(self, name: str) -> None:
        """Start a process and wait for nothing."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                [self.farmgate, *self.commands[name]],
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def begin(self, *arguments: str) -> Command:
        """Start one `farmgate` command against the system."""
        folder = Path(tempfile.mkdtemp(prefix="command-", dir=self.folder))
        out, err = folder / "out", folder / "err"
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                [self.farmgate, *arguments], env=self.environment, stdout=stdout, stderr=stderr
            )
        return Command(process, out, err)  # type: ignore[arg-type]

    def checked(self, *arguments: str, seconds: float = SAMPLE_SECONDS) -> str:
        """Run one `farmgate` command and return what it printed; it must succeed."""
        done = self.command(*arguments, seconds=seconds)
        if done.returncode != 0:
            raise SystemExit(f"farmgate {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def issue_token(self) -> None:
        """Issue the operator's token; this makes the key with which tokens are signed, too."""
        issued = self.checked("tokens", "issue", "--subject", "bench", "--role", "operator")
        self.token = issued.strip()

    @property
    def operator(self) -> Client:
        """A client with all an operator's rights."""
        return Client(self.urls, self.token)

    def sql(self, service: str) -> Connection:
        """Return a connection in autocommit mode to a service's database."""
        return sql(self.environment[f"FARMGATE_{service.upper()}_DATABASE_URL"])

    def wait_until_quiet(self, seconds: float = SAMPLE_SECONDS) -> None:
        """Wait until all events are published, and each service has processed those it gets.

        Not for databases that `benchmarks.history` filled.
        """
        with ExitStack() as stack:
            databases = {service: stack.enter_context(self.sql(service)) for service in SERVICES}
            subscribed = {service: self._types_for(service) for service in SERVICES}

            def counts(statement: bytes) -> dict[str, Counter[str]]:
                return {
                    service: Counter(dict(database.execute(statement).fetchall()))
                    for service, database in databases.items()
                }

            def is_quiet() -> bool:
                # Inboxes first: what is published meanwhile is not in them.
                processed = counts(b"SELECT type, count(*) FROM inbox GROUP BY type")
                waiting = counts(b"SELECT type, 1 FROM outbox WHERE position IS NULL LIMIT 1")
                published: Counter[str] = sum(
                    counts(b"SELECT type, count(*) FROM outbox GROUP BY type").values(), Counter()
                )
                return not any(waiting.values()) and all(
                    processed[service][type_] == published[type_]
                    for service, types in subscribed.items()
                    for type_ in types
                )

            servers.wait_until(is_quiet, seconds, "all events have taken effect")

    def _types_for(self, service: str) -> list[str]:
        """Return the types of the events that the broker gives to a service."""
        assert self.broker is not None
        vhost = self.environment["FARMGATE_BROKER_URL"].rpartition("/")[2]
        return self.broker.bindings(vhost, f"{service}.events")

    def pids(self) -> dict[str, int]:
        """Return the process id of each process by its name."""
        return {name: process.pid for name, process in self.running.items()}


@dataclass
class Surroundings:
    """A PostgreSQL with fsync, a RabbitMQ, and a folder; `say` shows progress.

    `against` is another checkout to measure in alternation with this one, where a part can. A part
    that is `alone` in its run may take longer than its share of half an hour.
    """

    postgres: servers.Postgres
    broker: servers.RabbitMQ
    folder: Path
    say: Callable[[str], None] = print
    against: Path | None = None
    alone: bool = False
    _number: Iterator[int] = field(default_factory=lambda: count(1))

    def pids(self) -> dict[str, int]:
        """Return the process ids of the servers by their names."""
        assert self.postgres.process is not None and self.broker.process is not None
        return {"postgresql": self.postgres.process.pid, "rabbitmq": self.broker.process.pid}

    def sql(self, database: str = "postgres") -> Connection:
        """Return a connection in autocommit mode to one of the databases."""
        return sql(self.postgres.url(database))

    def restart_postgres(self) -> None:
        """Stop the server and start it again with its settings."""
        assert self.postgres.process is not None
        self.postgres.process.send_signal(signal.SIGINT)
        self.postgres.process.wait(STOP_SECONDS)
        self.postgres.start()

    @contextmanager
    def filling(self) -> Iterator[None]:
        """Let PostgreSQL fill tables fast; afterwards it has its settings, and all is on disk.

        A new table, and one that was emptied in the same transaction, is not in the write-ahead log
        meanwhile. No connection survives the beginning or the end.
        """
        with self.sql() as connection:
            for name, value in FILLING.items():
                connection.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
        self.postgres.fsync = False
        self.restart_postgres()
        try:
            yield
        finally:
            with self.sql() as connection:
                for name in FILLING:
                    connection.execute(f"ALTER SYSTEM RESET {name}".encode())
            self.postgres.fsync = True
            self.restart_postgres()
            os.sync()

    @contextmanager
    def database(self, name: str) -> Iterator[str]:
        """Make an empty database, and drop it afterwards; yield its SQLAlchemy address."""
        url = self.postgres.create(name)
        try:
            yield url
        finally:
            with self.sql() as connection:
                connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())

    @contextmanager
    def vhost(self, name: str) -> Iterator[str]:
        """Make an empty virtual host, and delete it afterwards; yield its AMQP address."""
        url = self.broker.create_vhost(name)
        try:
            yield url
        finally:
            self.broker.delete_vhost(name)

    @contextmanager
    def system(
        self, checkout: Path | None = None, *, sample: bool = True, **settings: str
    ) -> Iterator[System]:
        """Run the eight processes on databases of their own; `sample`: with the sample loaded.

        `settings` are variables of the environment.
        """
        name = f"bench{next(self._number)}"
        folder = self.folder / name
        folder.mkdir()
        with ExitStack() as stack:
            address = stack.enter_context(self.vhost(name))
            environment = environment_of(folder, FARMGATE_BROKER_URL=address, **settings)
            commands: dict[str, list[str]] = {}
            urls: dict[str, str] = {}
            for service in SERVICES:
                port = servers.free_port()
                urls[service] = f"http://127.0.0.1:{port}"
                environment[f"FARMGATE_{service.upper()}_URL"] = urls[service]
                environment[f"FARMGATE_{service.upper()}_DATABASE_URL"] = stack.enter_context(
                    self.database(f"{name}_{service}")
                )
                commands[f"{service}-web"] = ["web", service, "--port", str(port)]
                commands[f"{service}-worker"] = ["worker", service]
            system = System(folder, environment, commands, urls, broker=self.broker)
            if checkout is not None:
                system.farmgate = checkout / ".venv" / "bin" / "farmgate"
                if not system.farmgate.exists():
                    raise NotInstalled(
                        f"{checkout} has no environment: make -C {checkout} .venv/done"
                    )
            system.issue_token()
            environment["FARMGATE_PAYMENT_SECRET_FILE"] = str(
                folder / "var" / "keys" / "payment_secret"
            )
            system.checked("migrate")
            system.checked("topology")
            stack.enter_context(system)
            system.start()
            if sample:
                system.checked("sample", "load", "--json")
            yield system


def sql(address: str) -> Connection:
    """Return a connection in autocommit mode to a database, given by its SQLAlchemy address."""
    return psycopg.connect(address.replace("+psycopg", ""), autocommit=True)


def embedded(folder: Path, *options: str) -> System:
    """Return the embedded run on a new folder, not started; `options` are of `farmgate up`."""
    folder.mkdir()
    port = servers.free_port()
    url = f"http://127.0.0.1:{port}"
    environment = environment_of(folder, FARMGATE_URL=url)
    commands = {"all": ["up", "--port", str(port), *options]}
    return System(folder, environment, commands, dict.fromkeys(SERVICES, url))


def environment_of(folder: Path, **settings: str) -> dict[str, str]:
    """Return the environment of a system whose data are in `folder`.

    Nobody's daily limit of messages is reached, and it is never night, since messages wait for the
    end of it.
    """
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith("FARMGATE_")},
        "FARMGATE_DATA": str(folder / "var"),
        "FARMGATE_NOTIFICATIONS_DAILY_CAP": "1000000",
        "FARMGATE_NOTIFICATIONS_UNVERIFIED_CAP": "1000000",
        "PYTHONTZPATH": os.pathsep.join((str(_noon(folder)), *zoneinfo.TZPATH)),
        **settings,
    }


def _noon(folder: Path) -> Path:
    """Return a folder of time zones in which it is noon now at Farmgate's place.

    It has a file in the format of RFC 8536, with one fixed offset from UTC.
    """
    now = datetime.now(UTC)
    offset = (12 * 60 - now.hour * 60 - now.minute) * 60
    zone = folder / "zones" / "Asia" / "Shanghai"
    zone.parent.mkdir(parents=True)
    zone.write_bytes(
        b"TZif"
        + bytes(16)
        + struct.pack(">6l", 0, 0, 0, 0, 1, 5)
        + struct.pack(">lBB", offset, 0, 0)
        + b"NOON\0"
    )
    return folder / "zones"


def processor_seconds(pids: Mapping[str, int]) -> dict[str, float]:
    """Return the processor time, by name, of processes and all they started, in seconds (Linux).

    What their ended children used counts too, once the parent has waited for them.
    """
    names = {pid: name for name, pid in pids.items()}
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        pid = int(stat.parent.name)
        parents[pid] = int(fields[1])
        ticks[pid] = sum(map(int, fields[11:15]))
    found = dict.fromkeys(pids, 0.0)
    for pid, used in ticks.items():
        ancestor = pid
        while ancestor and ancestor not in names:
            ancestor = parents.get(ancestor, 0)
        if ancestor:
            found[names[ancestor]] += used / os.sysconf("SC_CLK_TCK")
    return found


def memory_mib(pids: Mapping[str, int]) -> dict[str, float]:
    """Return the proportional memory (PSS), by name, of process groups, in MiB (Linux)."""
    names = {pid: name for name, pid in pids.items()}
    found = dict.fromkeys(pids, 0.0)
    for rollup in Path("/proc").glob("[0-9]*/smaps_rollup"):
        try:
            group = int((rollup.parent / "stat").read_text().rpartition(")")[2].split()[2])
            if group in names:
                pss = next(x for x in rollup.read_text().splitlines() if x.startswith("Pss:"))
                found[names[group]] += int(pss.split()[1]) / 1024
        except OSError:
            continue
    return found
