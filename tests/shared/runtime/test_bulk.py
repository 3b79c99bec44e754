"""Rows in bulk end in the tables as the ORM's own flush would write them, in few statements."""

import random
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any, ClassVar
from uuid import UUID

import pytest
from sqlalchemy import Enum, ForeignKey, LargeBinary, String, event, select
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship
from sqlalchemy.orm.exc import StaleDataError

from shared.runtime.bulk import (
    among,
    insert_new,
    insert_rows,
    update_rows,
    upsert_rows,
    write_objects,
)
from shared.runtime.database import Database
from shared.runtime.ids import new_id
from shared.runtime.tables import COLUMN_TYPES, Serial


class Base(DeclarativeBase):
    type_annotation_map: ClassVar[dict[Any, Any]] = COLUMN_TYPES


class Colour(StrEnum):
    RED, GREEN = "red", "green"


class Basket(Base):
    __tablename__ = "baskets"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    code: Mapped[str] = mapped_column(String(5))
    note: Mapped[str | None]
    colour: Mapped[Colour] = mapped_column(Enum(Colour, native_enum=False, length=20))
    weight: Mapped[int] = mapped_column(default=7)
    seal: Mapped[bytes | None] = mapped_column(LargeBinary)
    is_open: Mapped[bool] = mapped_column(default=False)
    picked_on: Mapped[date | None]
    packed_at: Mapped[datetime | None]
    tags: Mapped[list[str] | None]
    names: Mapped[dict[str, Any] | None]
    items: Mapped[list["Item"]] = relationship(back_populates="basket", order_by="Item.number")


