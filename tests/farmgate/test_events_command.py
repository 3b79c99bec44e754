"""`farmgate events republish`: what it takes, and what it says when it cannot."""

import json
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import click
import pika
import pytest
from click.testing import Result
from sqlalchemy import insert

from farmgate.commands.events import Since
from farmgate.services import NAMES
from shared.messaging.tables import Outbox
from shared.runtime import clock
from shared.runtime.database import Database
from tests.support import probe
from tests.support.servers import wait_until

Farmgate = Callable[..., Result]

NOW = datetime(2026, 8, 3, 8, tzinfo=UTC)


@pytest.fixture
def nobody() -> Iterator[str]:
    """The address of a broker that does not run."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield f"amqp://guest:guest@127.0.0.1:{unused.getsockname()[1]}/"


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A database of catalog with nothing in it but the tables of all services."""
    url = f"sqlite:///{tmp_path}/catalog.db"
    monkeypatch.setenv("FARMGATE_CATALOG_DATABASE_URL", url)
    database = Database(url)
    probe.create_tables(database)
    yield database
    database.close()


def add_published(database: Database) -> None:
    with database.sessions.begin() as session:
        session.execute(
            insert(Outbox).values(
                event_id=uuid4(),
                type="catalog.stock_reserved.v1",
                subject="order/1",
                sequence=1,
                body=b"{}",
                correlation_id="test",
                recorded_at=clock.now(),
                published_at=clock.now(),
                position=1,
            )
        )


@pytest.mark.parametrize(
    ("given", "moment"),
    [
        ("90m", NOW - timedelta(minutes=90)),
        ("12h", NOW - timedelta(hours=12)),
        ("2d", NOW - timedelta(days=2)),
        ("2026-08-01T08:00+08:00", datetime(2026, 8, 1, tzinfo=UTC)),
        ("2026-08-01T00:00:00Z", datetime(2026, 8, 1, tzinfo=UTC)),
    ],
)
def test_since_is_a_duration_or_a_moment(
    monkeypatch: pytest.MonkeyPatch, given: str, moment: datetime
) -> None:
    monkeypatch.setattr("farmgate.since.now", lambda: NOW)

    assert Since().convert(given, None, None) == moment


@pytest.mark.parametrize(
    "given",
    [
        *("", "2", "2w", "-2d", "2.5h", "d", "yesterday", "99999999999999d", "9" * 5000 + "d"),
        *("2026-08-01T08:00", "2026-08-01", "2026-13-01T00:00Z", "2999-01-01T00:00Z"),
    ],
)
def test_a_since_that_means_nothing_is_wrong_usage_and_shows_what_to_give(
    farmgate: Farmgate, given: str
) -> None:
    result = farmgate("events", "republish", f"--since={given}")

    assert result.exit_code == 2
    assert "2d" in result.output


def test_a_moment_without_a_zone_is_told_so() -> None:
    with pytest.raises(click.BadParameter, match="has no time zone"):
        Since().convert("2026-08-01T08:00", None, None)


def test_since_is_needed_and_a_service_must_be_one(farmgate: Farmgate) -> None:
    assert farmgate("events", "republish").exit_code == 2
    assert farmgate("events", "republish", "--since=2d", "--service=billing").exit_code == 2


def test_without_a_broker_there_is_nothing_to_publish_again(farmgate: Farmgate) -> None:
    result = farmgate("events", "republish", "--since", "2d")

    assert result.exit_code == 1
    assert all(name in result.output for name in NAMES)
    assert "Embedded mode" in result.output
    assert "FARMGATE_BROKER_URL" in result.output


def test_a_broker_that_does_not_answer_is_exit_code_3(
    farmgate: Farmgate, monkeypatch: pytest.MonkeyPatch, nobody: str, catalog: Database
) -> None:
    monkeypatch.setenv("FARMGATE_BROKER_URL", nobody)
    add_published(catalog)

    result = farmgate("events", "republish", "--since", "2d", "--service", "catalog")

    assert result.exit_code == 3
    assert "FARMGATE_CATALOG_BROKER_URL" in result.output


def test_a_database_that_does_not_answer_is_exit_code_3(
    farmgate: Farmgate, monkeypatch: pytest.MonkeyPatch, nobody: str
) -> None:
    monkeypatch.setenv("FARMGATE_BROKER_URL", nobody)
    monkeypatch.setenv(
        "FARMGATE_ORDERS_DATABASE_URL", "postgresql+psycopg://farmgate@127.0.0.1:1/away"
    )

    result = farmgate("events", "republish", "--since", "2d", "--service", "orders")

    assert result.exit_code == 3
    assert "FARMGATE_ORDERS_DATABASE_URL" in result.output


def test_the_counts_are_told_as_json(
    farmgate: Farmgate, monkeypatch: pytest.MonkeyPatch, nobody: str, catalog: Database
) -> None:
    monkeypatch.setenv("FARMGATE_BROKER_URL", nobody)

    result = farmgate("events", "republish", "--since", "2d", "--service", "catalog", "--json")

    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"catalog": 0}


@pytest.mark.broker
def test_after_topology_is_declared_the_lost_events_are_in_the_queues_again(
    farmgate: Farmgate, monkeypatch: pytest.MonkeyPatch, empty_vhost: str, catalog: Database
) -> None:
    monkeypatch.setenv("FARMGATE_BROKER_URL", empty_vhost)
    add_published(catalog)
    republish = ("events", "republish", "--since", "2d", "--service", "catalog")
    refused = farmgate(*republish)
    assert refused.exit_code == 1
    assert "farmgate topology" in refused.output

    assert farmgate("topology").exit_code == 0
    done = farmgate(*republish)

    assert done.exit_code == 0
    assert "catalog: 1 published again" in done.output
    wait_until(lambda: depth(empty_vhost, "orders.events") == 1, 20, "the event is in the queue")


def depth(url: str, queue: str) -> int:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        frame = connection.channel().queue_declare(queue, passive=True)
        return int(frame.method.message_count)


def test_it_explains_itself(farmgate: Farmgate) -> None:
    output = farmgate("events", "republish", "--help").output

    assert "--since" in output
    assert "farmgate topology" in output
