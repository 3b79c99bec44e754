"""A pool's connections are checked after a silence, and replaced if their server has gone."""

import sqlite3

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import QueuePool

from shared.runtime import database


@pytest.fixture
def engine() -> Engine:
    made = create_engine("sqlite://", poolclass=QueuePool)
    database._ping_after_silence(made)
    return made


def test_a_connection_that_was_just_in_use_is_not_pinged(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    pings: list[object] = []
    monkeypatch.setattr(engine.dialect, "do_ping", pings.append)

    for _ in range(3):
        engine.connect().close()
    assert pings == []

    monkeypatch.setattr(database, "UNPINGED_SECONDS", 0.0)
    engine.connect().close()
    assert len(pings) == 1
    engine.dispose()


def test_a_connection_whose_server_has_gone_is_replaced(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(connection: object) -> None:
        raise sqlite3.OperationalError("gone")

    with engine.connect() as first:
        before = first.connection.dbapi_connection
    monkeypatch.setattr(database, "UNPINGED_SECONDS", 0.0)
    monkeypatch.setattr(engine.dialect, "do_ping", fail)

    with engine.connect() as second:
        assert second.connection.dbapi_connection is not before
    engine.dispose()