class Item(Base):
    __tablename__ = "items"
    basket_id: Mapped[UUID] = mapped_column(ForeignKey("baskets.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    quantity: Mapped[int]
    basket: Mapped[Basket] = relationship(back_populates="items")


class Counted(Base):
    __tablename__ = "counted"
    id: Mapped[int] = mapped_column(Serial, primary_key=True, autoincrement=True)
    code: Mapped[str]


@pytest.fixture(autouse=True)
def tables(database: Database) -> Iterator[None]:
    Base.metadata.create_all(database.engine)
    yield
    Base.metadata.drop_all(database.engine)


@pytest.fixture
def statements(database: Database) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(connection: object, cursor: object, statement: str, *rest: object) -> None:
        seen.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    yield seen
    event.remove(database.engine, "before_cursor_execute", note)


def a_basket(chance: random.Random, number: int) -> Basket:
    def perhaps(value: Any) -> Any:
        return chance.choice([value, None])

    given: dict[str, Any] = {
        "id": UUID(int=number),
        "code": f"c{number}",
        "colour": chance.choice([*Colour]),
        "items": [Item(number=n, quantity=n + 1) for n in range(chance.randrange(3))],
    }
    optional = {
        "note": perhaps("松茸 '\"\\{}"),
        "seal": perhaps(b"\x00\xff'"),
        "is_open": chance.random() < 0.5,
        "picked_on": perhaps(date(2026, 7, 31)),
        "packed_at": perhaps(datetime(2026, 7, 31, 12, tzinfo=UTC)),
        "weight": chance.randrange(10),
        "tags": chance.choice([["a", "b"], [], ["NULL"]]),
        "names": chance.choice([{"zh": "松茸"}, {}, {"a": [1, None]}]),
    }
    for key, value in optional.items():
        if chance.random() < 0.7:
            given[key] = value
    return Basket(**given)


def change(chance: random.Random, basket: Basket) -> None:
    for key, value in {"code": "new", "weight": 99, "seal": b"s", "tags": ["x"]}.items():
        if chance.random() < 0.4:
            setattr(basket, key, value)
    if chance.random() < 0.3:
        basket.items.append(Item(number=9, quantity=9))


def stored(database: Database) -> list[tuple[Any, ...]]:
    with database.engine.connect() as connection:
        return [
            tuple(row)
            for table in Base.metadata.sorted_tables
            for row in connection.execute(select(table).order_by(*table.primary_key))
        ]


def told(database: Database, seed: int, write: Callable[[Session], None]) -> list[tuple[Any, ...]]:
    chance = random.Random(seed)
    with database.sessions.begin() as session:
        session.add_all([a_basket(chance, number) for number in range(30)])
        write(session)
    with database.sessions.begin() as session:
        for basket in session.scalars(select(Basket).order_by(Basket.id)):
            change(chance, basket)
        session.add(a_basket(chance, 99))
        write(session)
    result = stored(database)
    with database.engine.begin() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(table.delete())
    return result


@pytest.mark.parametrize("seed", range(5))
def test_objects_are_written_as_by_a_flush(database: Database, seed: int) -> None:
    assert told(database, seed, write_objects) == told(database, seed, Session.flush)


@pytest.mark.parametrize("settings", ["postgresql"], indirect=True)
def test_the_number_of_statements_does_not_grow(database: Database, statements: list[str]) -> None:
    with database.sessions.begin() as session:
        session.add_all(
            Basket(code="c", colour=Colour.RED, items=[Item(number=1, quantity=1)])
            for _ in range(200)
        )
        write_objects(session)
    assert len(statements) == 2
    with database.sessions.begin() as session:
        baskets = session.scalars(select(Basket)).all()
        del statements[:]
        for basket in baskets:
            basket.weight = 1
        write_objects(session)
    assert len(statements) == 1


def test_what_the_database_numbers_or_deletes_is_left_to_the_flush(database: Database) -> None:
    with database.sessions.begin() as session:
        session.add_all([Counted(code="a"), Counted(code="b")])
        write_objects(session)
    with database.sessions.begin() as session:
        basket = Basket(code="c", colour=Colour.RED, items=[Item(number=1, quantity=1)])
        session.add(basket)
        write_objects(session)
    with database.sessions.begin() as session:
        loaded = session.scalars(select(Basket)).one()
        session.delete(loaded.items[0])
        loaded.weight = 3
        write_objects(session)

    with database.readers() as session:
        assert [each.code for each in session.scalars(select(Counted).order_by(Counted.id))] == [
            "a",
            "b",
        ]
        left = session.scalars(select(Basket)).one()
        assert (left.weight, left.items) == (3, [])


@pytest.mark.parametrize("settings", ["postgresql"], indirect=True)
def test_a_text_that_is_too_long_is_refused_not_cut_off(database: Database) -> None:
    with pytest.raises(DBAPIError), database.sessions.begin() as session:
        session.add(Basket(code="too long", colour=Colour.RED))
        write_objects(session)


def test_a_row_that_is_gone_is_told(database: Database) -> None:
    with pytest.raises(StaleDataError), database.engine.begin() as connection:
        update_rows(connection, Basket.__table__, [{"id": new_id(), "weight": 1}])  # type: ignore[arg-type]


def test_rows_with_a_key_that_exists_are_left_out(database: Database) -> None:
    rows = [{"id": n, "code": str(n)} for n in range(3)]
    table: Any = Counted.__table__
    with database.engine.begin() as connection:
        assert insert_rows(connection, table, rows[:2]) == 2
        assert insert_rows(connection, table, rows, ignore_conflicts=True) == 1
        assert insert_new(
            connection, table, [*rows, {"id": 7, "code": "7"}], "id", lock="tests"
        ) == {7}
    with pytest.raises(IntegrityError), database.engine.begin() as connection:
        insert_rows(connection, table, rows)


def test_rows_with_a_key_that_exists_are_replaced_or_added_up(database: Database) -> None:
    table: Any = Item.__table__
    first, second = ({"basket_id": UUID(int=1), "number": n, "quantity": 1} for n in (1, 2))
    with database.engine.begin() as connection:
        baskets: Any = Basket.__table__
        row = {"id": UUID(int=1), "code": "c", "colour": Colour.RED, "weight": 1, "is_open": True}
        insert_rows(connection, baskets, [row])
        upsert_rows(connection, table, [])
        upsert_rows(connection, table, [first])
        upsert_rows(connection, table, [first | {"quantity": 5}, second])
        upsert_rows(connection, table, [first | {"quantity": 2}, second], add=["quantity"])
        stored = connection.execute(select(table.c.number, table.c.quantity)).all()
    assert sorted(stored) == [(1, 7), (2, 2)]


def test_rows_with_other_columns_than_the_first_are_refused(database: Database) -> None:
    table: Any = Counted.__table__
    for other in ({"id": 2}, {"id": 2, "code": "b", "note": "lost"}):
        with (
            pytest.raises(ValueError, match="other columns"),
            database.engine.begin() as connection,
        ):
            insert_rows(connection, table, [{"id": 1, "code": "a"}, other])


def test_numbers_are_given_in_the_order_of_the_rows(database: Database) -> None:
    codes = [str(number) for number in range(2000)]
    random.Random(1).shuffle(codes)
    table: Any = Counted.__table__
    with database.engine.begin() as connection:
        insert_rows(connection, table, [{"code": code} for code in codes])
        stored = connection.scalars(select(table.c.code).order_by(table.c.id)).all()
    assert stored == codes


def test_among_finds_ids_texts_numbers_and_bytes(database: Database) -> None:
    ids = [new_id() for _ in range(3)]
    with database.sessions.begin() as session:
        for n, id_ in enumerate(ids):
            seal = bytes([n, 255])
            session.add(Basket(id=id_, code=f"'{n}", colour=Colour.RED, weight=n, seal=seal))
    with database.readers() as session:
        for column, values in (
            (Basket.id, ids[:2]),
            (Basket.code, ["'0", "'1", "none"]),
            (Basket.weight, {0, 1}),
            (Basket.seal, [b"\x00\xff", b"\x01\xff"]),
        ):
            found = session.scalars(select(Basket.weight).where(among(column, values))).all()
            assert sorted(found) == [0, 1]
        assert session.scalars(select(Basket).where(among(Basket.id, []))).all() == []
        many = session.scalars(select(Basket).where(among(Basket.id, [new_id()] * 40_000))).all()
        assert many == []


# PostgreSQL chooses by its statistics.
@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_among_uses_an_index_on_sqlite(database: Database) -> None:
    statement = select(Counted.code).where(among(Counted.id, [1, 2]))
    compiled = statement.compile(database.engine, compile_kwargs={"render_postcompile": True})

    with database.engine.connect() as connection:
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", ("[1, 2]",)).all()

    assert any(row[3].startswith("SEARCH counted USING") for row in rows), rows
