"""What a failed transaction calls for, told from its error; how rows and connections are made."""

import socket
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    Table,
    event,
    func,
    insert,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError, OperationalError

from shared.runtime.database import Database, DatabaseError, classify


def trouble_with(url: str, statement: str = "SELECT 1") -> DatabaseError:
    database = Database(url)
    with pytest.raises(OperationalError) as raised, database.sessions() as session:
        session.execute(text(statement))
    database.close()
    return classify(raised.value)


@pytest.mark.parametrize("listens", [True, False])
def test_a_database_that_says_nothing_or_is_not_there_is_away(listens: bool) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        if listens:
            silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        assert (
            trouble_with(f"postgresql://farmgate@{address}/farmgate") is DatabaseError.UNAVAILABLE
        )


def test_a_table_that_is_missing_calls_for_somebody(tmp_path: Path) -> None:
    trouble = trouble_with(f"sqlite:///{tmp_path}/empty.db", "SELECT 1 FROM nowhere")
    assert trouble is DatabaseError.OTHER


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


PLANTED = "6f0a4b5e-0d57-4e2b-9c43-1f8f5b3a9c11"


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("statement", "left"),
    [
        (f"INSERT INTO people VALUES ('{PLANTED}', 'Tashi Dolma', 'Lulang 7', 1)", "pk_people"),
        ("INSERT INTO people VALUES (gen_random_uuid(), 'Tashi Dolma', NULL, 1)", "place"),
        ("INSERT INTO people VALUES (gen_random_uuid(), 'Tashi Dolma', 'x', -1)", "ck_grams"),
        ("SELECT CAST('Tashi Dolma' AS uuid)", "invalid input syntax"),
        ("SELECT CAST(CAST('99999999999 Tashi Dolma' AS text) AS integer)", "integer"),
    ],
)
def test_an_error_of_postgresql_names_what_refused_and_no_value_of_the_row(
    postgres: Callable[..., str], statement: str, left: str
) -> None:
    database = Database(postgres("probe"))
    with database.sessions.begin() as session:
        session.execute(
            text(
                "CREATE TABLE people (id uuid CONSTRAINT pk_people PRIMARY KEY, name text, "
                "place text NOT NULL, grams int CONSTRAINT ck_grams CHECK (grams > 0))"
            )
        )
        session.execute(text(f"INSERT INTO people VALUES ('{PLANTED}', 'a', 'b', 1)"))

    with pytest.raises(DBAPIError) as raised, database.sessions() as session:
        session.execute(text(statement))
    database.close()

    error = raised.value
    told = f"{error.orig}{error.orig!r}{error.args}" + "".join(
        line.replace(statement, "") for line in traceback.format_exception(error)
    )
    assert left in told
    for word in (PLANTED, "DETAIL", "Lulang", "99999999999"):
        assert word not in told
    assert "Tashi" not in f"{error.orig}{error.args}"
