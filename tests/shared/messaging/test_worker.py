"""The worker as a real process: it ends when asked to, whatever it waits for."""

import json
import os
import signal
import socket
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from uuid import uuid4

import pytest
from sqlalchemy import select

from shared.events import OrderPaid
from shared.messaging.batch import Batch, transaction
from shared.messaging.relay import Relay
from shared.messaging.tables import Outbox
from shared.messaging.worker import LAST_SECONDS
from shared.runtime.database import Database
from shared.runtime.supervision import Stopping, supervise
from tests.support import probe
from tests.support.forking import Program
from tests.support.servers import RabbitMQ, free_port, wait_until

#: Seconds that a process manager gives a process to end.
ALLOWED = 10


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@dataclass
class Worker:
    """A running worker."""

    process: Program
    log_file: Path

    def log(self) -> str:
        """Return what it wrote so far."""
        return self.log_file.read_text(encoding="utf-8")

    def seconds_to_end(self, with_signal: int = signal.SIGTERM) -> float:
        """Ask it to end and return how long that took; it must end well."""
        asked = monotonic()
        self.process.send_signal(with_signal)
        assert self.process.wait(60) == 0
        return monotonic() - asked


@contextmanager
def running(
    folder: Path, database: str, broker: str, *arguments: str, **settings: str
) -> Iterator[Worker]:
    """Run a worker; it is killed at the end, if it still runs."""
    environment = {n: v for n, v in os.environ.items() if not n.startswith("FARMGATE_")}
    environment |= {
        "FARMGATE_DATA": str(folder),
        "FARMGATE_NOTIFICATIONS_DATABASE_URL": database,
        "FARMGATE_BROKER_URL": broker,
        **settings,
    }
    log_file = folder / "worker.log"
    log_file.unlink(missing_ok=True)
    process = Program(
        "tests.shared.messaging.held_worker", [str(folder), *arguments], environment, log_file
    )
    try:
        yield Worker(process, log_file)
    finally:
        process.kill()
        process.wait()


def postgres_at(port: int) -> str:
    return f"postgresql+psycopg://farmgate@127.0.0.1:{port}/notifications"


def broker_at(port: int) -> str:
    return f"amqp://guest:guest@127.0.0.1:{port}/"


@pytest.mark.parametrize("with_signal", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_ends_in_time_while_database_and_broker_are_away(
    tmp_path: Path, with_signal: int
) -> None:
    with running(tmp_path, postgres_at(free_port()), broker_at(free_port())) as worker:
        for loop in ("consumer", "relay", "timers"):
            wait_until(
                lambda loop=loop: f'"loop": "{loop}"' in worker.log(), 30, f"{loop} has failed"
            )  # type: ignore[misc]

        assert worker.seconds_to_end(with_signal) < ALLOWED


def test_a_worker_ends_in_time_while_database_and_broker_do_not_answer(
    tmp_path: Path, silent: int
) -> None:
    metrics = free_port()
    silence = postgres_at(silent), broker_at(silent)
    # All the seconds that it has would pass here: it gets one instead of LAST_SECONDS.
    with running(tmp_path, *silence, "1", FARMGATE_METRICS_PORT=str(metrics)) as worker:
        wait_until(lambda: scraped(metrics) is not None, 30, "it has started")

        assert worker.seconds_to_end() - 1 < ALLOWED - LAST_SECONDS


def scraped(port: int, host: str = "127.0.0.1") -> str | None:
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=5) as answer:
            return str(answer.read().decode())
    except OSError:
        return None


def test_metrics_are_exposed_where_the_settings_say(tmp_path: Path) -> None:
    port = free_port()
    away = postgres_at(free_port()), broker_at(free_port())

    with running(tmp_path, *away, FARMGATE_METRICS_PORT=str(port)):
        wait_until(lambda: scraped(port) is not None, 30, "it can be scraped")
        wait_until(
            lambda: 'farmgate_relay_blocked{service="notifications"} 0.0' in str(scraped(port)),
            30,
            "the relay is not blocked",
        )
        assert scraped(port, "127.0.0.2") is None
    with running(
        tmp_path, *away, FARMGATE_METRICS_PORT=str(port), FARMGATE_METRICS_HOST="127.0.0.2"
    ):
        wait_until(lambda: scraped(port, "127.0.0.2") is not None, 30, "it can be scraped there")
        assert scraped(port) is None


def test_a_port_for_metrics_that_is_taken_is_named(tmp_path: Path, silent: int) -> None:
    away = postgres_at(free_port()), broker_at(free_port())

    with running(tmp_path, *away, FARMGATE_METRICS_PORT=str(silent)) as worker:
        assert worker.process.wait(30) != 0

        assert f"FARMGATE_METRICS_PORT: port {silent} on 127.0.0.1 cannot be used" in worker.log()


def test_a_broker_that_is_away_costs_one_line_an_attempt(tmp_path: Path) -> None:
    with running(tmp_path, postgres_at(free_port()), broker_at(free_port())) as worker:
        wait_until(lambda: worker.log().count('"loop": "consumer"') >= 2, 30, "two attempts")
        worker.seconds_to_end()

        lines = [json.loads(line) for line in worker.log().splitlines()]
    assert {line["event"] for line in lines} == {"loop failed"}


@pytest.mark.broker
@pytest.mark.postgres
def test_a_worker_that_is_asked_to_end_commits_and_acknowledges_the_batch_in_hand(
    tmp_path: Path, broker: RabbitMQ, vhost: str, postgres: Callable[[str], str]
) -> None:
    with ExitStack() as stack:
        sender, receiver = Database(postgres("sender")), Database(postgres("receiver"))
        for database in (sender, receiver):
            stack.callback(database.close)
            probe.create_tables(database)
        publish(sender, vhost)

        with running(tmp_path, receiver.url, vhost) as worker:
            wait_until((tmp_path / "begun").exists, 60, "the batch is in hand")
            worker.process.send_signal(signal.SIGTERM)
            (tmp_path / "go").touch()
            assert worker.process.wait(60) == 0

        assert len(probe.effects(receiver)) == 1
        assert messages(broker, vhost.rpartition("/")[2], "notifications.events") == 0


def publish(database: Database, url: str) -> None:
    """Record one event and relay it."""
    with transaction(database, Batch) as batch:
        order = type("Order", (), {"version": 0})()
        facts = {"order_ref": "ORD-1", "amount_fen": 1, "method": "prepaid"}
        batch.record(order, OrderPaid(order_id=uuid4(), **facts))
    stopping = Stopping()
    thread = supervise("relay", Relay("orders", database, url, stopping).run, stopping)

    def published() -> bool:
        with database.readers() as session:
            return session.scalar(select(Outbox.position)) == 1

    wait_until(published, 30, "published")
    stopping.set()
    thread.join(15)


def messages(broker: RabbitMQ, vhost: str, queue: str) -> int:
    """Return how many messages a queue has, ready or unacknowledged."""
    listed = broker.ctl("list_queues", "-p", vhost, "--no-table-headers", "name", "messages")
    return {n: int(c) for n, c in (line.split("\t") for line in str(listed).splitlines())}[queue]
