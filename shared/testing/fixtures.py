"""Fixtures with the same names in every test folder; a pytest plugin.

A service's `conftest.py` gives `service` and `make_app`. Tests that use `database` then run on
SQLite and on PostgreSQL, both made by the service's own migrations. `--servers` starts real
servers; without it, and without `TEST_POSTGRES_URL` and `TEST_BROKER_URL`, tests that need them
are skipped at home and fail in CI.
"""

import json
import os
import shutil
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NoReturn, cast
from uuid import UUID, uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import create_engine, event, inspect, select, text
from sqlalchemy.orm import Session

from shared import clock, keys, migrations, topology
from shared.config import Settings
from shared.database import Database
from shared.envelope import Envelope, decode, encode, subject_of
from shared.events import Event
from shared.handling import Handling
from shared.ids import new_id
from shared.service import Service
from shared.tables import Outbox, Parked
from shared.testing import probe, servers


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--servers", action="store_true", help="start a PostgreSQL and a RabbitMQ")
    parser.addoption("--long", action="store_true", help="faults last minutes instead of seconds")


def pytest_configure(config: pytest.Config) -> None:
    for marker, meaning in {
        "postgres": "needs a PostgreSQL",
        "broker": "needs a RabbitMQ",
        "system": "runs real processes of all four services",
        "browser": "drives a Chromium",
    }.items():
        config.addinivalue_line("markers", f"{marker}: {meaning}")


def _missing(what: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(f"{what} is needed in CI: run `make test`")
    pytest.skip(f"{what} is needed: run `make test`, or pytest with --servers")


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> Iterator[Callable[[str], str]]:
    """Make new PostgreSQL databases: called with a name, returns the address."""
    given = os.environ.get("TEST_POSTGRES_URL")
    with ExitStack() as stack:
        if given is None:
            if not request.config.getoption("--servers"):
                _missing("a PostgreSQL")
            server = stack.enter_context(servers.postgres())
            given = server.url()

        def create(name: str) -> str:
            unique = f"{name}_{uuid4().hex[:8]}"
            engine = create_engine(given, isolation_level="AUTOCOMMIT")
            with engine.connect() as connection:
                connection.execute(text(f'CREATE DATABASE "{unique}"'))
            engine.dispose()
            return given.rpartition("/")[0] + "/" + unique

        yield create


@pytest.fixture(scope="session")
def long(request: pytest.FixtureRequest) -> bool:
    """Whether a fault is to last as long as docs/reliability.md says, which takes minutes."""
    return bool(request.config.getoption("--long"))


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of the system's Chromium; none is downloaded."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        path = shutil.which(name)
        if path is not None:
            return path
    _missing("a Chromium")


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest) -> Iterator[servers.RabbitMQ]:
    """A RabbitMQ of our own, with nothing declared in it."""
    if not request.config.getoption("--servers"):
        _missing("a RabbitMQ")
    with servers.rabbitmq() as server:
        yield server


# By name, since these live as long as the session, which sees the `service` of each folder.
@pytest.fixture
def vhost(broker: servers.RabbitMQ) -> Iterator[str]:
    """A virtual host of its own for each test, with the probe's topology; its address."""
    name = f"v{uuid4().hex[:8]}"
    broker.ctl("add_vhost", name)
    broker.ctl("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
    url = broker.url().rpartition("/")[0] + "/" + name
    topology.declare(url, [probe.PUBLISHER, probe.SERVICE])
    yield url
    broker.ctl("delete_vhost", name)


@pytest.fixture(scope="session")
def _sqlite_templates(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    @cache
    def template(service: str) -> Path:
        path = tmp_path_factory.mktemp("template") / f"{service}.db"
        migrations.upgrade(service, f"sqlite:///{path}")
        return path

    return template


@pytest.fixture(scope="session")
def _postgres_urls(postgres: Callable[[str], str]) -> Callable[[str], str]:
    @cache
    def migrated(service: str) -> str:
        url = postgres(service)
        migrations.upgrade(service, url)
        return url

    return migrated


def _empty(url: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        tables = [t for t in inspect(connection).get_table_names() if t != "alembic_version"]
        names = ", ".join(f'"{table}"' for table in tables)
        connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))
    engine.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, service: Service, tmp_path: Path) -> str:
    """The address of an empty, migrated database of the service under test."""
    if request.param == "sqlite":
        path = tmp_path / "service.db"
        shutil.copy(request.getfixturevalue("_sqlite_templates")(service.name), path)
        return f"sqlite:///{path}"
    url = cast(str, request.getfixturevalue("_postgres_urls")(service.name))
    _empty(url)
    return url


