"""Catalog's migrations on databases that hold data already."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.exc import DBAPIError

from shared.runtime import migrations
from shared.runtime.clock import now
from shared.runtime.ids import new_id


def at_revision(url: str, revision: str, step: Callable[..., Any] = command.upgrade) -> None:
    """Bring a database to a revision."""
    engine = create_engine(url)
    with engine.begin() as connection:
        step(migrations.config_of("catalog", connection), revision)
    engine.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/catalog.db"
    made: str = request.getfixturevalue("postgres")("catalog")
    return made


def fill(url: str) -> None:
    """Put a lot with a movement into a database of before the stations."""
    ids = {name: new_id().hex for name in ("site", "producer", "product", "variant", "lot", "m")}
    rows = [
        "INSERT INTO locations (id, code, level, names, is_open)"
        " VALUES (:site, 'C', 'centre', '{}', true)",
        "INSERT INTO enterprises (id, code, names, roles, status, version)"
        " VALUES (:producer, 'P', '{}', '[]', 'active', 1)",
        "INSERT INTO products (id, code, names, category, perishable, status, version)"
        " VALUES (:product, 'M', '{}', 'fungi', true, 'listed', 1)",
        "INSERT INTO variants (id, product_id, sku, grade, unit, pack_quantity, min_life_days,"
        " version) VALUES (:variant, :product, 'M-1', '1', 'g', 500, 0, 0)",
        "INSERT INTO lots (id, code, variant_id, producer_id, harvest_date, status, version)"
        " VALUES (:lot, 'L', :variant, :producer, '2026-08-20', 'released', 1)",
        "INSERT INTO stock_levels (id, lot_id, location_id, available, reserved, committed,"
        " allotted, held, damaged) VALUES (:lot, :lot, :site, 7, 0, 0, 0, 0, 0)",
        "INSERT INTO stock_movements (id, lot_id, location_id, from_bucket, to_bucket, quantity,"
        " reason, cause, actor, at)"
        " VALUES (:m, :lot, :site, 'received', 'available', 7, 'received', 'c', 'a', :at)",
    ]
    engine = create_engine(url)
    with engine.begin() as connection:
        for row in rows:
            names = {name: value for name, value in ids.items() if f":{name}" in row}
            at = {"at": now() if engine.name == "postgresql" else now().isoformat(" ")}
            connection.execute(text(row), names | (at if ":at" in row else {}))
    engine.dispose()


def test_stations_come_to_a_database_that_holds_a_ledger(url: str) -> None:
    at_revision(url, "0002")
    fill(url)

    migrations.upgrade("catalog", url)

    engine = create_engine(url)
    with engine.begin() as connection:
        movement = connection.execute(text("SELECT * FROM stock_movements")).one()
        assert (movement.quantity, movement.allotment_id, movement.sale_id) == (7, None, None)
        copied = ", ".join(
            column if column not in ("id", "reason") else {"id": ":id", "reason": ":why"}[column]
            for column in movement._fields
        )
        # The longest reason fits, and the ledger still can only be added to.
        connection.execute(
            text(f"INSERT INTO stock_movements SELECT {copied} FROM stock_movements"),
            {"id": new_id().hex, "why": "allotment_returned"},
        )
    with pytest.raises(DBAPIError), engine.begin() as connection:
        connection.execute(text("UPDATE stock_movements SET quantity = 8"))
    engine.dispose()


def test_stations_can_be_taken_out_again(url: str) -> None:
    migrations.upgrade("catalog", url)

    at_revision(url, "0002", command.downgrade)

    engine = create_engine(url)
    tables = inspect(engine).get_table_names()
    assert "allotments" not in tables and "stock_movements" in tables
    engine.dispose()
