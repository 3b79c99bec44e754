"""What operators did may be an edit, while processes of the release before go on noting theirs."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.exc import IntegrityError

from farmgate.services import NAMES
from shared.runtime import migrations
from shared.runtime.clock import now
from shared.runtime.ids import new_id

#: The revision that adds edits, and the one before it.
REVISIONS = {
    "catalog": ("0007", "0005"),
    "orders": ("0006", "0005"),
    "logistics": ("0005", "0004"),
    "notifications": ("0005", "0003"),
}


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def make_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """Make an empty database for a service."""
    if request.param == "sqlite":
        return lambda name: f"sqlite:///{tmp_path}/{name}.db"
    made: Callable[[str], str] = request.getfixturevalue("postgres")
    return made


@contextmanager
def transaction(url: str) -> Iterator[Connection]:
    # No pool: what is closed is closed, also after an error.
    with create_engine(url, poolclass=NullPool).begin() as connection:
        yield connection


def note(url: str, action: str, **more: str) -> None:
    """Note a deed in the words of the release before, which names its columns; `more` are newer."""
    moment = now() if url.startswith("postgresql") else now().isoformat(" ")
    values = {
        "id": new_id().hex,
        "event_id": new_id().hex,
        "type": "orders.order_paid.v1",
        "subject": "order/1",
        "action": action,
        "reason": "invalid",
        "error": None,
        "attempts": 12,
        "actor": "operator",
        "why": "x",
        "done_at": moment,
        **more,
    }
    columns = ", ".join(f'"{name}"' for name in values)
    places = ", ".join(f":{name}" for name in values)
    with transaction(url) as connection:
        connection.execute(
            text(f"INSERT INTO parked_actions ({columns}) VALUES ({places})"), values
        )


def actions(url: str) -> list[str]:
    with transaction(url) as connection:
        return list(connection.scalars(text("SELECT action FROM parked_actions ORDER BY id")))


def to_revision(name: str, url: str, revision: str, step: Callable[..., object]) -> None:
    with transaction(url) as connection:
        step(migrations.config_of(name, connection), revision)


@pytest.mark.parametrize("name", NAMES)
def test_edits_come_to_a_table_that_is_in_use_and_go_again(
    name: str, make_url: Callable[[str], str]
) -> None:
    url = make_url(name)
    revision, before = REVISIONS[name]
    to_revision(name, url, before, command.upgrade)
    note(url, "discard")
    with pytest.raises(IntegrityError):
        note(url, "edit")

    to_revision(name, url, revision, command.upgrade)

    note(url, "replay")  # the old process goes on
    note(url, "edit", before=json.dumps({"a": 1}), after=json.dumps({"a": 2}))
    with pytest.raises(IntegrityError):
        note(url, "burn")
    assert actions(url) == ["discard", "replay", "edit"]

    to_revision(name, url, before, command.downgrade)

    assert actions(url) == ["discard", "replay"]
    with pytest.raises(IntegrityError):
        note(url, "edit")
