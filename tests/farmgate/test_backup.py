"""`farmgate backup` and `restore`: what is refused, what is left by a failure, what is kept."""

import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
from click.testing import Result
from sqlalchemy import insert, select

from farmgate.backup import programs, snapshots
from farmgate.failures import Failed
from farmgate.locking import lock_data_folder
from farmgate.services import NAMES
from shared.messaging.tables import Inbox, Outbox, RelayState
from shared.runtime import clock, migrations
from shared.runtime.config import Settings
from shared.runtime.database import Database

Farmgate = Callable[..., Result]
PLACED = "orders.order_placed.v1"


@pytest.fixture
def orders(data: Path) -> Iterator[Database]:
    """The database of orders, with one event that was published."""
    database = Database(f"sqlite:///{data}/orders.db")
    publish(database, 1)
    yield database
    database.close()


def publish(database: Database, position: int) -> None:
    with database.sessions.begin() as session:
        session.merge(RelayState(id=1, epoch=1, position=position))
        session.execute(
            insert(Outbox).values(
                event_id=uuid4(),
                type=PLACED,
                subject="order/1",
                sequence=position,
                body=b"{}",
                correlation_id="test",
                recorded_at=clock.now(),
                published_at=clock.now(),
                position=position,
            )
        )


def positions(database: Database) -> list[int | None]:
    with database.readers() as session:
        return list(session.scalars(select(Outbox.position).order_by(Outbox.id)))


def test_a_set_is_whole_and_its_owner_s_alone(
    farmgate: Farmgate, orders: Database, tmp_path: Path
) -> None:
    made = farmgate("backup", str(tmp_path / "set"), "--json")

    assert made.exit_code == 0, made.output
    assert farmgate("backup", str(tmp_path / "set"), "--check").exit_code == 0
    parts = {part["service"]: part for part in json.loads(made.stdout)["parts"]}
    assert parts["orders"]["position"] == parts["orders"]["rows"]["outbox"] == 1
    assert (tmp_path / "set").stat().st_mode & 0o077 == 0
    assert all(file.stat().st_mode & 0o077 == 0 for file in (tmp_path / "set").iterdir())


def test_a_set_that_was_changed_or_has_no_manifest_is_refused(
    farmgate: Farmgate, orders: Database, tmp_path: Path
) -> None:
    folder = tmp_path / "set"
    farmgate("backup", str(folder))
    with (folder / "orders.db").open("r+b") as file:
        file.seek(5000)
        file.write(b"\xff\xfe")

    changed = farmgate("restore", str(folder), "--yes")
    (folder / "manifest.json").unlink()
    without = farmgate("restore", str(folder), "--yes")

    assert changed.exit_code == without.exit_code == 1
    assert "was changed or damaged" in changed.output
    assert "not a complete set" in without.output
    assert positions(orders) == [1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found: found.update(format=2), "has format 2"),
        (lambda found: found["parts"][1].update(revision="orders_9999"), "revision orders_9999"),
        (lambda found: found["parts"][1].update(file="../orders.db"), "damaged"),
    ],
)
def test_what_a_newer_version_made_is_refused(
    farmgate: Farmgate,
    orders: Database,
    tmp_path: Path,
    change: Callable[[dict[str, object]], None],
    said: str,
) -> None:
    folder = tmp_path / "set"
    farmgate("backup", str(folder))
    found = json.loads((folder / "manifest.json").read_text())
    change(found)
    (folder / "manifest.json").write_text(json.dumps(found))

    refused = farmgate("restore", str(folder), "--yes")

    assert refused.exit_code == 1
    assert said in refused.output


