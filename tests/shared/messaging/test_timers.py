"""Timers run in one worker at a time, whatever one of them does; tables are kept short."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import OperationalError

from shared.messaging.service import Timer
from shared.messaging.tables import Inbox, Outbox
from shared.messaging.timers import prune, run_timers
from shared.runtime import clock
from shared.runtime.config import Settings
from shared.runtime.database import Database
from shared.runtime.ids import new_id
from shared.runtime.supervision import Stopping, supervise
from shared.runtime.tables import IdempotencyKey
from tests.support.servers import wait_until

NOW = clock.now()


@contextmanager
def running(
    database: Database, settings: Settings, *timers: Timer
) -> Iterator[tuple[Stopping, list[BaseException]]]:
    """Run timers as a worker does; gives what stops them, and the failures of their loop."""
    stopping, failures = Stopping(), list[BaseException]()
    thread = supervise(
        "timers",
        lambda: run_timers(timers, database, settings, stopping),
        stopping,
        failures.append,
    )
    try:
        yield stopping, failures
    finally:
        stopping.set()
        thread.join(15)
        assert not thread.is_alive()


def counting() -> tuple[Timer, list[int]]:
    runs: list[int] = []
    return Timer("count", 0.01, lambda database, settings: runs.append(1)), runs


def test_a_timer_that_fails_comes_again_and_keeps_no_other_waiting(
    database: Database, settings: Settings
) -> None:
    failed: list[int] = []

    def fail(database: Database, settings: Settings) -> None:
        failed.append(1)
        raise RuntimeError("this timer always fails")

    healthy, runs = counting()

    with running(database, settings, Timer("broken", 0.01, fail), healthy) as (_, failures):
        wait_until(lambda: len(runs) >= 3 and len(failed) >= 3, 10, "both run again and again")

    assert failures == []


def test_a_timer_with_more_to_do_comes_again_at_once_and_lets_others_in_between(
    database: Database, settings: Settings
) -> None:
    done: list[int] = []

    def much(database: Database, settings: Settings) -> bool:
        done.append(1)
        return True

    healthy, runs = counting()

    with running(database, settings, Timer("much", 3600, much), healthy):
        wait_until(lambda: len(done) >= 10 and len(runs) >= 3, 10, "both get their turn")


def test_while_the_database_is_away_the_loop_ends_and_is_begun_again(
    database: Database, settings: Settings
) -> None:
    class ShutDown(Exception):
        sqlstate = "57P01"

    runs: list[int] = []

    def cut_once(database: Database, settings: Settings) -> None:
        runs.append(1)
        if len(runs) == 1:
            raise OperationalError("SELECT 1", {}, ShutDown())

    with running(database, settings, Timer("cut", 0.01, cut_once)) as (_, failures):
        wait_until(lambda: len(runs) >= 2, 10, "it runs again")

    assert [type(failure) for failure in failures] == [OperationalError]


@pytest.mark.postgres
def test_of_two_workers_one_runs_the_timers_and_the_other_takes_over(
    postgres: Callable[[str], str], tmp_path: Path
) -> None:
    url = postgres("timers")
    settings = Settings.from_environment(
        "things", {"FARMGATE_DATA": str(tmp_path), "FARMGATE_THINGS_DATABASE_URL": url}
    )
    timer_1, runs_1 = counting()
    timer_2, runs_2 = counting()
    with ExitStack() as stack:
        database = Database(url)
        stack.callback(database.close)
        with running(database, settings, timer_1):
            wait_until(lambda: bool(runs_1), 10, "the first worker runs them")
            stack.enter_context(running(database, settings, timer_2))
            wait_until(lambda: len(runs_1) > 50, 10, "time passes")
            assert runs_2 == []

        wait_until(lambda: bool(runs_2), 10, "the second worker takes over")


@pytest.mark.postgres
def test_a_worker_that_lost_its_lock_stops_running_the_timers(
    postgres: Callable[[str], str], tmp_path: Path
) -> None:
    url = postgres("timers")
    settings = Settings.from_environment(
        "things", {"FARMGATE_DATA": str(tmp_path), "FARMGATE_THINGS_DATABASE_URL": url}
    )
    timer, runs = counting()
    database = Database(url)

    with running(database, settings, timer) as (_, failures):
        wait_until(lambda: bool(runs), 10, "they run")
        with database.engine.begin() as connection:
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' "
                    "AND database = "
                    "(SELECT oid FROM pg_database WHERE datname = current_database())"
                )
            )
        wait_until(lambda: bool(failures), 10, "the loop notices")
        seen = len(runs)
        wait_until(lambda: len(runs) > seen, 10, "with a lock of its own again it goes on")
    database.close()


def an_event(days_old: int, position: int | None) -> dict[str, Any]:
    moment = NOW - timedelta(days=days_old)
    event_id = new_id()
    return {
        "event_id": event_id,
        "type": "orders.order_paid.v1",
        "subject": f"order/{event_id}",
        "sequence": 1,
        "body": b"{}",
        "correlation_id": "c",
        "recorded_at": moment,
        "position": position,
        "published_at": None if position is None else moment,
    }


def test_what_is_older_than_its_keeping_time_goes_and_unpublished_events_never_do(
    database: Database, settings: Settings
) -> None:
    settings = replace(settings, outbox_days=3, inbox_days=5)
    with database.sessions.begin() as session:
        session.execute(
            insert(Outbox), [an_event(4, 1), an_event(4, 2), an_event(2, 3), an_event(400, None)]
        )
        session.execute(
            insert(Inbox),
            [
                {
                    "event_id": new_id(),
                    "type": "orders.order_paid.v1",
                    "subject": f"{days} days",
                    "sequence": 1,
                    "recorded_at": NOW,
                    "handled_at": NOW - timedelta(days=days),
                }
                for days in (4, 6)
            ],
        )
        session.execute(
            insert(IdempotencyKey),
            [
                {
                    "client": "c",
                    "key": f"{hours} hours",
                    "fingerprint": "f",
                    "status": 200,
                    "headers": {},
                    "body": b"",
                    "answered_at": NOW - timedelta(hours=hours),
                }
                for hours in (23, 25)
            ],
        )

    assert not prune(database, settings)

    with database.readers() as session:
        assert list(session.scalars(select(Outbox.position).order_by(Outbox.id))) == [3, None]
        assert list(session.scalars(select(Inbox.subject))) == ["4 days"]
        assert list(session.scalars(select(IdempotencyKey.key))) == ["23 hours"]


def test_pruning_goes_by_chunks_the_oldest_first(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.messaging.timers.CHUNK", 2)
    with database.sessions.begin() as session:
        session.execute(insert(Outbox), [an_event(40, number) for number in range(1, 6)])

    left = []
    while prune(database, settings):
        with database.readers() as session:
            left.append(list(session.scalars(select(Outbox.position).order_by(Outbox.id))))

    assert left == [[3, 4, 5], [5]]


def test_timers_end_at_once_when_the_process_is_to_stop(
    database: Database, settings: Settings
) -> None:
    begun = threading.Event()

    with running(
        database, settings, Timer("rare", 3600, lambda database, settings: begun.set())
    ) as (stopping, _):
        assert begun.wait(10)
        stopping.set()
