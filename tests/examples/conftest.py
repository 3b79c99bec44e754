"""Partners' feeds, and an integrator as the operator's command makes it."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pika
import pytest
from click.testing import CliRunner

from farmgate.cli import main
from tests.faults.bench import ROOT
from tests.support.feeding import Feeds, feeds_on
from tests.support.servers import RabbitMQ

PROGRAM = ROOT / "examples" / "subscriber" / "subscriber.py"


@pytest.fixture
def feeds(vhost: str, tmp_path: Path) -> Iterator[Feeds]:
    with feeds_on(vhost, tmp_path) as it:
        yield it


@dataclass
class Partner:
    """An integrator with what the operator gave it, and its subscriber."""

    told: dict[str, Any]
    #: The broker's address, without a user.
    url: str
    folder: Path
    running: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    @property
    def name(self) -> str:
        return str(self.told["name"])

    @property
    def queue(self) -> str:
        return str(self.told["queue"])

    def connect(self) -> pika.BlockingConnection:
        parameters = pika.URLParameters(self.url)
        parameters.credentials = pika.PlainCredentials(self.told["user"], self.told["password"])
        return pika.BlockingConnection(parameters)

    def start(self) -> "subprocess.Popen[bytes]":
        """Run the subscriber, as its README says."""
        with (self.folder / "log").open("ab") as log:
            log.write(b"\n")  # one that was killed may have left half a line
            log.flush()
            process = subprocess.Popen(
                [sys.executable, PROGRAM, self.url, self.told["name"], self.folder / "events.db"],
                env=os.environ | {"FARMGATE_PASSWORD": self.told["password"]},
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        self.running.append(process)
        return process

    def log(self) -> list[str]:
        return (self.folder / "log").read_text(encoding="utf-8").splitlines()

    def stored(self) -> list[tuple[str, int]]:
        """Return subject and sequence of what the subscriber stored, in the order it came."""
        if not (self.folder / "events.db").exists():
            return []
        with sqlite3.connect(self.folder / "events.db", timeout=10) as connection:
            try:
                rows = connection.execute("SELECT subject, sequence FROM events ORDER BY rowid")
                return [(subject, int(sequence)) for subject, sequence in rows]
            except sqlite3.OperationalError:  # not made yet
                return []
            finally:
                connection.commit()


@pytest.fixture
def operator(
    broker: RabbitMQ, vhost: str, feeds: Feeds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """Run `farmgate integrators …` against the broker; returns what it printed."""
    monkeypatch.setenv("FARMGATE_NOTIFICATIONS_DATABASE_URL", feeds.database.url)
    monkeypatch.setenv("FARMGATE_DATA", str(tmp_path / "var"))
    monkeypatch.setenv("FARMGATE_BROKER_URL", vhost)
    monkeypatch.setenv("FARMGATE_BROKER_MANAGEMENT_URL", broker.management_url)

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(main, ["integrators", *arguments])
        assert done.exit_code == 0, done.output
        return done.output

    return run


@pytest.fixture
def partners(
    operator: Callable[..., str], vhost: str, tmp_path: Path
) -> Iterator[Callable[[], Partner]]:
    """Make integrators with a queue of their own; they and their programs go in the end."""
    made: list[Partner] = []

    def make() -> Partner:
        name = f"acme-{uuid4().hex[:8]}"
        told = json.loads(operator("add", name, "--json"))
        folder = tmp_path / name
        folder.mkdir()
        made.append(Partner(told, vhost.replace("guest:guest@", ""), folder))
        return made[-1]

    yield make
    for partner in made:
        for process in partner.running:
            process.kill()
            process.wait()
        # One that the test removed is refused, which is as good.
        CliRunner().invoke(main, ["integrators", "remove", str(partner.told["name"]), "--yes"])


@pytest.fixture
def partner(partners: Callable[[], Partner]) -> Partner:
    return partners()
