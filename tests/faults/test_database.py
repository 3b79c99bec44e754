"""A PostgreSQL that dies, comes back, and has no connection left."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import func, select

from farmgate import doctor
from services.catalog.app import create_app
from services.catalog.models import Enterprise
from shared.messaging.tables import Outbox
from shared.runtime import keys, migrations
from shared.runtime.config import Settings
from tests.faults.bench import DRAINED, MORE_MEMORY, ORDERS, TIMES, Bench, all_kept, bench_on
from tests.support import servers
from tests.support.servers import wait_until

pytestmark = [pytest.mark.broker, pytest.mark.postgres]

#: Seconds without a database: with `--long`, and without.
AWAY = {True: 300, False: 3}
#: Requests for whose rows the pages that a new database has are not enough.
MORE_THAN_FIT = 100


@pytest.fixture(scope="module")
def own_postgres(request: pytest.FixtureRequest) -> Iterator[servers.Postgres]:
    """A PostgreSQL that a test may kill: the one that all share goes on."""
    if not request.config.getoption("--servers"):
        request.getfixturevalue("postgres")  # says what is missing
    with servers.postgres() as server:
        yield server


@pytest.fixture(params=["publisher", "listener"])
def fragile(
    request: pytest.FixtureRequest,
    own_postgres: servers.Postgres,
    postgres: Callable[[str], str],
    vhost: str,
    tmp_path: Path,
) -> Iterator[Bench]:
    """A bench of which one side's database is on the server that will fail."""
    name = f"fragile_{uuid4().hex[:8]}"
    urls = {"publisher": postgres("fault_sender"), "listener": postgres("fault_receiver")}
    urls[request.param] = own_postgres.create(name)
    with bench_on(vhost, urls["publisher"], urls["listener"], tmp_path) as made:
        yield made


def test_a_database_killed_again_and_again_pauses_its_service_and_loses_nothing(
    fragile: Bench, own_postgres: servers.Postgres
) -> None:
    with fragile.relaying(), fragile.listening():
        for _ in range(3):
            fragile.pay_all(2)
            own_postgres.kill()
            own_postgres.start()
        everything = len(fragile.acknowledged)
        wait_until(lambda: fragile.effects() == everything, DRAINED, "it goes on by itself")

    fragile.drain()
    assert fragile.verdict() == all_kept(ORDERS * 6 + 1)
    assert fragile.parked() == []
    assert fragile.depth("notifications.events.dead") == 0


def test_while_its_database_is_away_for_long_a_listener_leaves_all_in_its_queue(
    own_postgres: servers.Postgres,
    postgres: Callable[[str], str],
    vhost: str,
    tmp_path: Path,
    long: bool,
) -> None:
    receiver = own_postgres.create(f"away_{uuid4().hex[:8]}")
    with bench_on(vhost, postgres("fault_sender"), receiver, tmp_path) as bench:
        with bench.relaying(), bench.worker("notifications") as listener:
            bench.pay_all(2)
            wait_until(lambda: bench.effects() == ORDERS * 2, DRAINED, "it works")
            before = listener.memory()
            own_postgres.kill()
            bench.pay_for(AWAY[long])
            wait_until(lambda: bench.waiting() == 0, DRAINED, "the publisher goes on meanwhile")

            def depth_after_payments() -> int:
                bench.pay_all(1)
                return bench.depth("notifications.events")

            # It holds a few hundred itself, which a busy machine may not pay in these seconds.
            wait_until(lambda: depth_after_payments() > 0, DRAINED, "more wait than it holds")
            own_postgres.start()
            everything = len(bench.acknowledged)
            wait_until(lambda: bench.effects() == everything, DRAINED, "it goes on by itself")
            assert listener.process.poll() is None
            assert listener.memory() < before + MORE_MEMORY

        bench.drain()
        assert bench.verdict() == all_kept(everything + 1)
        assert bench.parked() == []
        assert bench.depth("notifications.events.dead") == 0


def test_while_others_hold_all_connections_the_service_waits_and_loses_nothing(
    fragile: Bench, own_postgres: servers.Postgres
) -> None:
    fragile.pay_all(2)
    for database in (fragile.sender, fragile.receiver):
        database.engine.dispose()  # or they would keep the connections that they have
    with ExitStack() as others:
        address = own_postgres.url().replace("+psycopg", "")
        with pytest.raises(psycopg.OperationalError, match="too many clients"):
            while True:
                others.enter_context(psycopg.connect(address, connect_timeout=10))
        with fragile.relaying() as relay, fragile.listening() as consumer:
            wait_until(lambda: bool(relay or consumer), DRAINED, "one is refused a connection")
            others.close()
            wait_until(lambda: fragile.effects() == ORDERS * 2, DRAINED, "it goes on by itself")

    fragile.drain()
    assert fragile.verdict() == all_kept(ORDERS * 2 + 1)
    assert fragile.parked() == []
    assert fragile.depth("notifications.events.dead") == 0


