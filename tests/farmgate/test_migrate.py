"""`farmgate migrate` and the database that it finds."""

import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner

from farmgate.cli import main
from farmgate.failures import Failed


def test_the_database_of_a_newer_version_is_refused_in_words_and_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARMGATE_DATA", str(tmp_path))
    path = tmp_path / "orders.db"
    monkeypatch.setenv("FARMGATE_ORDERS_DATABASE_URL", f"sqlite:///{path}")
    assert CliRunner().invoke(main, ["migrate", "orders"]).exit_code == 0
    with sqlite3.connect(path) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")

    refused = CliRunner().invoke(main, ["migrate", "orders"])

    assert refused.exit_code == Failed.exit_code
    assert "of another version of Farmgate" in refused.output
    assert "9999" in refused.output
    assert "restore a backup" in refused.output
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]
