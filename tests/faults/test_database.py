"""A PostgreSQL that dies, comes back, and has no connection left."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from shared.testing import servers
from shared.testing.servers import wait_until
from tests.faults.bench import DRAINED, ORDERS, TIMES, Bench, all_kept, bench_on

pytestmark = [pytest.mark.broker, pytest.mark.postgres]


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


def test_while_the_disk_of_the_database_is_full_the_batch_waits_and_nothing_is_parked(
    own_postgres: servers.Postgres,
    postgres: Callable[[str], str],
    vhost: str,
    tmp_path: Path,
    small_disk: Path,
) -> None:
    name = f"full_{uuid4().hex[:8]}"
    address = own_postgres.url().replace("+psycopg", "")
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"CREATE TABLESPACE {name} LOCATION '{small_disk}'".encode())
        connection.execute(f"CREATE DATABASE {name} TABLESPACE {name}".encode())
    receiver = own_postgres.url(name)
    with bench_on(vhost, postgres("fault_sender"), receiver, tmp_path) as bench:
        ballast = small_disk / "ballast"
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
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
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
        connection.execute(f"DROP TABLESPACE {name}".encode())