@pytest.fixture
def app_settings(service: Service, database_url: str, tmp_path: Path) -> Settings:
    """Settings of the service under test, with keys of its own and no broker."""
    keys.ensure(tmp_path)
    return Settings.from_environment(
        service.name,
        {
            "FARMGATE_DATA": str(tmp_path),
            f"FARMGATE_{service.name.upper()}_DATABASE_URL": database_url,
            "FARMGATE_PAYMENT_SECRET_FILE": str(tmp_path / "keys" / "payment_secret"),
        },
    )


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """The service's database, empty."""
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    """A writing session; what is not committed through `database` is rolled back."""
    with database.sessions() as opened:
        yield opened


@pytest.fixture
def client(
    make_app: Callable[[Settings], Flask], app_settings: Settings, database: Database
) -> Iterator[FlaskClient]:
    """HTTP calls to the service under test."""
    app = make_app(app_settings)
    yield app.test_client()
    app.extensions["farmgate"].database.close()


@pytest.fixture
def token(app_settings: Settings) -> Callable[..., dict[str, str]]:
    """Make request headers: a token with these scopes, and a fresh Idempotency-Key."""

    def issue(*scopes: str, subject: str = "operator") -> dict[str, str]:
        signed = keys.issue_token(app_settings.data, subject, scopes, 600)
        return {"Authorization": f"Bearer {signed}", "Idempotency-Key": str(uuid4())}

    return issue


@pytest.fixture
def deliver(service: Service, database: Database) -> Callable[..., list[UUID]]:
    """Hand events to the service as its consumer would; returns their ids.

    `_many` gives the facts of several events that arrive as one batch; one of them may name
    another contract by `_contract`. `_event_id` and `_sequence` deliver an event again.
    """
    handling = Handling(service, database)
    versions: defaultdict[str, int] = defaultdict(int)

    def envelope(contract: type[Event], facts: dict[str, Any]) -> Envelope:
        event_id = facts.pop("_event_id", None) or new_id()
        subject = contract.routing_key.partition(".")[0] + subject_of(contract, facts)
        versions[subject] += 1
        body = encode(
            contract,
            facts,
            event_id=event_id,
            sequence=facts.pop("_sequence", None) or versions[subject],
            time=clock.now(),
            correlation_id="test",
            causation_id=None,
            traceparent=None,
        )
        return decode(body)

    def give(
        contract: type[Event], _many: list[dict[str, Any]] | None = None, **facts: Any
    ) -> list[UUID]:
        every = [facts] if _many is None else _many
        events = [envelope(f.pop("_contract", contract), f) for f in (dict(e) for e in every)]
        handling.settle(events, _never_away)
        return [event.event_id for event in events]

    return give


def _never_away(seconds: float) -> None:
    raise AssertionError("the database is away")


@pytest.fixture
def recorded_events(database: Database) -> Callable[[], list[tuple[str, dict[str, Any]]]]:
    """Ask for the events recorded so far, in order: (type, data)."""

    def read() -> list[tuple[str, dict[str, Any]]]:
        with database.readers() as reader:
            rows = reader.execute(select(Outbox.type, Outbox.body).order_by(Outbox.id))
            return [(type_, json.loads(body)["data"]) for type_, body in rows]

    return read


@pytest.fixture
def parked(database: Database) -> Callable[[], list[Parked]]:
    """Ask for the parked events, in order of arrival."""

    def read() -> list[Parked]:
        with database.readers() as reader:
            return list(reader.scalars(select(Parked).order_by(Parked.arrival)))

    return read


@pytest.fixture
def count_statements(
    database: Database,
) -> Callable[[], AbstractContextManager[list[str]]]:
    """Collect the SQL statements that the service's database is sent inside a `with`."""

    @contextmanager
    def collect() -> Iterator[list[str]]:
        seen: list[str] = []

        def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
            seen.append(statement)

        event.listen(database.engine, "before_cursor_execute", note)
        yield seen
        event.remove(database.engine, "before_cursor_execute", note)

    return collect


@pytest.fixture
def in_threads() -> Callable[..., list[Any]]:
    """Run several calls at once, let loose together; returns their results, or raises."""

    def run(calls: Sequence[Callable[[], Any]]) -> list[Any]:
        results: list[Any] = [None] * len(calls)
        failures: list[BaseException] = []
        barrier = threading.Barrier(len(calls))

        def one(index: int) -> None:
            try:
                barrier.wait()
                results[index] = calls[index]()
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=one, args=(index,)) for index in range(len(calls))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        return results

    return run
