"""Rows that wait longer than their limit, found by one query per service.

The gauge behind the alarms and `farmgate doctor` both ask for them, so nothing is kept about
them: a row that moves on is no longer found.
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

#: Rows of one kind that are looked at: beyond it, the number says no more.
MOST = 1000

#: How long each kind may wait.
Limits = Mapping[str, timedelta]


@dataclass(frozen=True)
class Late:
    """One way in which a service's rows can be late."""

    kind: str
    #: The column with the id by which `farmgate trace` finds the row.
    traced_by: Any
    #: The column that says since when a row waits.
    since: Any
    #: Whether a row waits at all, however long.
    waiting: ColumnElement[bool]
    #: Setting and default of the limit, in seconds.
    setting: str
    seconds: int
    #: Whether a waiting row is late, of the moment a limit ago; None: `since` lies before it.
    overdue: Callable[[datetime], ColumnElement[bool]] | None = None

    def is_late(self, before: datetime) -> ColumnElement[bool]:
        """Return the condition for rows that wait and are late."""
        overdue = self.since < before if self.overdue is None else self.overdue(before)
        return and_(self.waiting, overdue)


@dataclass(frozen=True)
class Case:
    """A row that is late."""

    traced_by: UUID
    since: datetime


def limits_of(lates: Sequence[Late], environment: Mapping[str, str]) -> Limits:
    """Read how long each kind may wait.

    Raises:
        Misconfigured: a limit is not a number of seconds.
    """
    return {
        late.kind: timedelta(seconds=read_integer(environment, late.setting, late.seconds, least=1))
        for late in lates
    }


def find(session: Session, lates: Sequence[Late], limits: Limits) -> dict[str, list[Case]]:
    """Return up to `MOST` late rows of each kind, the longest waiting first."""
    found: dict[str, list[Case]] = {late.kind: [] for late in lates}
    if not lates:
        return found
    moment = clock.now()
    # A database sorts and limits each kind by itself only inside a subquery.
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
