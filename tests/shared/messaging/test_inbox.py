"""An event is new once, and only together with its effect."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import event as sql_event
from sqlalchemy import func, select

from shared.events import OrderPaid
from shared.messaging import inbox
from shared.messaging.envelope import Envelope, decode, encode, fact_of
from shared.messaging.tables import Inbox
from shared.runtime import clock
from shared.runtime.database import Database
from shared.runtime.ids import new_id


def an_event(event_id: UUID | None = None) -> Envelope:
    body = encode(
        fact_of(
            OrderPaid,
            {"order_id": new_id(), "order_ref": "ORD-1", "amount_fen": 1, "method": "prepaid"},
        ),
        event_id=event_id or new_id(),
        sequence=1,
        time=clock.now(),
        correlation_id="c",
        causation_id=None,
        traceparent=None,
    )
    return decode(body)


def test_an_event_is_new_once(database: Database) -> None:
    event = an_event()

    with database.sessions.begin() as session:
        first = inbox.take(session, [event])
    with database.sessions.begin() as session:
        second = inbox.take(session, [event])

    assert (first, second) == ({event.event_id}, set())


def test_of_a_batch_only_the_new_ones_are_new(database: Database) -> None:
    events = [an_event() for _ in range(5)]
    with database.sessions.begin() as session:
        inbox.take(session, events[:2])

    with database.sessions.begin() as session:
        new = inbox.take(session, events)

    assert new == {event.event_id for event in events[2:]}


def test_an_event_twice_in_a_batch_is_one(database: Database) -> None:
    event = an_event()

    with database.sessions.begin() as session:
        assert inbox.take(session, [event, event]) == {event.event_id}

    with database.readers() as session:
        assert session.scalar(select(func.count()).select_from(Inbox)) == 1


def test_an_event_whose_effect_was_rolled_back_is_new_again(database: Database) -> None:
    event = an_event()
    with pytest.raises(RuntimeError), database.sessions.begin() as session:
        inbox.take(session, [event])
        raise RuntimeError

    with database.sessions.begin() as session:
        assert inbox.take(session, [event]) == {event.event_id}


def test_of_consumers_at_once_one_takes_it(
    database: Database, in_threads: Callable[..., list[Any]]
) -> None:
    event = an_event()

    def take() -> set[UUID]:
        with database.sessions.begin() as session:
            return inbox.take(session, [event])

    answers = in_threads([take] * 6)

    assert sorted(map(len, answers)) == [0, 0, 0, 0, 0, 1]


def test_a_batch_of_any_size_is_one_statement(database: Database) -> None:
    statements: list[str] = []
    sql_event.listen(
        database.engine,
        "before_cursor_execute",
        lambda connection, cursor, statement, *rest: statements.append(statement),
    )

    with database.sessions.begin() as session:
        new = inbox.take(session, [an_event() for _ in range(300)])

    assert len(new) == 300
    assert len([text for text in statements if "INSERT INTO inbox" in text]) == 1
