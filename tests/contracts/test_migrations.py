"""Migrations only expand: the version before runs on beside the next one, on the same tables.

What is removed or made narrower needs two releases: one that no longer uses it, and a later one
that takes it away, for which this test gets an exception by name (docs/operations.md).
"""

import importlib
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from farmgate.services import NAMES
from shared.messaging import tables  # noqa: F401 (the models of the messaging tables)
from shared.runtime import migrations
from shared.runtime.tables import SharedBase

#: Table → column → how it looks.
Tables = dict[str, dict[str, dict[str, Any]]]


def history(service: str) -> list[str]:
    scripts = ScriptDirectory.from_config(migrations.config_of(service))
    return [script.revision for script in reversed(list(scripts.walk_revisions()))]


def tables_of(connection: Connection) -> Tables:
    told = inspect(connection)
    return {
        table: {str(column["name"]): dict(column) for column in told.get_columns(table)}
        for table in told.get_table_names()
        if table != "alembic_version"
    }


def checks_of(connection: Connection) -> dict[str, str]:
    told = inspect(connection)
    return {
        str(check["name"]): str(check["sqltext"])
        for table in told.get_table_names()
        for check in told.get_check_constraints(table)
    }


def narrowed(before: Tables, after: Tables) -> list[str]:
    """Return what a program that knows the tables before can no longer do with those after."""
    found = [f"table {table} is gone" for table in before.keys() - after.keys()]
    for table in before.keys() & after.keys():
        old, new = before[table], after[table]
        found += [f"{table}.{column} is gone" for column in old.keys() - new.keys()]
        for column in old.keys() & new.keys():
            if str(old[column]["type"]) != str(new[column]["type"]):
                found.append(f"{table}.{column} is of another type")
            if old[column]["nullable"] and not new[column]["nullable"]:
                found.append(f"{table}.{column} must be given now")
        found += [
            f"{table}.{column} is new and must be given"
            for column in new.keys() - old.keys()
            if not new[column]["nullable"] and new[column]["default"] is None
        ]
    return found


def words(check: str) -> set[str]:
    return set(re.findall("'([^']*)'", check))


def left_out(service: str, url: str) -> list[str]:
    """Migrate an empty database; return what each revision takes from the version before."""
    engine = sa.create_engine(url)
    first, *later = history(service)
    with engine.begin() as connection:
        command.upgrade(migrations.config_of(service, connection), first)
    found = []
    for revision in later:
        with engine.connect() as connection:
            before, old_checks = tables_of(connection), checks_of(connection)
        with engine.begin() as connection:
            command.upgrade(migrations.config_of(service, connection), revision)
        with engine.connect() as connection:
            after, new_checks = tables_of(connection), checks_of(connection)
        found += [f"{revision}: {what}" for what in narrowed(before, after)]
        for name in old_checks.keys() & new_checks.keys():
            lost = sorted(words(old_checks[name]) - words(new_checks[name]))
            found += [f"{revision}: {name} no longer allows {word}" for word in lost]
    engine.dispose()
    return found


@pytest.mark.parametrize("service", NAMES)
def test_each_revision_leaves_room_for_the_version_before(service: str, tmp_path: Path) -> None:
    assert left_out(service, f"sqlite:///{tmp_path / 'it.db'}") == []


@pytest.mark.parametrize("service", NAMES)
def test_a_database_checks_what_the_models_say_and_no_more(service: str, tmp_path: Path) -> None:
    """Alembic's comparison of models and database leaves CHECK constraints out."""
    url = f"sqlite:///{tmp_path / 'migrated.db'}"
    migrations.upgrade(service, url)
    migrated, modelled = sa.create_engine(url), sa.create_engine(f"sqlite:///{tmp_path / 'it.db'}")
    models = importlib.import_module(f"services.{service}.models")
    for metadata in (models.Base.metadata, SharedBase.metadata):
        metadata.create_all(modelled)

    checked, said = (
        {
            (table, check["sqltext"])
            for table in inspect(engine).get_table_names()
            for check in inspect(engine).get_check_constraints(table)
        }
        for engine in (migrated, modelled)
    )
    migrated.dispose()
    modelled.dispose()

    assert checked == said


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy orders' migrations, to which a test may add, into a folder that is used instead."""
    folder = tmp_path / "migrations"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(migrations.folder("orders"), folder, ignore=ignored)
    monkeypatch.setattr(migrations, "folder", lambda service: folder)
    return folder


def add_revision(folder: Path, steps: str) -> str:
    """Add orders' next revision with these steps; return its number."""
    before = max((folder / "versions").glob("[0-9]*.py")).name[:4]
    number = f"{int(before) + 1:04d}"
    (folder / "versions" / f"{number}_made_up.py").write_text(
        "import sqlalchemy as sa\n"
        "from alembic import op\n"
        f"revision, down_revision = 'orders_{number}', 'orders_{before}'\n"
        f"def upgrade():\n    {steps}\n",
        encoding="utf-8",
    )
    return number


def test_a_revision_may_add_a_column_and_a_later_one_may_not_drop_it(
    copied: Path, tmp_path: Path
) -> None:
    add_revision(copied, "op.add_column('orders', sa.Column('note', sa.Text()))")
    last = add_revision(copied, "op.drop_column('orders', 'note')")

    found = left_out("orders", f"sqlite:///{tmp_path / 'it.db'}")

    assert found == [f"orders_{last}: orders.note is gone"]


def test_the_next_revision_is_named_for_its_service_and_adds_what_the_models_have_more(
    copied: Path,
) -> None:
    last = add_revision(copied, "op.drop_index('ix_orders_arrival', 'orders')")

    migrations.revise("orders", "an index again")

    next_ = f"{int(last) + 1:04d}"
    assert history("orders")[-2:] == [f"orders_{last}", f"orders_{next_}"]
    (written,) = copied.glob(f"versions/{next_}_*.py")
    steps = written.read_text(encoding="utf-8").partition("def upgrade")[2]
    assert re.findall(r"op\.[a-z]{2,}.*'orders'", steps) == [
        "op.create_index(op.f('ix_orders_arrival'), 'orders'"
    ]


def test_what_a_program_of_before_would_trip_over_is_told() -> None:
    def column(kind: str, nullable: bool = True, default: str | None = None) -> dict[str, Any]:
        return {"type": kind, "nullable": nullable, "default": default}

    before = {"orders": {"id": column("CHAR", False), "note": column("TEXT")}, "old": {}}
    after = {
        "orders": {
            "id": column("INTEGER", False),
            "note": column("TEXT", False),
            "given": column("TEXT", False),
            "known": column("TEXT", False, "'x'"),
        }
    }
    assert sorted(narrowed(before, after)) == [
        "orders.given is new and must be given",
        "orders.id is of another type",
        "orders.note must be given now",
        "table old is gone",
    ]
    assert narrowed(after, {"orders": {}})[0].endswith("is gone")
