"""No event without its change, no change without its event; events of one subject are numbered."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import event, select
from sqlalchemy.exc import IntegrityError

from shared.events import StockReleased
from shared.messaging.batch import Batch, transaction
from shared.messaging.envelope import LARGEST
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


def tell(batch: Batch, effect: Effect) -> None:
    batch.record(effect, StockReleased(order_id=effect.effect_id, reason="expired"))


def rows(database: Database) -> list[Outbox]:
    with database.readers() as session:
        return list(session.scalars(select(Outbox).order_by(Outbox.id)))


def test_change_and_event_commit_together(database: Database) -> None:
    effect = an_effect()
    with transaction(database, Batch) as batch:
        batch.session.add(effect)
        tell(batch, effect)
        tell(batch, effect)

    assert [(row.subject, row.sequence, row.position) for row in rows(database)] == [
        (f"order/{effect.effect_id}", 1, None),
        (f"order/{effect.effect_id}", 2, None),
    ]
    assert effect.version == 2


def test_a_rolled_back_change_has_no_event(database: Database) -> None:
    with pytest.raises(RuntimeError), transaction(database, Batch) as batch:
        effect = an_effect()
        batch.session.add(effect)
        tell(batch, effect)
        raise RuntimeError

    assert (rows(database), probe.effects(database)) == ([], [])


def test_numbering_goes_on_in_the_next_transaction(database: Database) -> None:
    effect_id = new_id()
    for _ in range(3):
        with transaction(database, Batch) as batch:
            effect = batch.get_for_update(Effect.effect_id, effect_id)
            if effect is None:
                effect = an_effect()
                effect.effect_id = effect_id
                batch.session.add(effect)
            tell(batch, effect)

    assert [row.sequence for row in rows(database)] == [1, 2, 3]


def test_two_events_cannot_take_the_same_number(database: Database) -> None:
    effect = an_effect()
    with pytest.raises(IntegrityError), transaction(database, Batch) as batch:
        batch.session.add(effect)
        tell(batch, effect)
        effect.version = 0
        tell(batch, effect)

    assert rows(database) == []


def test_writers_at_once_number_without_gap_or_double(
    database: Database, in_threads: Callable[..., list[Any]]
) -> None:
    effect = an_effect()
    with transaction(database, Batch) as batch:
        batch.session.add(effect)

    def change() -> None:
        with transaction(database, Batch) as batch:
            row = batch.get_for_update(Effect.effect_id, effect.effect_id)
            assert row is not None
            tell(batch, row)

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
    with transaction(database, Batch) as batch:
        for _ in range(300):
            effect = an_effect()
            batch.session.add(effect)
            tell(batch, effect)

    assert len([text for text in statements if "INTO outbox" in text]) == 1


def test_an_event_says_what_caused_it(database: Database) -> None:
    effect = an_effect()
    with (
        tracing.caused_by(tracing.Cause("story", "before", "00-1-2-00")),
        transaction(database, Batch) as batch,
    ):
        batch.session.add(effect)
        tell(batch, effect)

    (row,) = rows(database)
    assert (row.correlation_id, row.traceparent) == ("story", "00-1-2-00")
    assert b'"causationid":"before"' in row.body


def test_a_fact_too_large_is_refused_where_it_is_recorded(database: Database) -> None:
    with (
        pytest.raises(ValueError, match=str(LARGEST)),
        transaction(database, Batch) as batch,
    ):
        batch.record(an_effect(), StockReleased(order_id=UUID(int=1), reason="x" * LARGEST))

    assert rows(database) == []


def test_the_bus_is_woken_by_commits_that_recorded_something(database: Database) -> None:
    database.recorded.clear()
    with transaction(database, Batch) as batch:
        batch.session.add(an_effect())
    assert not database.recorded.is_set()

    with transaction(database, Batch) as batch:
        effect = an_effect()
        batch.session.add(effect)
        tell(batch, effect)
    assert database.recorded.is_set()
