"""Rows that wait longer than their limit are found by kind, while they wait."""

from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from shared.messaging.tables import Inbox
from shared.runtime import clock, late
from shared.runtime.database import Database
from shared.runtime.errors import Misconfigured
from shared.runtime.ids import new_id
from shared.runtime.late import Late, find, limits_of

#: Events handled long ago stand for what waits: a moment, an id, and a word to choose by.
LATES = (
    Late("slow", Inbox.event_id, Inbox.handled_at, Inbox.type == "slow", "SLOW_SECONDS", 60),
    Late("slower", Inbox.event_id, Inbox.handled_at, Inbox.type == "slower", "SLOWER_SECONDS", 600),
)


@pytest.fixture
def wait(database: Database) -> Callable[[str, int], UUID]:
    """Let something wait, for so many seconds already; return its id."""

    def add(kind: str, seconds: int) -> UUID:
        since = clock.now() - timedelta(seconds=seconds)
        row = Inbox(
            event_id=new_id(),
            type=kind,
            subject="s",
            sequence=1,
            recorded_at=since,
            handled_at=since,
        )
        with database.sessions.begin() as session:
            session.add(row)
            return row.event_id

    return add


def found(database: Database, **settings: str) -> dict[str, list[UUID]]:
    with database.readers() as session:
        cases = find(session, LATES, limits_of(LATES, settings))
    return {kind: [case.traced_by for case in each] for kind, each in cases.items()}


def test_each_kind_is_late_after_its_own_limit(
    database: Database, wait: Callable[[str, int], UUID]
) -> None:
    slow = wait("slow", 61)
    wait("slow", 50)
    wait("slower", 61)

    assert found(database) == {"slow": [slow], "slower": []}


def test_a_limit_may_be_set(database: Database, wait: Callable[[str, int], UUID]) -> None:
    slower = wait("slower", 61)

    assert found(database, SLOWER_SECONDS="60") == {"slow": [], "slower": [slower]}
    with pytest.raises(Misconfigured, match="SLOWER_SECONDS"):
        limits_of(LATES, {"SLOWER_SECONDS": "soon"})


def test_the_longest_waiting_come_first_and_not_more_than_anybody_reads(
    database: Database, wait: Callable[[str, int], UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late, "MOST", 2)
    waiting = {seconds: wait("slow", seconds) for seconds in (100, 300, 200)}

    assert found(database)["slow"] == [waiting[300], waiting[200]]


def test_a_service_without_such_kinds_asks_for_nothing(database: Database) -> None:
    with database.readers() as session:
        assert find(session, (), {}) == {}


def test_since_is_a_moment_in_utc(database: Database, wait: Callable[[str, int], UUID]) -> None:
    wait("slow", 3600)

    with database.readers() as session:
        (case,) = find(session, LATES, limits_of(LATES, {}))["slow"]

    assert isinstance(case.since, datetime)
    assert timedelta(minutes=59) < clock.now() - case.since < timedelta(minutes=61)
