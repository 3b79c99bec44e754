"""No event without its change, no change without its event; events of one subject are numbered."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import event, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared.events import StockReleased
from shared.messaging import outbox
from shared.messaging.rows import locked
from shared.messaging.tables import Outbox
from shared.runtime import tracing
from shared.runtime.database import Database
from shared.runtime.ids import new_id
from tests.support import probe
from tests.support.probe import Effect


@pytest.fixture(autouse=True)
def tables(database: Database) -> None:
    probe.create_tables(database)


def an_effect() -> Effect:
    return Effect(
        effect_id=new_id(), event_id=new_id(), subject="s", sequence=1, amount_fen=1, version=0
    )


def tell(session: Session, effect: Effect) -> None:
    outbox.record(session, StockReleased, effect, order_id=effect.effect_id, reason="expired")


def rows(database: Database) -> list[Outbox]:
    with database.readers() as session:
        return list(session.scalars(select(Outbox).order_by(Outbox.id)))


def test_change_and_event_commit_together(database: Database) -> None:
    effect = an_effect()
    with database.sessions.begin() as session:
        session.add(effect)
        tell(session, effect)
        tell(session, effect)

    assert [(row.subject, row.sequence, row.position) for row in rows(database)] == [
        (f"order/{effect.effect_id}", 1, None),
        (f"order/{effect.effect_id}", 2, None),
    ]
    assert effect.version == 2


def test_a_rolled_back_change_has_no_event(database: Database) -> None:
    with pytest.raises(RuntimeError), database.sessions.begin() as session:
        effect = an_effect()
        session.add(effect)
        tell(session, effect)
        raise RuntimeError

    assert (rows(database), probe.effects(database)) == ([], [])


def test_numbering_goes_on_in_the_next_transaction(database: Database) -> None:
    effect_id = new_id()
    for _ in range(3):
        with database.sessions.begin() as session:
            effect = locked(session, Effect.effect_id, effect_id)
            if effect is None:
                effect = an_effect()
                effect.effect_id = effect_id
                session.add(effect)
            tell(session, effect)

    assert [row.sequence for row in rows(database)] == [1, 2, 3]


def test_two_events_cannot_take_the_same_number(database: Database) -> None:
    effect = an_effect()
    with pytest.raises(IntegrityError), database.sessions.begin() as session:
        session.add(effect)
        tell(session, effect)
        effect.version = 0
        tell(session, effect)

    assert rows(database) == []


def test_writers_at_once_number_without_gap_or_double(
    database: Database, in_threads: Callable[..., list[Any]]
) -> None:
    effect = an_effect()
    with database.sessions.begin() as session:
        session.add(effect)

    def change() -> None:
        with database.sessions.begin() as session:
            row = locked(session, Effect.effect_id, effect.effect_id)
            assert row is not None
            tell(session, row)

    in_threads([change] * 8)

    written = rows(database)
    assert [row.sequence for row in written] == list(range(1, 9))
    assert [row.id for row in written] == sorted(row.id for row in written)


def test_many_events_are_written_by_one_statement(database: Database) -> None:
    statements: list[str] = []
    event.listen(
        database.engine,
        "before_cursor_execute",
        lambda connection, cursor, statement, *rest: statements.append(statement),
    )
    with database.sessions.begin() as session:
        for _ in range(300):
            effect = an_effect()
            session.add(effect)
            tell(session, effect)

    assert len([text for text in statements if "INTO outbox" in text]) == 1


def test_an_event_says_what_caused_it(database: Database) -> None:
    effect = an_effect()
    with (
        tracing.caused_by(tracing.Cause("story", "before", "00-1-2-00")),
        database.sessions.begin() as session,
    ):
        session.add(effect)
        tell(session, effect)

    (row,) = rows(database)
    assert (row.correlation_id, row.traceparent) == ("story", "00-1-2-00")
    assert b'"causationid":"before"' in row.body


def test_a_broken_fact_is_refused_where_it_is_recorded(database: Database) -> None:
    with (
        pytest.raises(ValueError, match="required field"),
        database.sessions.begin() as session,
    ):
        outbox.record(session, StockReleased, an_effect(), order_id=UUID(int=1))

    assert rows(database) == []


def test_the_bus_is_woken_by_commits_that_recorded_something(database: Database) -> None:
    database.recorded.clear()
    with database.sessions.begin() as session:
        session.add(an_effect())
    assert not database.recorded.is_set()

    with database.sessions.begin() as session:
        effect = an_effect()
        session.add(effect)
        tell(session, effect)
    assert database.recorded.is_set()
