"""The part of every service in `farmgate verify`: differences within it, and facts to compare.

`GET …/verify` recomputes a service's balances from its own rows. `GET …/verify/facts` lists short
facts in pages; the command compares the facts of different services.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, TypeVarTuple
from uuid import UUID

from sqlalchemy import Result, Select, text
from sqlalchemy.orm import InstrumentedAttribute, Session

from shared.runtime.paging import Page, page

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: Seconds that one statement of a service's comparison may take.
COMPARING_SECONDS = 300
#: Differences that a service lists of one check; more of them usually have one cause.
MOST_DIFFERENCES = 200
#: Rows fetched at once: memory must not grow with the number of rows that are compared.
FETCHED = 2000


@dataclass(frozen=True)
class Difference:
    """Two values that should be equal and are not."""

    #: The name of the comparison that found it.
    check: str
    #: The things that were compared: names → ids, which the answer shows as text.
    ids: Mapping[str, object]
    expected: str
    found: str
    #: One sentence for people.
    detail: str


@dataclass
class Report:
    """The result of one service's comparison of its own rows."""

    service: str
    #: Kinds of things that were checked → their numbers.
    checked: dict[str, int]
    differences: list[Difference] = field(default_factory=list)
    #: Remarks for the operator that are no differences.
    notes: list[str] = field(default_factory=list)

    def add(self, differences: Iterable[Difference]) -> None:
        """List these differences, at most `MOST_DIFFERENCES` of each check; a note counts the rest.

        All differences of a check must come in one call.
        """
        found: Counter[str] = Counter()
        for difference in differences:
            found[difference.check] += 1
            if found[difference.check] <= MOST_DIFFERENCES:
                self.differences.append(difference)
        for check, count in found.items():
            if count > MOST_DIFFERENCES:
                self.notes.append(f"{count - MOST_DIFFERENCES} more of {check} are not listed.")


def read_snapshot(session: Session) -> None:
    """Make a new reading session read from one snapshot of the database.

    Without it, each statement would see another moment of a running system, and the comparison
    would find false differences. A transaction of SQLite always reads one snapshot.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        # Higher than the limit of other requests: it reads all rows, and the operator can wait.
        session.execute(text(f"SET LOCAL statement_timeout = '{COMPARING_SECONDS}s'"))


def stream(session: Session, statement: Select[*Ts]) -> Result[*Ts]:
    """Return the rows of `statement`, which come from the database `FETCHED` at a time."""
    return session.execute(statement.execution_options(yield_per=FETCHED))


@dataclass(frozen=True)
class Fact:
    """One service's data of one thing, in a short form that the command compares."""

    id: UUID
    value: Mapping[str, Any]


@dataclass(frozen=True)
class FactKind(Generic[T]):
    """A kind of facts: one fact for each row of `statement`."""

    statement: Select[T]
    #: The unique id of a row, which is the id of its fact.
    column: InstrumentedAttribute[UUID]
    #: Returns the values of a page's rows, in the order of the rows.
    values: Callable[[Session, Sequence[T]], Iterable[Mapping[str, Any]]]


def page_of_facts(
    session: Session,
    kinds: Mapping[str, FactKind[Any]],
    *,
    kind: str,
    ids: Sequence[UUID],
    limit: int,
    cursor: str | None = None,
) -> Page[Fact]:
    """Return one page of a kind's facts in the order of their ids; `ids`: only these, if any.

    Raises:
        MalformedCursor: the cursor is not one that this list gave out.
    """
    wanted = kinds[kind]
    statement = wanted.statement
    if ids:
        statement = statement.where(wanted.column.in_(ids))
    rows = page(session, statement, wanted.column, limit=limit, cursor=cursor)
    values = wanted.values(session, rows.items)
    facts = [
        Fact(getattr(row, wanted.column.key), value)
        for row, value in zip(rows.items, values, strict=True)
    ]
    return Page(facts, rows.next)


def by_lot(lots: Iterable[tuple[UUID | str, int]]) -> dict[str, int]:
    """Return the quantity of each lot, summed over lines and locations."""
    total: dict[str, int] = {}
    for lot_id, quantity in lots:
        total[str(lot_id)] = total.get(str(lot_id), 0) + quantity
    return total
