"""`farmgate migrate` and the database that it finds."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, inspect, text

from shared.runtime import migrations
from tests.farmgate.conftest import Farmgate

Refused = Callable[[str], str]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty database, which is that of orders."""
    if request.param == "sqlite":
        made = f"sqlite:///{tmp_path}/orders.db"
    else:
        made = request.getfixturevalue("postgres")("orders")
    monkeypatch.setenv("FARMGATE_DATA", str(tmp_path / "var"))
    monkeypatch.setenv("FARMGATE_ORDERS_DATABASE_URL", made)
    return made


@pytest.fixture
def refused(url: str, farmgate: Farmgate) -> Refused:
    """Let the database be at a revision, and return in which words migrating it is refused."""

    def ask(revision: str) -> str:
        migrations.upgrade("orders", url)
        engine = create_engine(url, poolclass=NullPool)
        with engine.begin() as connection:
            connection.execute(
                text("UPDATE alembic_version SET version_num = :it"), {"it": revision}
            )
        result = farmgate("migrate", "orders")
        with engine.begin() as connection:
            assert connection.scalars(text("SELECT version_num FROM alembic_version")).all() == [
                revision
            ]
        assert result.exit_code == 1
        return result.output

    return ask


def test_a_database_is_migrated_once_and_the_second_time_stays_as_it_is(
    url: str, farmgate: Farmgate
) -> None:
    first, second = farmgate("migrate", "orders"), farmgate("migrate", "orders")

    assert (first.exit_code, second.exit_code) == (0, 0)
    newest, known = migrations.revisions("orders", url)
    assert newest == known
    assert first.output == second.output == f"orders: revision {newest}\n"


def test_several_migrate_one_database_at_the_same_time(url: str) -> None:
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "farmgate", "migrate", "orders"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(3)
    ]

    said = [process.communicate(timeout=60)[0] for process in started]

    assert [process.returncode for process in started] == [0, 0, 0], said


def test_a_migration_that_is_killed_leaves_nothing_and_is_run_again(url: str) -> None:
    program = """if True:
        import os, sys
        from sqlalchemy import Engine, event
        from shared.runtime import migrations

        @event.listens_for(Engine, "before_cursor_execute")
        def die(connection, cursor, statement, *rest):
            if "parked_events" in statement:
                os._exit(9)

        migrations.upgrade("orders", sys.argv[1])
    """
    died = subprocess.run([sys.executable, "-c", program, url], timeout=60)
    assert died.returncode == 9
    engine = create_engine(url, poolclass=NullPool)
    assert inspect(engine).get_table_names() == []

    migrations.upgrade("orders", url)

    assert "parked_events" in inspect(engine).get_table_names()


def test_the_database_of_a_newer_version_is_refused_in_words_and_left_alone(
    refused: Refused,
) -> None:
    said = refused("orders_9999")

    assert "of another version of Farmgate" in said
    assert "orders_9999" in said
    assert "restore a backup" in said


def test_whoever_has_a_database_of_before_0_2_0_is_told_how_to_begin_anew(
    refused: Refused, url: str, tmp_path: Path
) -> None:
    said = refused("0009")

    assert "made before Farmgate 0.2.0 (revision 0009)" in said
    how = f"{tmp_path / 'var'} away (mv)" if url.startswith("sqlite") else "down --volumes"
    assert how in said


def test_the_database_of_another_service_is_refused_by_the_setting_that_names_it(
    refused: Refused,
) -> None:
    said = refused("catalog_0001")

    assert "FARMGATE_ORDERS_DATABASE_URL names the database of catalog" in said