@pytest.fixture
def small_disk(own_postgres: servers.Postgres) -> Iterator[Path]:
    """A file system of 32 MB that PostgreSQL may write to."""
    place = Path(tempfile.mkdtemp(prefix="farmgate-small-"))
    asked = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(place)]
    if subprocess.run(asked, capture_output=True, check=False).returncode != 0:
        place.rmdir()
        pytest.skip("a small tmpfs cannot be mounted here (root may): a full disk is NOT tested")
    if own_postgres.user is not None:
        shutil.chown(place, own_postgres.user)
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)
    place.rmdir()


@pytest.fixture
def crowded(own_postgres: servers.Postgres, small_disk: Path) -> Iterator[str]:
    """The address of a database on the small disk."""
    name = f"full_{uuid4().hex[:8]}"
    address = own_postgres.url().replace("+psycopg", "")
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"CREATE TABLESPACE {name} LOCATION '{small_disk}'".encode())
        connection.execute(f"CREATE DATABASE {name} TABLESPACE {name}".encode())
    yield own_postgres.url(name)
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
        connection.execute(f"DROP TABLESPACE {name}".encode())


def fill(disk: Path) -> Path:
    """Leave no byte free; return the file that takes the room."""
    ballast = disk / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return ballast


def test_while_the_disk_of_the_database_is_full_the_batch_waits_and_nothing_is_parked(
    own_postgres: servers.Postgres,
    postgres: Callable[[str], str],
    vhost: str,
    tmp_path: Path,
    small_disk: Path,
    crowded: str,
) -> None:
    with bench_on(vhost, postgres("fault_sender"), crowded, tmp_path) as bench:
        ballast = fill(small_disk)
        with bench.relaying(), bench.listening():
            bench.pay_all(TIMES)
            wait_until(
                lambda: b"No space left on device" in (own_postgres.folder / "log").read_bytes(),
                DRAINED,
                "the disk is full",
            )
            assert bench.effects() == 0
            ballast.unlink()
            wait_until(lambda: bench.effects() == ORDERS * TIMES, DRAINED, "it goes on by itself")

        bench.drain()
        assert bench.verdict() == all_kept(ORDERS * TIMES + 1)
        assert bench.parked() == []
        assert bench.depth("notifications.events.dead") == 0


def test_while_the_disk_of_the_database_is_full_requests_are_refused_whole(
    small_disk: Path, crowded: str, tmp_path: Path
) -> None:
    migrations.upgrade("catalog", crowded)
    keys.ensure(tmp_path)
    environment = {"FARMGATE_DATA": str(tmp_path), "FARMGATE_CATALOG_DATABASE_URL": crowded}
    app = create_app(Settings.from_environment("catalog", environment))
    signed = keys.issue_token(tmp_path, "operator", ["catalog:write"], 600)

    def add(number: int) -> Any:
        return app.test_client().post(
            "/api/catalog/v1/enterprises",
            json={
                "code": f"P-{number}",
                "names": {"zh": "农户" * 50},
                "roles": ["producer"],
                "contact": {"phone": "13889041234", "language": "zh"},
            },
            headers={"Authorization": f"Bearer {signed}", "Idempotency-Key": f"key-{number}"},
        )

    ballast = fill(small_disk)
    # What room its tables have is used up first.
    answers = [add(number) for number in range(MORE_THAN_FIT)]
    refused = [number for number, answer in enumerate(answers) if answer.status_code != 201]
    assert refused
    for number in refused:
        told = answers[number]
        assert (told.status_code, told.json["type"]) == (503, "/problems/unavailable")
    full = {found.check: found for found in doctor.examine(environment)}["catalog: writes"]
    assert not full.ok
    assert "No space left on device" in full.detail
    ballast.unlink()

    assert [add(number).status_code for number in range(MORE_THAN_FIT)] == [201] * MORE_THAN_FIT

    with app.extensions["farmgate"].database.readers() as session:
        for table in (Enterprise, Outbox):
            assert session.scalar(select(func.count()).select_from(table)) == MORE_THAN_FIT
    app.extensions["farmgate"].database.close()
