"""What a failed transaction calls for, told from its error; how rows and connections are made."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, event, func, insert, select, text
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


@pytest.mark.postgres
def test_rows_that_are_added_together_are_sent_as_one_statement(
    postgres: Callable[..., str],
) -> None:
    database = Database(postgres("database"))
    sent_one_by_one: list[Any] = []
    event.listen(database.engine, "do_executemany", lambda *told: sent_one_by_one.append(told))
    things = Table("things", MetaData(), Column("number", Integer))
    with database.sessions.begin() as session:
        things.create(session.connection())
        session.execute(insert(things), [{"number": number} for number in range(300)])
        assert session.scalar(select(func.count()).select_from(things)) == 300
    database.close()

    assert sent_one_by_one == []


@pytest.mark.postgres
def test_the_server_asks_whether_a_silent_client_is_still_there(
    postgres: Callable[..., str],
) -> None:
    database = Database(postgres("database"))
    with database.readers() as session:
        assert session.scalar(text("SHOW tcp_keepalives_idle")) == "10"
    database.close()
