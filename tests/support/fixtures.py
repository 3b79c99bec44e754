"""Fixtures with the same names in every test folder; a pytest plugin.

A service's `conftest.py` defines the fixtures `service` and `make_app`. Tests that use `database`
then run on SQLite and on PostgreSQL, each created by the service's own migrations. A test run
creates application and database once and empties the database before each test: creating them takes
ten times as long as most tests.
"""

import json
import shutil
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import msgspec
import pytest
from filelock import FileLock
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import MetaData, event, inspect, select
from sqlalchemy.orm import Session
from sqlalchemy.pool import Pool

from shared.events import Fact
from shared.messaging.envelope import Envelope, decode
from shared.messaging.processing import Processor
from shared.messaging.service import Service
from shared.messaging.tables import Outbox, Parked
from shared.runtime import clock, keys, migrations
from shared.runtime.config import Settings
from shared.runtime.database import Database
from shared.runtime.ids import new_id


# Without fsync, only a power failure loses data, and no test cuts the power; a killed process loses
# nothing. Waiting for the disk would take a third of the tests' time. Processes that tests start do
# wait for it. The hook runs at check-out, because the product's own PRAGMA runs before that.
@event.listens_for(Pool, "checkout")
def _switch_off_fsync(connection: Any, record: Any, proxy: Any) -> None:
    if isinstance(connection, sqlite3.Connection) and not record.info.get("without disk"):
        connection.execute("PRAGMA synchronous=OFF")
        record.info["without disk"] = True