def test_a_backup_that_fails_leaves_nothing(
    farmgate: Farmgate, orders: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sets").mkdir()

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("farmgate.backup.programs.copy_sqlite", full)
    failed = farmgate("backup", str(tmp_path / "sets" / "today"))

    assert failed.exit_code == 1
    assert "No space left" in failed.output
    assert list((tmp_path / "sets").iterdir()) == []


def test_an_outbox_that_cannot_be_locked_is_named(
    farmgate: Farmgate, orders: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "LOCK_SECONDS", 0.2)
    monkeypatch.setattr(snapshots, "PAUSE", 0.0)

    with orders.sessions.begin() as session:
        session.connection()
        busy = farmgate("backup", str(tmp_path / "set"))

    assert busy.exit_code == 1
    assert "outbox of orders could not be locked" in busy.output
    assert not (tmp_path / "set").exists()
    publish(orders, 2)  # the lock is released


def test_a_copy_does_not_have_what_was_written_after_the_snapshot(
    orders: Database, tmp_path: Path
) -> None:
    settings = Settings.from_environment("orders", {"FARMGATE_ORDERS_DATABASE_URL": orders.url})
    snapshot = snapshots.Snapshot(settings)
    try:
        snapshots.take_all([snapshot])
        publish(orders, 2)  # after the snapshot, before it is copied
        snapshot.dump(tmp_path / "copy.db", lambda done, total: None)
    finally:
        snapshot.close()

    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        assert copy.execute("SELECT count(*) FROM outbox").fetchone() == (1,)


def test_nothing_is_replaced_while_somebody_runs_or_says_no(
    farmgate: Farmgate, orders: Database, data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "set"
    farmgate("backup", str(folder))
    publish(orders, 2)

    with lock_data_folder(data):
        running = farmgate("restore", str(folder), "--yes")
    with orders.sessions.begin() as session:
        session.connection()
        connected = farmgate("restore", str(folder), "--yes")
    orders.close()
    declined = farmgate("restore", str(folder))

    assert running.exit_code == connected.exit_code == declined.exit_code == 1
    assert "already runs" in running.output
    assert "in use" in connected.output
    assert "Replace the present databases?" in declined.output
    assert positions(orders) == [1, 2]


def test_a_restored_service_starts_anew_and_what_nobody_heard_goes_out_again(
    farmgate: Farmgate, orders: Database, data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "set"
    publish(orders, 2)
    with orders.readers() as session:
        heard = session.scalars(select(Outbox.event_id).order_by(Outbox.id)).first()
    # Catalog and notifications, who listen, know the first one; the second was on its way.
    for name in NAMES:
        listener = Database(f"sqlite:///{data}/{name}.db")
        with listener.sessions.begin() as session:
            session.execute(
                insert(Inbox).values(
                    event_id=heard,
                    type=PLACED,
                    subject="order/1",
                    sequence=1,
                    recorded_at=clock.now(),
                    handled_at=clock.now(),
                )
            )
        listener.close()
    farmgate("backup", str(folder))
    publish(orders, 3)
    orders.close()

    done = farmgate("restore", str(folder), "--yes", "--json")

    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["again"] == {"orders": 1}
    assert positions(orders) == [1, None]
    with orders.readers() as session:
        state = session.scalars(select(RelayState)).one()
    assert (state.position, state.epoch) == (1, told["epochs"]["orders"])
    assert state.epoch > 1
    kept = Database(f"sqlite:///{told['kept']['orders']}")
    assert positions(kept) == [1, 2, 3]
    kept.close()


def killed_at(place: str, *arguments: str) -> None:
    """Run the command and kill it where it would call `place`, a function of `farmgate.backup`."""
    module, _, name = place.rpartition(".")
    script = (
        f"import os, signal; from farmgate.backup import {module}; "
        f"{module}.{name} = lambda *_: os.kill(os.getpid(), signal.SIGKILL); "
        "from farmgate.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", script, *arguments], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL


def test_a_killed_restore_leaves_the_old_data_and_may_be_run_again(
    farmgate: Farmgate, orders: Database, tmp_path: Path
) -> None:
    folder = tmp_path / "set"
    farmgate("backup", str(folder))
    publish(orders, 2)
    orders.close()

    killed_at("replacing._keep_old", "restore", str(folder), "--yes", "--service", "orders")
    assert positions(orders) == [1, 2]
    orders.close()
    again = farmgate("restore", str(folder), "--yes", "--service", "orders")

    assert again.exit_code == 0, again.output
    assert positions(orders) == [None]


def test_a_killed_backup_is_no_set(farmgate: Farmgate, orders: Database, tmp_path: Path) -> None:
    killed_at("manifest.write", "backup", str(tmp_path / "set"))

    (partial,) = tmp_path.glob(".set.*.partial")
    assert not (tmp_path / "set").exists()
    assert "not a complete set" in farmgate("restore", str(partial), "--yes").output
    assert farmgate("backup", str(tmp_path / "set")).exit_code == 0


@pytest.mark.postgres
def test_postgresql_keeps_what_it_has_when_a_dump_ends_early(
    postgres: Callable[[str], str], tmp_path: Path
) -> None:
    url = postgres("orders")
    migrations.upgrade("orders", url)
    database = Database(url)
    publish(database, 1)
    settings = Settings.from_environment("orders", {"FARMGATE_ORDERS_DATABASE_URL": url})
    snapshot = snapshots.Snapshot(settings)
    try:
        snapshots.take_all([snapshot])
        rows = snapshot.metadata()["rows"]
        snapshot.dump(tmp_path / "orders.dump", lambda done, total: None)
    finally:
        snapshot.close()
    publish(database, 2)

    with pytest.raises(Failed, match="outbox has 1 rows, not 7"):
        programs.load_postgresql(
            url, tmp_path / "orders.dump", rows | {"outbox": 7}, lambda done, total: None
        )
    kept = positions(database)
    database.close()
    programs.load_postgresql(url, tmp_path / "orders.dump", rows, lambda done, total: None)

    assert kept == [1, 2]
    assert positions(database) == [1]
    database.close()
