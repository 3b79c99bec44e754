"""The part of every service in `farmgate verify`: differences within it, and facts to compare.

`GET …/verify` recomputes a service's balances from its own rows. `GET …/verify/facts` lists short
facts in pages; the command compares the facts of different services.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

#: Seconds that one statement of a service's comparison may take.
COMPARING_SECONDS = 300
#: Differences that one service lists; more of them usually have one cause.
MOST_DIFFERENCES = 200


@dataclass(frozen=True)
class Difference:
    """Two values that should be equal and are not."""

    #: The name of the comparison that found it.
    check: str
    #: The things that were compared: names → ids.
    ids: Mapping[str, str]
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


def read_snapshot(session: Session) -> None:
    """Make a new reading session read from one snapshot of the database.

    Without it, each statement would see another moment of a running system, and the comparison
    would find false differences. A transaction of SQLite always reads one snapshot.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        # Higher than the limit of other requests: it reads all rows, and the operator can wait.
        session.execute(text(f"SET LOCAL statement_timeout = '{COMPARING_SECONDS}s'"))


@dataclass(frozen=True)
class Fact:
    """One service's data of one thing, in a short form that the command compares."""

    id: UUID
    value: Mapping[str, Any]


def by_lot(lots: Sequence[tuple[UUID, int]]) -> dict[str, int]:
    """Return the quantity of each lot, summed over lines and locations."""
    total: dict[str, int] = {}
    for lot_id, quantity in lots:
        total[str(lot_id)] = total.get(str(lot_id), 0) + quantity
    return total
