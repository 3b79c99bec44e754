"""Orders' migrations on databases that hold data already."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import pytest
from alembic import command
from sqlalchemy import Connection, MetaData, create_engine, insert, select

from services.orders.models import CashEntry, Custody, Remittance, Shift
from services.orders.rules.cash import custody_id
from shared.runtime import clock, migrations
from shared.runtime.ids import new_id

#: By site, the names under which custodies were kept, and what each holds.
HELD = {"Zoë": 100, "Zoe\u0308": 20, " Zoë  ": 3, "卓  嘎": 7, "扎西": 5}


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/orders.db"
    made: str = request.getfixturevalue("postgres")("orders")
    return made


def _fill(connection: Connection, site_id: UUID) -> None:
    metadata, moment = MetaData(), clock.now()
    tables: dict[str, Any] = {}
    for model in (Custody, CashEntry, Remittance, Shift):
        tables[model.__tablename__] = model.__table__.to_metadata(metadata)
    for number, (clerk, fen) in enumerate(HELD.items(), 1):
        whose = {"site_id": site_id, "clerk": clerk}
        counted = {"collected_fen": fen, "refunded_fen": 0, "remitted_fen": 0}
        rows = {
            "custodies": whose
            | counted
            | {"id": uuid5(site_id, clerk), "written_off_fen": 0, "held_fen": fen},
            "remittances": whose
            | {"sent_fen": 1, "counted_fen": 1, "recorded_by": "x", "remitted_at": moment},
            "cash_entries": whose | {"amount_fen": fen, "cause": "sale", "at": moment},
            "shifts": whose
            | {"device_id": site_id, "epoch": 1, "number": number, "device_code": "T-1"},
        }
        for name, row in rows.items():
            connection.execute(insert(tables[name]).values({"id": new_id()} | row))


def test_custodies_of_names_that_look_the_same_become_one(url: str) -> None:
    engine, site_id = create_engine(url), new_id()
    step: Callable[..., None] = command.upgrade
    with engine.begin() as connection:
        step(migrations.config_of("orders", connection), "0006")
        _fill(connection, site_id)
    with engine.begin() as connection:
        step(migrations.config_of("orders", connection), "0007")

    with engine.connect() as connection:
        chosen = select(Custody.id, Custody.clerk, Custody.collected_fen, Custody.held_fen)
        held = {row.clerk: row for row in connection.execute(chosen)}
        named = {
            model.__tablename__: sorted(connection.scalars(select(model.clerk)))
            for model in (CashEntry, Remittance, Shift)
        }
    engine.dispose()
    assert {clerk: row.held_fen for clerk, row in held.items()} == {
        "Zoë": 123,
        "卓 嘎": 7,
        "扎西": 5,
    }
    assert all(row.collected_fen == row.held_fen for row in held.values())
    assert all(row.id == custody_id(site_id, clerk) for clerk, row in held.items())
    names = ["Zoë", "Zoë", "Zoë", "卓 嘎", "扎西"]
    assert named == dict.fromkeys(named, names)
