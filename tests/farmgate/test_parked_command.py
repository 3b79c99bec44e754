"""`farmgate parked` against running services."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import delete

from farmgate.cli import main
from shared.events import OrderPaid
from shared.messaging import parked
from shared.messaging.envelope import decode
from shared.messaging.tables import Parked, ParkedAction
from shared.runtime.config import Settings
from shared.runtime.database import Database
from tests.support import probe, processes
from tests.support.processes import Processes
from tests.support.servers import wait_until

Run = Callable[..., Result]

# One system for all of them, so one worker.
pytestmark = pytest.mark.xdist_group("parked_command")


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """The embedded system, empty, for all tests of this file."""
    with processes.embedded(tmp_path_factory.mktemp("system")) as made:
        made.start()
        yield made


@contextmanager
def parking_in(service: str, system: Processes) -> Iterator[Database]:
    """Open the database of a service; it ends with no parked event, and no deed."""
    database = Database(Settings.from_environment(service, system.environment).database_url)
    yield database
    with database.sessions.begin() as session:
        session.execute(delete(Parked))
        session.execute(delete(ParkedAction))
    database.close()


@pytest.fixture
def logistics(system: Processes) -> Iterator[Database]:
    """The database in which events are parked here."""
    with parking_in("logistics", system) as database:
        yield database


@pytest.fixture
def catalog(system: Processes) -> Iterator[Database]:
    """Another one."""
    with parking_in("catalog", system) as database:
        yield database


@pytest.fixture
def run(system: Processes, monkeypatch: pytest.MonkeyPatch) -> Run:
    for name, value in system.environment.items():
        monkeypatch.setenv(name, value)

    def call(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, ["parked", *arguments])
        assert result.exit_code == code, result.output
        return result

    return call


def park(database: Database, state: str = "dead", error: str = "ValueError at x.py:1") -> UUID:
    """Park an event that logistics does not listen to, so that a retry settles it."""
    facts = {"order_ref": "ORD-1", "amount_fen": 1, "method": "prepaid"}
    event = probe.event_of(OrderPaid, order_id=uuid4(), **facts)
    with database.sessions.begin() as session:
        parked.park(session, event, "handler_failed", error, state)
    return event.event_id


def listed(run: Run, *options: str) -> list[dict[str, Any]]:
    return list(json.loads(run("list", "--json", *options).output))


def test_nothing_parked_is_said_in_a_sentence(run: Run, logistics: Database) -> None:
    assert "Nothing is parked" in run("list").output
    assert "No event was replayed" in run("history").output
    assert listed(run) == []


def test_what_is_parked_is_shown_by_error_and_each_by_itself(run: Run, logistics: Database) -> None:
    ids = {str(park(logistics)) for _ in range(3)}
    assert "ValueError at x.py:1" in run("list").output.replace("\n", " ")
    (group,) = listed(run)
    assert (group["service"], group["count"]) == ("logistics", 3)
    assert {row["event_id"] for row in listed(run, "--all")} == ids
    assert listed(run, "--service", "orders") == []
    shown = run("show", ids.pop()).output
    assert "handler_failed" in shown
    assert '"amount_fen": 1' in shown


def test_replayed_events_take_effect_and_the_deed_is_kept(run: Run, logistics: Database) -> None:
    event_id = park(logistics)
    told = run("replay", str(event_id), "--why", "fixed").output
    assert "1 in logistics" in told
    wait_until(lambda: listed(run) == [], 20, "the replayed event took effect")
    (deed,) = [row for row in json.loads(run("history", "--json").output) if row["why"] == "fixed"]
    assert (deed["event_id"], deed["action"], deed["actor"]) == (
        str(event_id),
        "replay",
        "operator",
    )
    assert "No failed event matches" in run("replay", "--all").output


def test_a_group_is_replayed(run: Run, logistics: Database) -> None:
    for _ in range(3):
        park(logistics)
    assert "3 in logistics" in run("replay", "--reason", "handler_failed").output
    wait_until(lambda: listed(run) == [], 20, "the replayed events took effect")


def deeds(run: Run, why: str) -> list[dict[str, Any]]:
    return [row for row in json.loads(run("history", "--json").output) if row["why"] == why]


def test_an_edited_event_takes_effect_and_the_deed_is_kept(
    run: Run, logistics: Database, tmp_path: Path
) -> None:
    one, other = str(park(logistics)), str(park(logistics))
    data = json.loads(run("show", one, "--json").output)["payload"]
    file = tmp_path / "data.json"
    file.write_text(json.dumps(data | {"amount_fen": 7}), encoding="utf-8")

    run("edit", one, "--data", str(file), "--why", "no", code=1)  # asked, and nobody said yes
    assert len(listed(run)) == 1
    told = run("edit", one, "--data", str(file), "--reason", "from a file", "--yes").output
    assert "the events behind it follow (0)" in told
    changes = ("--set", "amount_fen=8", "--set", "order_ref=ORD-8")
    edited = json.loads(run("edit", other, *changes, "--why", "two", "--yes", "--json").output)

    assert (edited["service"], edited["state"]) == ("logistics", "waiting")
    wait_until(lambda: listed(run) == [], 20, "the edited events took effect")
    (deed,) = deeds(run, "from a file")
    assert (deed["action"], deed["actor"]) == ("edit", "operator")
    assert (deed["before"], deed["after"]) == (data, data | {"amount_fen": 7})
    (deed,) = deeds(run, "two")
    assert (deed["after"]["amount_fen"], deed["after"]["order_ref"]) == (8, "ORD-8")


def test_an_edit_that_is_refused_says_by_field_why(run: Run, logistics: Database) -> None:
    event_id = str(park(logistics))

    told = run("edit", event_id, "--set", "amount_fen=-1", "--why", "x", "--yes", code=1).output

    assert "'amount_fen': ['Expected `int` >= 0']" in " ".join(told.split())
    assert len(listed(run)) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--why", "x"), "Give either --data FILE or --set"),
        (("--why", "x", "--set", "a=1", "--data", "-"), "Give either --data FILE or --set"),
        (("--why", "x", "--set", "amount_fen"), "write PATH=VALUE"),
        (("--why", "x", "--data", "-"), "no JSON"),
        (("--set", "a=1"), "Missing option"),
    ],
)
def test_an_edit_in_wrong_words_says_which(run: Run, arguments: tuple[str, ...], said: str) -> None:
    assert said in run("edit", str(uuid4()), *arguments, code=2).output


def test_a_discard_asks_first(run: Run, system: Processes, logistics: Database) -> None:
    event_id = str(park(logistics))
    run("discard", event_id, code=2)  # without a reason
    run("discard", event_id, "--why", "no", code=1)  # asked, and nobody said yes
    assert len(listed(run)) == 1
    assert "Discarded" in run("discard", event_id, "--why", "a test of ours", "--yes").output
    assert listed(run) == []
    assert "not parked" in run("discard", event_id, "--why", "x", "--yes", code=1).output


def test_wrong_usage_says_what_to_name(run: Run) -> None:
    assert "Name either events" in run("replay", code=2).output
    assert "Name either events" in run("replay", str(uuid4()), "--all", code=2).output
    assert "not parked" in run("replay", str(uuid4()), code=1).output
    run("show", "ORD-1", code=2)


def test_an_event_parked_in_two_services_is_named_by_its_service(
    run: Run, logistics: Database, catalog: Database
) -> None:
    event_id = park(logistics)
    with logistics.readers() as reader, catalog.sessions.begin() as session:
        row = reader.get(Parked, event_id)
        assert row is not None
        parked.park(session, decode(row.body), "handler_failed", None, "dead")

    assert "catalog and logistics" in run("show", str(event_id), code=1).output.replace("\n", " ")
    run("discard", str(event_id), "--why", "a test", "--yes", "--service", "catalog")
    assert "logistics" in run("show", str(event_id)).output
