"""Fixtures with the same names in every test folder; a pytest plugin.

A service's `conftest.py` gives `service` and `make_app`. Tests that use `database` then run on
SQLite and on PostgreSQL, both made by the service's own migrations. Application and database are
made once and emptied before each test: to make both takes ten times as long as most tests.
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


# What is not on the disk yet is lost with the machine's power only, which no test cuts: a killed
# process loses nothing. To wait for the disk would take a third of the tests' time. Processes that
# tests start wait for it. At the check-out, since the product's own setting comes before it.
@event.listens_for(Pool, "checkout")
def _commit_without_the_disk(connection: Any, record: Any, proxy: Any) -> None:
    if isinstance(connection, sqlite3.Connection) and not record.info.get("without disk"):
        connection.execute("PRAGMA synchronous=OFF")
        record.info["without disk"] = True


def run_folder(config: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that all workers of the run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if hasattr(config, "workerinput") else base


class Templates:
    """Databases of each service as its migrations make them, made once a run and then copied."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def sqlite(self, service: str) -> Path:
        """Return the file of a migrated SQLite database, to copy."""
        path = self.folder / f"{service}.db"
        with FileLock(f"{path}.lock"):
            if not path.exists():
                part = path.with_suffix(".part")
                migrations.upgrade(service, f"sqlite:///{part}")
                part.replace(path)
        return path

    def postgres(self, service: str, create: Callable[..., str]) -> str:
        """Return the name of a migrated PostgreSQL database, to copy."""
        path = self.folder / f"{service}.postgresql"
        with FileLock(f"{path}.lock"):
            if not path.exists():
                url = create(f"template_{service}")
                migrations.upgrade(service, url)
                path.write_text(url.rpartition("/")[2], encoding="utf-8")
        return path.read_text(encoding="utf-8")


class Kept:
    """A service's database, settings and application, kept for all its tests on one kind."""

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
        self._emptying = "" if template else _emptying(self.database)

    def empty(self) -> None:
        """Take out what the last test left: rows, and files beside the keys."""
        if self.template is None:
            with self.database.engine.begin() as connection:
                connection.exec_driver_sql(self._emptying)
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
        """Give all connections back."""
        self.database.close()
        if self.app is not None:
            self.app.extensions["farmgate"].database.close()


def _emptying(database: Database) -> str:
    """Return the statements that delete all rows, whatever triggers and references forbid."""
    with database.engine.connect() as connection:
        tables = [t for t in inspect(connection).get_table_names() if t != "alembic_version"]
        sequences = inspect(connection).get_sequence_names()
    # A superuser's setting; TRUNCATE takes twenty times as long when there is little to delete.
    return "; ".join(
        [
            "SET LOCAL session_replication_role = replica",
            *(f'DELETE FROM "{table}"' for table in tables),
            *(f"SELECT setval('{sequence}', 1, false)" for sequence in sequences),
        ]
    )


# By name, since these live as long as the session, which sees the `service` of each folder.
@pytest.fixture(scope="session")
def _templates(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Templates:
    """Databases to copy, the same ones for all workers of the run."""
    return Templates(run_folder(request.config, tmp_path_factory) / "templates")


@pytest.fixture(scope="session")
def _keep(
    request: pytest.FixtureRequest,
    _templates: Templates,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[Service, str], Kept]]:
    made: dict[tuple[str, str], Kept] = {}

    def keep(service: Service, kind: str) -> Kept:
        if (service.name, kind) not in made:
            folder = tmp_path_factory.mktemp(f"{service.name}-{kind}")
            if kind == "sqlite":
                template = _templates.sqlite(service.name)
                path = shutil.copy(template, folder / "service.db")
                kept = Kept(service, f"sqlite:///{path}", folder, template)
            else:
                create = request.getfixturevalue("postgres")
                url = create(service.name, template=_templates.postgres(service.name, create))
                kept = Kept(service, url, folder, None)
            made[service.name, kind] = kept
        return made[service.name, kind]

    yield keep
    for kept in made.values():
        kept.close()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def kept(
    request: pytest.FixtureRequest, service: Service, _keep: Callable[[Service, str], Kept]
) -> Kept:
    """What is kept of the service under test, empty."""
    found = _keep(service, request.param)
    found.empty()
    return found


@pytest.fixture
def app_settings(kept: Kept) -> Settings:
    """Settings of the service under test, with keys of its own and no broker."""
    return kept.settings


@pytest.fixture
def database(kept: Kept) -> Database:
    """The service's database, empty."""
    return kept.database


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    """A writing session; what is not committed through `database` is rolled back."""
    with database.sessions() as opened:
        yield opened


@pytest.fixture
def app_of(make_app: Callable[[Settings], Flask]) -> Iterator[Callable[[Settings], Flask]]:
    """Make the service's application with other settings; its database is closed at the end."""
    made: list[Flask] = []

    def make(settings: Settings) -> Flask:
        made.append(make_app(settings))
        return made[-1]

    yield make
    for app in made:
        app.extensions["farmgate"].database.close()


@pytest.fixture
def client(make_app: Callable[[Settings], Flask], kept: Kept) -> FlaskClient:
    """HTTP calls to the service under test."""
    if kept.app is None:
        kept.app = make_app(kept.settings)
    return kept.app.test_client()


@pytest.fixture
def token(app_settings: Settings) -> Callable[..., dict[str, str]]:
    """Make request headers: a token with these scopes, and a fresh Idempotency-Key.

    With `sites` its bearer belongs to them.
    """

    def issue(
        *scopes: str, subject: str = "operator", sites: Sequence[UUID] | None = None
    ) -> dict[str, str]:
        signed = keys.issue_token(app_settings.data, subject, scopes, 600, site_ids=sites)
        return {"Authorization": f"Bearer {signed}", "Idempotency-Key": str(uuid4())}

    return issue


@pytest.fixture
def stored(database: Database) -> Callable[[], str]:
    """Return all that the service's database holds, as text: where a planted secret is looked for.

    Bytes are in it as Latin-1, so that text inside them is found as well.
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
    """Hand events to the service as its consumer would; returns their ids.

    `_many` gives the facts of several events that arrive as one batch; one of them may name
    another contract by `_contract`. `_event_id` and `_sequence` deliver an event again.
    """
    processor = Processor(service, database)
    versions: defaultdict[str, int] = defaultdict(int)

    def envelope(contract: type[Fact], facts: dict[str, Any]) -> Envelope:
        event_id = facts.pop("_event_id", None) or new_id()
        number = facts.pop("_sequence", None)
        publisher = contract.routing_key.partition(".")[0]
        subject = f"{contract.subject.removesuffix('_id')}/{facts[contract.subject]}"
        versions[publisher + subject] += 1
        # By hand: a test may deliver what no contract lets a publisher write.
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
