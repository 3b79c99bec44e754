"""A batch locks what it needs in one statement, and then asks without any."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import event

from shared.messaging.batch import Batch, transaction
from shared.runtime.database import Database
from shared.runtime.ids import new_id
from shared.runtime.locks import advisory_lock
from tests.support import probe
from tests.support.probe import Effect

Count = Callable[[], list[str]]


@pytest.fixture(autouse=True)
def tables(database: Database) -> None:
    probe.create_tables(database)


@pytest.fixture
def effects(database: Database) -> list[Effect]:
    made = [
        Effect(effect_id=new_id(), event_id=new_id(), subject=str(number), sequence=1, amount_fen=1)
        for number in range(20)
    ]
    with transaction(database, Batch) as batch:
        batch.session.add_all(made)
    return made


@contextmanager
def counted(database: Database) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(connection: object, cursor: object, statement: str, *rest: object) -> None:
        if not statement.startswith(("BEGIN", "PRAGMA")):
            seen.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    yield seen
    event.remove(database.engine, "before_cursor_execute", note)


def test_a_batch_is_locked_by_one_statement(database: Database, effects: list[Effect]) -> None:
    ids = [effect.effect_id for effect in effects]

    with transaction(database, Batch) as batch, counted(database) as statements:
        batch.load_for_update(Effect.effect_id, ids)
        found = [batch.get_for_update(Effect.effect_id, id_) for id_ in ids]

    assert [effect.subject for effect in found if effect] == [e.subject for e in effects]
    assert len(statements) == 1


def test_a_missing_row_is_asked_for_once(database: Database) -> None:
    absent = new_id()

    with transaction(database, Batch) as batch, counted(database) as statements:
        batch.load_for_update(Effect.effect_id, [absent])
        assert batch.get_for_update(Effect.effect_id, absent) is None
        batch.load_for_update(Effect.effect_id, [absent])

    assert len(statements) == 1


def test_a_new_row_is_found_without_a_statement(database: Database) -> None:
    effect = Effect(effect_id=new_id(), event_id=new_id(), subject="s", sequence=1, amount_fen=1)

    with transaction(database, Batch) as batch, counted(database) as statements:
        batch.track(Effect.effect_id, effect)
        found = batch.get_for_update(Effect.effect_id, effect.effect_id)
        before_commit = len(statements)

    assert found is effect
    assert before_commit == 0
    assert len(probe.effects(database)) == 1


def test_without_preparation_a_row_is_locked_when_it_is_asked_for(
    database: Database, effects: list[Effect]
) -> None:
    with transaction(database, Batch) as batch:
        found = batch.get_for_update(Effect.effect_id, effects[0].effect_id)

    assert found is not None
    assert found.subject == "0"


def test_what_is_locked_is_read_as_it_is_now(database: Database, effects: list[Effect]) -> None:
    effect_id = effects[0].effect_id
    with transaction(database, Batch) as batch:
        seen = batch.session.get(Effect, effect_id)
        assert seen is not None
    with transaction(database, Batch) as other:
        changed = other.get_for_update(Effect.effect_id, effect_id)
        assert changed is not None
        changed.amount_fen = 99

    with transaction(database, Batch) as batch:
        batch.session.add(seen)
        found = batch.get_for_update(Effect.effect_id, effect_id)

    assert found is seen
    assert seen.amount_fen == 99


def test_nobody_else_changes_a_locked_row(database: Database, effects: list[Effect]) -> None:
    effect_id = effects[0].effect_id
    order: list[str] = []
    asked = threading.Event()

    def other() -> None:
        asked.set()
        with transaction(database, Batch) as batch:
            batch.get_for_update(Effect.effect_id, effect_id)
            order.append("other")

    with transaction(database, Batch) as batch:
        batch.get_for_update(Effect.effect_id, effect_id)
        thread = threading.Thread(target=other)
        thread.start()
        assert asked.wait(10)
        thread.join(0.2)
        order.append("first")
    thread.join()

    assert order == ["first", "other"]


def test_transactions_that_lock_the_same_rows_never_wait_for_each_other(
    database: Database, effects: list[Effect], in_threads: Callable[..., list[object]]
) -> None:
    ids = [effect.effect_id for effect in effects]

    def raise_all(order: list[object]) -> None:
        for _ in range(5):
            with transaction(database, Batch) as batch:
                batch.load_for_update(Effect.effect_id, order)  # type: ignore[arg-type]
                for id_ in ids:
                    effect = batch.get_for_update(Effect.effect_id, id_)
                    assert effect is not None
                    effect.amount_fen += 1

    in_threads([lambda: raise_all(list(ids)), lambda: raise_all(list(reversed(ids)))] * 2)

    assert {effect.amount_fen for effect in probe.effects(database)} == {21}


def test_turns_are_taken_one_after_the_other(database: Database) -> None:
    order: list[str] = []
    asked = threading.Event()

    def other(name: str) -> None:
        with transaction(database, Batch) as batch:
            asked.set()
            advisory_lock(batch.session, name)
            order.append(name)

    with transaction(database, Batch) as batch:
        advisory_lock(batch.session, "consumer")
        thread = threading.Thread(target=other, args=("consumer",))
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join()

    assert order == ["first", "consumer"]


def test_locks_end_with_their_transaction(database: Database, effects: list[Effect]) -> None:
    def lock_all(batch: Batch) -> None:
        batch.load_for_update(Effect.effect_id, [effect.effect_id for effect in effects])

    for _ in range(2):
        with transaction(database, Batch) as batch:
            lock_all(batch)
