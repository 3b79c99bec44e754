"""Late rows: rows that wait longer than a limit, found by one query per service.

The gauge for alerts and `farmgate doctor` run the query. Nothing is stored about a late row.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, literal, select, union_all
from sqlalchemy.orm import Session

from shared.runtime import clock
from shared.runtime.config import read_integer

#: Rows of one kind that are counted; a larger number would change no decision.
MOST = 1000

#: The longest wait of each kind.
Limits = Mapping[str, timedelta]


@dataclass(frozen=True)
class Late:
    """A kind of late row: its query, and its limit."""

    kind: str
    #: The column with the id for `farmgate trace`.
    traced_by: Any
    #: The column with the moment at which the wait began.
    since: Any
    #: The condition for a row that waits, late or not.
    waiting: ColumnElement[bool]
    #: The setting of the limit, and its default in seconds.
    setting: str
    seconds: int
    #: The condition for a late row, given the moment one limit ago; None: `since` is before it.
    overdue: Callable[[datetime], ColumnElement[bool]] | None = None

    def is_late(self, before: datetime) -> ColumnElement[bool]:
        """Return the condition for late rows; `before` is the moment one limit ago."""
        overdue = self.since < before if self.overdue is None else self.overdue(before)
        return and_(self.waiting, overdue)


@dataclass(frozen=True)
class Case:
    """A late row."""

    traced_by: UUID
    since: datetime


def limits_of(lates: Sequence[Late], environment: Mapping[str, str]) -> Limits:
    """Read the limit of each kind from the settings.

    Raises:
        Misconfigured: a limit is not a whole number of seconds, at least 1.
    """
    return {
        late.kind: timedelta(seconds=read_integer(environment, late.setting, late.seconds, least=1))
        for late in lates
    }


def find(session: Session, lates: Sequence[Late], limits: Limits) -> dict[str, list[Case]]:
    """Return up to `MOST` late rows of each kind, the longest wait first."""
    found: dict[str, list[Case]] = {late.kind: [] for late in lates}
    if not lates:
        return found
    moment = clock.now()
    # In a UNION, only a subquery can have its own ORDER BY and LIMIT.
    kinds = [
        select(late.traced_by.label("traced_by"), late.since.label("since"))
        .where(late.is_late(moment - limits[late.kind]))
        .order_by(late.since)
        .limit(MOST)
        .subquery()
        for late in lates
    ]
    every = union_all(
        *(
            select(literal(late.kind).label("kind"), rows.c.traced_by, rows.c.since)
            for late, rows in zip(lates, kinds, strict=True)
        )
    ).subquery()
    for kind, traced_by, since in session.execute(select(every).order_by(every.c.since)):
        found[kind].append(Case(traced_by, since))
    return found
