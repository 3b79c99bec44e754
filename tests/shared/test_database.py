"""What a failed transaction calls for, told from its error."""

import socket
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from shared.database import Database, Trouble, trouble_of


def test_a_database_that_takes_connections_and_says_nothing_is_away() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        database = Database(f"postgresql://farmgate@127.0.0.1:{port}/farmgate")
        with pytest.raises(OperationalError) as raised, database.sessions() as session:
            session.execute(text("SELECT 1"))
        database.close()

    assert trouble_of(raised.value) is Trouble.AWAY


def test_a_database_that_nobody_is_at_is_away() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    database = Database(f"postgresql://farmgate@127.0.0.1:{port}/farmgate")
    with pytest.raises(OperationalError) as raised, database.sessions() as session:
        session.execute(text("SELECT 1"))
    database.close()

    assert trouble_of(raised.value) is Trouble.AWAY


def test_a_table_that_is_missing_calls_for_somebody(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/empty.db")
    with pytest.raises(OperationalError) as raised, database.sessions() as session:
        session.execute(text("SELECT 1 FROM nowhere"))
    database.close()

    assert trouble_of(raised.value) is Trouble.OTHER
