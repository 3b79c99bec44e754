"""Many rows in one statement: inserted, updated, found by a list of values.

On PostgreSQL a statement has one array for each column, so its text does not depend on the number
of rows: it is parsed and prepared once. On SQLite the rows are the parameters of one statement that
is repeated.

`write_objects` writes what an ORM session has collected in this way. The ORM's own flush handles
one row after the other: for a batch of 300 orders it takes several times as long.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from operator import attrgetter
from typing import Any

from sqlalchemy import (
    JSON,
    BindParameter,
    ColumnElement,
    Connection,
    Dialect,
    Enum,
    LargeBinary,
    String,
    Table,
    Text,
    bindparam,
    column,
    func,
    inspect,
    select,
    true,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Mapper, Session
from sqlalchemy.orm.attributes import PASSIVE_NO_INITIALIZE, get_history
from sqlalchemy.orm.exc import StaleDataError
from sqlalchemy.orm.interfaces import RelationshipDirection
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import Boolean, TypeDecorator, TypeEngine

from shared.runtime.locks import locked_by

Rows = Sequence[Mapping[str, Any]]


# --- Conditions ---------------------------------------------------------------------------------


class _Values(TypeDecorator[Any]):
    """A list of values as one parameter: an array, or on SQLite a JSON array."""

    impl = Text
    cache_ok = True

    def __init__(self, item_type: TypeEngine[Any]) -> None:
        super().__init__()
        self.item_type = item_type

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            return _array(self.item_type)
        return dialect.type_descriptor(Text())

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        if dialect.name == "postgresql":
            return list(value)
        to_stored = self.item_type.dialect_impl(dialect).bind_processor(dialect)
        return json.dumps([each if to_stored is None else to_stored(each) for each in value])


class _Among(FunctionElement[bool]):
    type = Boolean()
    name = "among"
    inherit_cache = True

    def self_group(self, against: Any = None) -> Any:
        """Return the condition as it is: `… = 1`, as SQLAlchemy makes it, uses no index."""
        return self


@compiles(_Among, "postgresql")
def _among_on_postgresql(element: _Among, compiler: Any, **options: Any) -> str:
    left, values = (compiler.process(each, **options) for each in element.clauses)
    return f"{left} = ANY ({values})"


@compiles(_Among, "sqlite")
def _among_on_sqlite(element: _Among, compiler: Any, **options: Any) -> str:
    left, values = (compiler.process(each, **options) for each in element.clauses)
    return f"{left} IN (SELECT value FROM json_each({values}))"


def among(chosen: Any, values: Iterable[Any] | BindParameter[Any]) -> ColumnElement[bool]:
    """Return the condition that a column is one of `values`.

    Unlike `IN` it has one parameter, however many values there are; but JSON, and so SQLite, has no
    bytes. A statement that is made once has a `bindparam` instead, and gets a list when executed.
    """
    if isinstance(values, BindParameter):
        return _Among(chosen, bindparam(values.key, type_=_Values(chosen.type)))
    if isinstance(chosen.type, LargeBinary):
        return chosen.in_(values)  # type: ignore[no-any-return]
    return _Among(chosen, bindparam(None, [*values], type_=_Values(chosen.type), unique=True))


# --- Rows ---------------------------------------------------------------------------------------


def insert_rows(
    connection: Connection, table: Table, rows: Rows, *, ignore_conflicts: bool = False
) -> int:
    """Insert `rows`, which all have the same columns, in their order; return how many.

    With `ignore_conflicts` a row with a key that exists is left out.
    """
    if not rows:
        return 0
    statement = _insert(table, tuple(rows[0]), connection.dialect.name, ignore_conflicts)
    result = connection.execute(
        statement, _parameters(connection, rows), execution_options={"preserve_rowcount": True}
    )
    return result.rowcount


def insert_new(
    connection: Connection, table: Table, rows: Rows, key: str, *, lock: str
) -> set[Any]:
    """Insert those `rows` whose keys do not exist; return the values of their column `key`.

    The statement first takes the advisory lock `lock`. A row that another transaction committed
    while this one waited counts as existing.
    """
    if not rows:
        return set()
    if connection.dialect.name == "postgresql":
        statement = _insert_returning(table, tuple(rows[0]), key, lock)
        return set(connection.scalars(statement, _parameters(connection, rows)))
    statement = sqlite.insert(table).on_conflict_do_nothing().returning(table.c[key])
    return set(connection.scalars(statement, [*map(dict, rows)]))


def upsert_rows(
    connection: Connection, table: Table, rows: Rows, *, add: Sequence[str] = ()
) -> None:
    """Insert `rows`; a row whose primary key exists gets their other columns.

    The columns of `add` are numbers, which are added to those of the row that exists.
    """
    if rows:
        statement = _upsert(table, tuple(rows[0]), connection.dialect.name, tuple(add))
        connection.execute(statement, _parameters(connection, rows))


def update_rows(connection: Connection, table: Table, rows: Rows) -> None:
    """Update rows; each has its primary key and the same changed columns.

    Raises:
        sqlalchemy.orm.exc.StaleDataError: a row does not exist.
    """
    if not rows:
        return
    statement = _update(table, tuple(rows[0]), connection.dialect.name)
    result = connection.execute(
        statement, _parameters(connection, rows), execution_options={"preserve_rowcount": True}
    )
    if result.rowcount != len(rows):
        raise StaleDataError(f"{result.rowcount} of {len(rows)} rows of {table} were updated")


def _parameters(connection: Connection, rows: Rows) -> Any:
    """Return one list a column for PostgreSQL, one mapping a row for SQLite.

    Raises:
        ValueError: a row has other columns than the first one, so a value would be lost.
    """
    if any(row.keys() != rows[0].keys() for row in rows):
        raise ValueError(f"rows with other columns than {', '.join(rows[0])}")
    if connection.dialect.name == "postgresql":
        return {_name(key): [row[key] for row in rows] for key in rows[0]}
    return [{_name(key): value for key, value in row.items()} for row in rows]


def _name(key: str) -> str:
    # SQLAlchemy keeps the bare names of columns for itself.
    return f"{key}_"


@cache
def _insert(table: Table, keys: tuple[str, ...], dialect: str, ignore_conflicts: bool) -> Any:
    if dialect == "postgresql":
        new = _unnested(table, keys)
        statement = postgresql.insert(table).from_select(keys, select(*(new.c[k] for k in keys)))
        return statement.on_conflict_do_nothing() if ignore_conflicts else statement
    values = {key: bindparam(_name(key), type_=_type_of(table, key)) for key in keys}
    plain = sqlite.insert(table).values(values)
    return plain.on_conflict_do_nothing() if ignore_conflicts else plain


@cache
def _insert_returning(table: Table, keys: tuple[str, ...], key: str, lock: str) -> Any:
    new = _unnested(table, keys)
    locked = select(locked_by(lock)).cte("locked")
    # Joined to the rows, so that the lock is taken before the first of them is inserted.
    rows = select(*(new.c[k] for k in keys)).join_from(locked, new, true())
    statement = postgresql.insert(table).from_select(keys, rows)
    return statement.on_conflict_do_nothing().returning(table.c[key])


@cache
def _upsert(table: Table, keys: tuple[str, ...], dialect: str, add: tuple[str, ...]) -> Any:
    statement = _insert(table, keys, dialect, False)
    new, primary = statement.excluded, [each.key for each in table.primary_key]
    changed = {
        key: table.c[key] + new[key] if key in add else new[key]
        for key in keys
        if key not in primary
    }
    return statement.on_conflict_do_update(index_elements=primary, set_=changed)


@cache
def _update(table: Table, keys: tuple[str, ...], dialect: str) -> Any:
    primary = [each.key for each in table.primary_key]
    changed = [key for key in keys if key not in primary]
    if dialect == "postgresql":
        new = _unnested(table, keys)
        same = (table.c[key] == new.c[key] for key in primary)
        return update(table).where(*same).values({key: new.c[key] for key in changed})
    given = {key: bindparam(_name(key), type_=_type_of(table, key)) for key in keys}
    same = (table.c[key] == given[key] for key in primary)
    return update(table).where(*same).values({key: given[key] for key in changed})


def _unnested(table: Table, keys: Sequence[str]) -> Any:
    types = {key: _type_of(table, key) for key in keys}
    arrays = (bindparam(_name(key), type_=_array(types[key])) for key in keys)
    columns = (column(key, types[key]) for key in keys)
    return func.unnest(*arrays).table_valued(*columns, name="new").render_derived()


def _type_of(table: Table, key: str) -> TypeEngine[Any]:
    kind = table.c[key].type
    # None is NULL, also in a column of JSON.
    return JSON(none_as_null=True) if isinstance(kind, JSON) else kind


def _array(kind: TypeEngine[Any]) -> ARRAY[Any]:
    # A cast to VARCHAR(n) would cut off what is too long; an INSERT refuses it.
    plain = isinstance(kind, String) and not isinstance(kind, Enum)
    # One dimension: a value of JSON may be a list itself.
    return ARRAY(Text() if plain else kind, dimensions=1)


# --- Objects ------------------------------------------------------------------------------------


class _Plan:
    """How the objects of a mapped class are written; made once."""

    def __init__(self, mapper: Mapper[Any]) -> None:
        assert isinstance(mapper.local_table, Table)
        self.table = mapper.local_table
        #: By attribute: its column.
        self.columns = {each.key: each.columns[0].key for each in mapper.column_attrs}
        self.primary = [mapper.get_property_by_column(c).key for c in mapper.primary_key]
        self.defaults = {
            each.key: default
            for each in mapper.column_attrs
            if (default := each.columns[0].default) is not None
        }
        written = [each for each in mapper.relationships if not each.viewonly]
        self.collections = [
            (each.key, self._pairs(each))
            for each in written
            if each.direction is RelationshipDirection.ONETOMANY
        ]
        self.references = [
            (each.key, self._pairs(each))
            for each in written
            if each.direction is RelationshipDirection.MANYTOONE
        ]
        #: The attribute that the database numbers, if there is one.
        serial = self.table.autoincrement_column
        self.serial = None if serial is None else mapper.get_property_by_column(serial).key
        self.is_plain = not any(
            each.direction is RelationshipDirection.MANYTOMANY for each in written
        ) and not any(each.server_default for each in self.table.columns)

    @staticmethod
    def _pairs(relationship: Any) -> list[tuple[str, str]]:
        """Return (attribute here, attribute there) for each pair of columns that are equal."""
        here, there = relationship.parent, relationship.mapper
        return [
            (here.get_property_by_column(a).key, there.get_property_by_column(b).key)
            for a, b in relationship.local_remote_pairs
        ]


_plan = cache(_Plan)


def write_objects(session: Session) -> None:
    """Write the session's new and changed objects, then detach all of its objects.

    The last work of a transaction: nothing may be loaded or changed afterwards. What has no bulk
    form, as a deleted object, is left to the ORM's flush.
    """
    new, changed = [*session.new], [*session.dirty]
    if not new and not changed:
        return
    plans = {type(each): _plan(inspect(type(each))) for each in (*new, *changed)}
    if session.deleted or not _prepared(new, changed, plans):
        session.flush()
    else:
        connection = session.connection()
        _insert_objects(connection, new, plans)
        _update_objects(connection, changed, plans)
    session.expunge_all()


def _prepared(new: Sequence[Any], changed: Sequence[Any], plans: Mapping[type[Any], _Plan]) -> bool:
    """Set defaults and foreign keys as a flush would; return False for what only a flush can do."""
    if not all(plan.is_plain for plan in plans.values()):
        return False
    for each in new:
        serial = plans[type(each)].serial
        if serial is not None and each.__dict__.get(serial) is None:
            return False
        for key, default in plans[type(each)].defaults.items():
            if key not in each.__dict__:
                setattr(each, key, default.arg(None) if default.is_callable else default.arg)
    for each in new:
        plan = plans[type(each)]
        for key, pairs in plan.references:
            other = each.__dict__.get(key)
            if other is not None:
                _copy_keys(other, each, [(there, here) for here, there in pairs])
        for key, pairs in plan.collections:
            for child in each.__dict__.get(key, ()):
                _copy_keys(each, child, pairs)
    for each in changed:
        plan, unchanged = plans[type(each)], inspect(each).unmodified
        if any(key not in unchanged for key, _ in plan.references):
            return False
        for key, pairs in plan.collections:
            if key not in unchanged:
                history = get_history(each, key, PASSIVE_NO_INITIALIZE)
                if history.deleted:
                    return False
                for child in history.added:
                    _copy_keys(each, child, pairs)
    return True


def _copy_keys(source: Any, target: Any, pairs: Iterable[tuple[str, str]]) -> None:
    for from_key, to_key in pairs:
        if target.__dict__.get(to_key) is None:
            setattr(target, to_key, getattr(source, from_key))


def _insert_objects(
    connection: Connection, new: Iterable[Any], plans: Mapping[type[Any], _Plan]
) -> None:
    rows: dict[type[Any], list[dict[str, Any]]] = {}
    for each in new:
        values = each.__dict__
        columns = plans[type(each)].columns
        row = {column_key: values.get(key) for key, column_key in columns.items()}
        rows.setdefault(type(each), []).append(row)
    for kind in sorted(rows, key=lambda kind: _place(plans[kind].table)):
        insert_rows(connection, plans[kind].table, rows[kind])


def _update_objects(
    connection: Connection, changed: Iterable[Any], plans: Mapping[type[Any], _Plan]
) -> None:
    rows: dict[tuple[type[Any], tuple[str, ...]], list[Any]] = {}
    for each in changed:
        unchanged = inspect(each).unmodified
        keys = tuple(key for key in plans[type(each)].columns if key not in unchanged)
        if keys:
            rows.setdefault((type(each), keys), []).append(each)
    for (kind, keys), objects in rows.items():
        plan = plans[kind]
        # In the order of their keys: two transactions that need the same rows cannot deadlock.
        objects.sort(key=attrgetter(*plan.primary))
        written = {key: plan.columns[key] for key in (*plan.primary, *keys)}
        update_rows(
            connection,
            plan.table,
            [
                {column_key: getattr(each, key) for key, column_key in written.items()}
                for each in objects
            ],
        )


@cache
def _place(table: Table) -> int:
    """Return a table's place in its metadata, after the tables that it refers to."""
    return table.metadata.sorted_tables.index(table)
