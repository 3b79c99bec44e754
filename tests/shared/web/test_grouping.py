"""Requests that wait at the same moment share a transaction, and each gets its own answer."""

import json
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from shared.messaging.tables import Outbox
from shared.runtime.config import Settings
from shared.runtime.database import Database
from shared.runtime.sealing import seal
from shared.runtime.tables import IdempotencyKey
from shared.web import idempotency
from shared.web.grouping import Grouping
from tests.support.servers import wait_until
from tests.support.together import deadlock_once, send_together

Headers = Callable[..., dict[str, str]]
Names = Callable[[], list[str]]
Together = Callable[..., list[Any]]
TOGETHER = "/api/things/v1/together"
ONLY_POSTGRESQL = pytest.mark.parametrize(
    "settings", [pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True
)


@pytest.fixture
def send(app: Flask, token: Headers) -> Callable[..., Any]:
    """Add a thing; `key` and `subject` name the request."""

    def post(name: str, grams: int = 5, key: str | None = None, subject: str = "operator") -> Any:
        headers = token("things:write", subject=subject)
        headers |= {"Idempotency-Key": key} if key else {}
        return app.test_client().post(
            TOGETHER, json={"name": name, "grams": grams}, headers=headers
        )

    return post


@pytest.fixture
def together(app: Flask, send: Callable[..., Any], door: Any) -> Together:
    """Send things that are one group: `together({"name": "a"}, …)`; returns their answers."""

    def do(*things: dict[str, Any]) -> list[Any]:
        door.inside.clear()
        door.opened.clear()
        return send_together(
            app,
            lambda: send("hold"),
            [lambda thing=thing: send(**thing) for thing in things],
            inside=door.inside,
            opened=door.opened,
        )

    return do


def some(*names: str) -> list[dict[str, Any]]:
    return [{"name": name} for name in names]


def statuses(answers: Sequence[Any]) -> list[int]:
    return [answer.status_code for answer in answers]


# --- The grouping by itself -----------------------------------------------------------------------


def test_an_item_that_finds_nobody_at_work_is_done_at_once_by_its_own_thread() -> None:
    done: list[tuple[list[str], int]] = []
    grouping = Grouping[str](lambda items: done.append(([*items], threading.get_ident())), 5)

    grouping.do("a")
    grouping.do("b")

    assert done == [(["a"], threading.get_ident()), (["b"], threading.get_ident())]


def test_items_that_wait_are_the_next_groups_in_their_order_and_each_has_a_largest_size() -> None:
    groups: list[list[int]] = []
    opened = threading.Event()

    def do_together(items: Sequence[int]) -> None:
        groups.append([*items])
        assert opened.wait(10)

    grouping = Grouping[int](do_together, 3)
    threads = []
    for item in range(6):
        threads.append(threading.Thread(target=grouping.do, args=(item,)))
        threads[-1].start()
        wait_until(lambda sent=item: len(groups) + grouping.waiting == sent + 1, 10, "it waits")
    opened.set()
    for thread in threads:
        thread.join(10)

    assert groups == [[0], [1, 2, 3], [4, 5]]
    assert not any(thread.is_alive() for thread in threads)


def test_a_thread_that_dies_at_work_leaves_nobody_waiting() -> None:
    groups: list[list[str]] = []
    opened = threading.Event()

    def do_together(items: Sequence[str]) -> None:
        groups.append([*items])
        assert opened.wait(10)
        if "dies" in items:
            raise SystemExit

    def die() -> None:
        with pytest.raises(SystemExit):
            grouping.do("dies")

    grouping = Grouping[str](do_together, 5)
    first = threading.Thread(target=die)
    first.start()
    wait_until(lambda: bool(groups), 10, "it is at work")
    second = threading.Thread(target=grouping.do, args=("waits",))
    second.start()
    wait_until(lambda: grouping.waiting == 1, 10, "it waits")
    opened.set()
    second.join(10)
    grouping.do("later")

    assert groups == [["dies"], ["waits"], ["later"]]


# --- Requests -------------------------------------------------------------------------------------


def test_requests_that_wait_are_done_in_one_transaction_and_each_gets_its_own_answer(
    together: Together, names: Names, door: Any, database: Database
) -> None:
    answers = together(*some("a", "b", "c", "d"))

    assert [answer.json["name"] for answer in answers] == ["a", "b", "c", "d"]
    assert door.groups == [1, 4]
    assert sorted(names()) == ["a", "b", "c", "d", "hold"]
    with database.readers() as session:
        recorded = session.scalars(select(Outbox.correlation_id)).all()
        assert len(session.scalars(select(IdempotencyKey.key)).all()) == 5
    # Each event names its own request as its cause, whichever thread recorded it.
    assert {answer.headers["X-Request-Id"] for answer in answers} < {*recorded}
    assert len({*recorded}) == 5


def test_a_request_that_waits_for_nobody_is_a_group_by_itself(
    send: Callable[..., Any], names: Names, door: Any
) -> None:
    assert statuses([send("a"), send("b", grams=5000), send("c")]) == [201, 409, 201]

    assert door.groups == [1, 1, 1]
    assert names() == ["a", "c"]


def test_ten_requests_take_as_many_statements_as_two(together: Together, app: Flask) -> None:
    seen: list[str] = []
    engine = app.extensions["farmgate"].database.engine
    event.listen(engine, "before_cursor_execute", lambda *args: seen.append(args[2]))

    def count(number: int) -> int:
        seen.clear()
        together(*some(*"abcdefghij"[:number]))
        return len(seen)

    together(*some("a"))
    assert count(2) == count(10)


def test_a_refusal_in_a_group_is_stored_and_changes_nothing_for_the_others(
    together: Together, send: Callable[..., Any], names: Names, door: Any
) -> None:
    answers = together({"name": "a"}, {"name": "heavy", "grams": 5000, "key": "k-1"}, {"name": "c"})
    again = send("heavy", grams=5000, key="k-1")

    assert statuses(answers) == [201, 409, 201]
    assert answers[1].json["request_id"] == answers[1].headers["X-Request-Id"]
    assert (again.data, again.headers["Idempotency-Replayed"]) == (answers[1].data, "true")
    assert door.groups == [1, 3]
    assert sorted(names()) == ["a", "c", "hold"]


def test_a_request_refused_after_it_changed_something_is_undone_alone(
    together: Together, send: Callable[..., Any], names: Names, database: Database
) -> None:
    answers = together({"name": "a"}, {"name": "late", "grams": 5000, "key": "k-1"}, {"name": "c"})
    again = send("late", grams=5000, key="k-1")

    assert statuses(answers) == [201, 409, 201]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert sorted(names()) == ["a", "c", "hold"]
    with database.readers() as session:
        assert len(session.scalars(select(Outbox.id)).all()) == 3


@pytest.mark.parametrize(("name", "status"), [("broken", 500), ("aborted", 410)])
def test_a_request_that_fails_fails_alone(
    together: Together, names: Names, name: str, status: int
) -> None:
    answers = together({"name": "a"}, {"name": name}, {"name": "c"})

    assert statuses(answers) == [201, status, 201]
    assert sorted(names()) == ["a", "c", "hold"]


def test_a_request_that_may_be_repeated_with_its_key_is_not_stored(
    together: Together, send: Callable[..., Any], names: Names, door: Any
) -> None:
    answers = together({"name": "a"}, {"name": "unavailable", "key": "k-1"})
    door.names_mean_trouble = False
    again = send("unavailable", key="k-1")

    assert statuses([*answers, again]) == [201, 503, 201]
    assert sorted(names()) == ["a", "hold", "unavailable"]


def test_a_repeated_request_in_a_group_gets_the_stored_answer(
    together: Together, send: Callable[..., Any], names: Names
) -> None:
    first = send("a", key="k-1")

    again, other, new = together(
        {"name": "a", "key": "k-1"}, {"name": "b", "key": "k-1", "subject": "dolma"}, {"name": "c"}
    )

    assert (again.data, again.headers["Idempotency-Replayed"]) == (first.data, "true")
    assert statuses([other, new]) == [201, 201]
    assert sorted(names()) == ["a", "b", "c", "hold"]


def test_a_key_used_before_for_another_request_refuses_that_request_only(
    together: Together, send: Callable[..., Any], names: Names
) -> None:
    send("a", key="k-1")

    other, new = together({"name": "b", "key": "k-1"}, {"name": "c"})

    assert other.json["type"] == "/problems/idempotency-key-reused"
    assert new.status_code == 201
    assert sorted(names()) == ["a", "c", "hold"]


def test_the_same_key_twice_at_once_is_done_once(together: Together, names: Names) -> None:
    answers = together({"name": "a", "key": "k-1"}, {"name": "a", "key": "k-1"}, {"name": "c"})

    assert sorted(statuses(answers)) == [201, 201, 409]
    assert sorted(names()) == ["a", "c", "hold"]


def test_a_group_whose_commit_fails_is_done_one_by_one(
    together: Together, names: Names, door: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, failed = Session.commit, []

    def fail_once(session: Session) -> None:
        if door.groups[-1:] == [3] and not failed:
            failed.append(True)
            raise RuntimeError("the commit failed")
        commit(session)

    monkeypatch.setattr(Session, "commit", fail_once)
    answers = together(*some("a", "b", "c"))

    assert (failed, statuses(answers)) == ([True], [201, 201, 201])
    assert door.groups == [1, 3, 1, 1, 1]
    assert sorted(names()) == ["a", "b", "c", "hold"]


def test_without_a_database_nobody_waits_for_attempts_one_by_one(
    together: Together, names: Names, door: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = Session.commit

    def fail(session: Session) -> None:
        if door.groups[-1:] == [3]:
            raise OperationalError("COMMIT", {}, Exception("no connection"))
        commit(session)

    monkeypatch.setattr(Session, "commit", fail)
    answers = together(*some("a", "b", "c"))

    assert statuses(answers) == [503, 503, 503]
    assert door.groups == [1, 3]
    assert names() == ["hold"]


@ONLY_POSTGRESQL
def test_a_deadlock_of_a_group_is_tried_again(
    together: Together, database: Database, names: Names, door: Any
) -> None:
    deadlock_once(database, "NEW.name != 'hold'")

    answers = together(*some("a", "b"))

    assert statuses(answers) == [201, 201]
    assert sorted(names()) == ["a", "b", "hold"]


@ONLY_POSTGRESQL
def test_an_answer_stored_meanwhile_is_the_one_that_counts(
    together: Together, settings: Settings, names: Names, door: Any
) -> None:
    body = json.dumps({"name": "b", "grams": 5}).encode()
    fingerprint = idempotency.fingerprint_of("POST", TOGETHER, b"", body)
    asked = idempotency.Request("dolma", "k-1", fingerprint)

    def elsewhere() -> None:
        other = Database(settings.database_url)
        with other.sessions.begin() as session:
            plain = b'{"Content-Type": "text/plain"}\ntheirs'
            answer = idempotency.Answer(201, seal(asked.sealing_key, plain))
            idempotency.store_all(session, [(asked, answer)])
        other.close()

    # The first request is inside already when the others are sent.
    def meanwhile() -> None:
        door.meanwhile = elsewhere

    door.meanwhile = meanwhile
    mine, theirs = together({"name": "a"}, {"name": "b", "key": "k-1", "subject": "dolma"})

    assert mine.status_code == 201
    assert (theirs.text, theirs.headers["Idempotency-Replayed"]) == ("theirs", "true")
    assert sorted(names()) == ["a", "hold"]


@ONLY_POSTGRESQL
def test_a_key_whose_request_runs_in_another_process_refuses_that_request_only(
    together: Together, settings: Settings, names: Names
) -> None:
    elsewhere = Database(settings.database_url)
    with elsewhere.sessions.begin() as session:
        assert idempotency.claim(session, idempotency.Request("dolma", "k-1", "…")) is None

        answers = together({"name": "a"}, {"name": "b", "key": "k-1", "subject": "dolma"})

    elsewhere.close()
    assert statuses(answers) == [201, 409]
    assert answers[1].json["type"] == "/problems/request-in-progress"
    assert sorted(names()) == ["a", "hold"]
