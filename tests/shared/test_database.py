"""What a failed transaction calls for, told from its error."""

import socket
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from shared.database import Database, Trouble, trouble_of


def trouble_with(url: str, statement: str = "SELECT 1") -> Trouble:
    database = Database(url)
    with pytest.raises(OperationalError) as raised, database.sessions() as session:
        session.execute(text(statement))
    database.close()
    return trouble_of(raised.value)


@pytest.mark.parametrize("listens", [True, False])
def test_a_database_that_says_nothing_or_is_not_there_is_away(listens: bool) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        if listens:
            silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        assert trouble_with(f"postgresql://farmgate@{address}/farmgate") is Trouble.AWAY


def test_a_table_that_is_missing_calls_for_somebody(tmp_path: Path) -> None:
    trouble = trouble_with(f"sqlite:///{tmp_path}/empty.db", "SELECT 1 FROM nowhere")
    assert trouble is Trouble.OTHER