def run_folder(config: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that all workers of the run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if hasattr(config, "workerinput") else base


class DatabaseTemplates:
    """Migrated databases of each service, created once in a run; tests get copies."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def sqlite(self, service: str) -> Path:
        """Return the path of a migrated SQLite database to copy."""
        path = self.folder / f"{service}.db"
        with FileLock(f"{path}.lock"):
            if not path.exists():
                part = path.with_suffix(".part")
                migrations.upgrade(service, f"sqlite:///{part}")
                part.replace(path)
        return path

    def postgres(self, service: str, create: Callable[..., str]) -> str:
        """Return the name of a migrated PostgreSQL database to copy."""
        path = self.folder / f"{service}.postgresql"
        with FileLock(f"{path}.lock"):
            if not path.exists():
                url = create(f"template_{service}")
                migrations.upgrade(service, url)
                path.write_text(url.rpartition("/")[2], encoding="utf-8")
        return path.read_text(encoding="utf-8")


class Harness:
    """The database, settings and application that a service's tests on one database kind share."""

    def __init__(self, service: Service, url: str, folder: Path, template: Path | None) -> None:
        self.folder, self.template = folder, template
        keys.ensure(folder)
        self.environment = {
            "FARMGATE_DATA": str(folder),
            f"FARMGATE_{service.name.upper()}_DATABASE_URL": url,
            "FARMGATE_PAYMENT_SECRET_FILE": str(folder / "keys" / "payment_secret"),
        }
        self.settings = Settings.from_environment(service.name, self.environment)
        self.database = Database(url)
        self.app: Flask | None = None
        self._delete_statements = "" if template else _delete_statements(self.database)

    def empty(self) -> None:
        """Delete what the last test left: all rows, and all folders but the keys."""
        if self.template is None:
            with self.database.engine.begin() as connection:
                connection.exec_driver_sql(self._delete_statements)
        else:
            path = cast(str, self.database.engine.url.database)
            with (
                closing(sqlite3.connect(self.template)) as template,
                closing(sqlite3.connect(path)) as copy,
            ):
                copy.execute("PRAGMA synchronous=OFF")
                template.backup(copy)
        for left in self.folder.iterdir():
            if left.is_dir() and left.name != "keys":
                shutil.rmtree(left)

    def close(self) -> None:
        """Close all connections."""
        self.database.close()
        if self.app is not None:
            self.app.extensions["farmgate"].database.close()


def _delete_statements(database: Database) -> str:
    """Return statements that delete all rows, with triggers and foreign keys switched off."""
    with database.engine.connect() as connection:
        tables = [t for t in inspect(connection).get_table_names() if t != "alembic_version"]
        sequences = inspect(connection).get_sequence_names()
    # The setting needs a superuser. TRUNCATE takes twenty times as long when there are few rows.
    return "; ".join(
        [
            "SET LOCAL session_replication_role = replica",
            *(f'DELETE FROM "{table}"' for table in tables),
            *(f"SELECT setval('{sequence}', 1, false)" for sequence in sequences),
        ]
    )


# Session-scoped and keyed by the service's name, because each test folder has another `service`.
@pytest.fixture(scope="session")
def _templates(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> DatabaseTemplates:
    """Databases to copy, shared by all workers of the run."""
    return DatabaseTemplates(run_folder(request.config, tmp_path_factory) / "templates")


@pytest.fixture(scope="session")
def _harness_of(
    request: pytest.FixtureRequest,
    _templates: DatabaseTemplates,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[Service, str], Harness]]:
    made: dict[tuple[str, str], Harness] = {}

    def harness_of(service: Service, kind: str) -> Harness:
        if (service.name, kind) not in made:
            folder = tmp_path_factory.mktemp(f"{service.name}-{kind}")
            if kind == "sqlite":
                template = _templates.sqlite(service.name)
                path = shutil.copy(template, folder / "service.db")
                harness = Harness(service, f"sqlite:///{path}", folder, template)
            else:
                create = request.getfixturevalue("postgres")
                url = create(service.name, template=_templates.postgres(service.name, create))
                harness = Harness(service, url, folder, None)
            made[service.name, kind] = harness
        return made[service.name, kind]

    yield harness_of
    for harness in made.values():
        harness.close()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def harness(
    request: pytest.FixtureRequest, service: Service, _harness_of: Callable[[Service, str], Harness]
) -> Harness:
    """The harness of the service under test, with an empty database."""
    found = _harness_of(service, request.param)
    found.empty()
    return found


@pytest.fixture
def app_settings(harness: Harness) -> Settings:
    """Settings of the service under test, with keys of its own and no broker."""
    return harness.settings


@pytest.fixture
def database(harness: Harness) -> Database:
    """The service's database, empty."""
    return harness.database


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    """A session that writes; the fixture rolls back what the test does not commit."""
    with database.sessions() as opened:
        yield opened


@pytest.fixture
def app_of(make_app: Callable[[Settings], Flask]) -> Iterator[Callable[[Settings], Flask]]:
    """Make the service's application with other settings; the fixture closes its database."""
    made: list[Flask] = []

    def make(settings: Settings) -> Flask:
        made.append(make_app(settings))
        return made[-1]

    yield make
    for app in made:
        app.extensions["farmgate"].database.close()


@pytest.fixture
def client(make_app: Callable[[Settings], Flask], harness: Harness) -> FlaskClient:
    """HTTP calls to the service under test."""
    if harness.app is None:
        harness.app = make_app(harness.settings)
    return harness.app.test_client()


@pytest.fixture
def token(app_settings: Settings) -> Callable[..., dict[str, str]]:
    """Make request headers: a token with these scopes, and a new Idempotency-Key.

    With `sites`, the token is limited to these sites.
    """

    def issue(
        *scopes: str, subject: str = "operator", sites: Sequence[UUID] | None = None
    ) -> dict[str, str]:
        signed = keys.issue_token(app_settings.data, subject, scopes, 600, site_ids=sites)
        return {"Authorization": f"Bearer {signed}", "Idempotency-Key": str(uuid4())}

    return issue


@pytest.fixture
def stored(database: Database) -> Callable[[], str]:
    """Return all cells of the service's database as text, for tests that search it for a secret.

    Bytes are decoded as Latin-1, so a search finds text inside them too.
    """

    def read() -> str:
        with database.read_engine.connect() as connection:
            tables = MetaData()
            tables.reflect(connection)
            cells = [
                cell.decode("latin-1") if isinstance(cell, bytes) else str(cell)
                for table in tables.sorted_tables
                for row in connection.execute(select(table))
                for cell in row
            ]
        return "\n".join(cells)

    return read


@pytest.fixture
def deliver(service: Service, database: Database) -> Callable[..., list[UUID]]:
    """Deliver events to the service as its consumer does; return their ids.

    `_many`: the facts of several events that arrive as one batch; `_contract` in one of them names
    another contract. `_event_id` and `_sequence` repeat an event that was delivered before.
    """
    return _consumer(service, database)


@pytest.fixture
def deliver_beside(service: Service, database: Database) -> Callable[..., list[UUID]]:
    """Deliver events as another process does, beside `deliver`."""
    return _consumer(service, database)


def _consumer(service: Service, database: Database) -> Callable[..., list[UUID]]:
    processor = Processor(service, database)
    versions: defaultdict[str, int] = defaultdict(int)

    def envelope(contract: type[Fact], facts: dict[str, Any]) -> Envelope:
        event_id = facts.pop("_event_id", None) or new_id()
        number = facts.pop("_sequence", None)
        publisher = contract.routing_key.partition(".")[0]
        subject = f"{contract.subject.removesuffix('_id')}/{facts[contract.subject]}"
        versions[publisher + subject] += 1
        # Not built from the contract: a test may deliver an event that no publisher could write.
        document = {
            "specversion": "1.0",
            "id": event_id,
            "source": f"/farmgate/{publisher}/{subject}",
            "type": contract.routing_key,
            "subject": subject,
            "time": clock.rfc3339(clock.now()),
            "sequence": f"{number or versions[publisher + subject]:010d}",
            "correlationid": "test",
            "data": facts,
        }
        return decode(msgspec.json.encode(document))

    def give(
        contract: type[Fact], _many: list[dict[str, Any]] | None = None, **facts: Any
    ) -> list[UUID]:
        every = [facts] if _many is None else _many
        events = [envelope(f.pop("_contract", contract), f) for f in (dict(e) for e in every)]
        processor.process(events, _never_unavailable)
        return [event.event_id for event in events]

    return give


def _never_unavailable(seconds: float) -> None:
    raise AssertionError("the database is unavailable")


@pytest.fixture
def recorded_events(database: Database) -> Callable[[], list[tuple[str, dict[str, Any]]]]:
    """Return the events recorded so far, in order: (type, data)."""

    def read() -> list[tuple[str, dict[str, Any]]]:
        with database.readers() as reader:
            rows = reader.execute(select(Outbox.type, Outbox.body).order_by(Outbox.id))
            return [(type_, json.loads(body)["data"]) for type_, body in rows]

    return read


@pytest.fixture
def parked(database: Database) -> Callable[[], list[Parked]]:
    """Return the parked events, in order of arrival."""

    def read() -> list[Parked]:
        with database.readers() as reader:
            return list(reader.scalars(select(Parked).order_by(Parked.arrival)))

    return read


@pytest.fixture
def count_statements(
    database: Database,
) -> Callable[[], AbstractContextManager[list[str]]]:
    """Collect the SQL statements that the service sends to its database inside a `with`."""

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
    """Run several calls at the same time; return their results, or raise the first error."""

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
