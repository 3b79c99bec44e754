"""Cases that wait too long: found by the clock, told once each, forgotten when they move on.

A service lists the ways in which its cases can be late; the timer made of them notes each late
case in the transaction that records its event, so that it is told once, also when the worker
dies in between. The log line comes after the commit: it alone may be lost with the worker.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, exists, func, select
from sqlalchemy.orm import Session

from shared import clock, outbox
from shared.config import Settings, read_integer
from shared.database import Database
from shared.events import Event
from shared.events.stalled import RELAY
from shared.logs import get
from shared.service import Timer
from shared.tables import Outbox, StalledCase

log = get(__name__)

#: Cases of one kind told in one transaction.
AT_ONCE = 200
#: Seconds between looks.
EVERY = 15.0
#: Seconds an event may wait to be published.
RELAY_SECONDS = 60


@dataclass(frozen=True)
class Late:
    """One way in which a service's cases can be late."""

    kind: str
    #: The mapped class of the cases; it has an `id` and a `version`.
    rows: Any
    #: The column that says from when a case waits. Another moment makes it another case.
    since: Any
    #: Whether a case waits at all, however long.
    waiting: ColumnElement[bool]
    #: Setting and default of the limit, in seconds.
    setting: str
    seconds: int
    #: `tell(session, row, kind=…, since=…)` records the event of a locked row.
    tell: Callable[..., None]
    #: Whether what waits is late, of the moment a limit ago; None: `since` lies before that.
    overdue: Callable[[datetime], ColumnElement[bool]] | None = None

    def is_late(self, before: datetime) -> ColumnElement[bool]:
        """Return the condition for rows that wait and are late."""
        overdue = self.since < before if self.overdue is None else self.overdue(before)
        return and_(self.waiting, overdue)


@dataclass(frozen=True)
class Told:
    """A case that was found late just now."""

    kind: str
    subject_id: UUID
    since: datetime


@dataclass
class _Once:
    """Stands for what has one event in its life, and no row to count it in."""

    version: int = 0


def timer(relay_contract: type[Event], lates: Sequence[Late] = ()) -> Timer:
    """Return the timer that finds a service's late cases, and events its relay does not get out."""
    return Timer("find stalled", EVERY, partial(find, relay_contract, lates))


def find(
    relay_contract: type[Event], lates: Sequence[Late], database: Database, settings: Settings
) -> bool:
    """Tell what is late and was not told before; return whether there may be more.

    Raises:
        Misconfigured: a limit is no number of seconds.
    """
    moment = clock.now()
    limit = _limit(settings, "FARMGATE_RELAY_LATE_SECONDS", RELAY_SECONDS)
    with database.sessions.begin() as session:
        told = look_at_relay(session, relay_contract, moment - limit)
    _log(told)
    more = False
    for late in lates:
        limit = _limit(settings, late.setting, late.seconds)
        with database.sessions.begin() as session:
            told = look(session, late, moment - limit)
        _log(told)
        more = more or len(told) == AT_ONCE
    return more


def _limit(settings: Settings, name: str, seconds: int) -> timedelta:
    return timedelta(seconds=read_integer(settings.environment, name, seconds, least=1))


def _log(told: Sequence[Told]) -> None:
    for case in told:
        log.warning(
            "stalled",
            kind=case.kind,
            subject=str(case.subject_id),
            since=clock.rfc3339(case.since),
        )


def look(session: Session, late: Late, before: datetime) -> list[Told]:
    """Forget cases of one kind that moved on, and tell up to `AT_ONCE` new ones, oldest first.

    A row that somebody has locked is moving just now, and is left for the next look.
    """
    # Without the time: a clock that is set back makes no case anew.
    still = exists().where(
        late.rows.id == StalledCase.subject_id, late.since == StalledCase.since, late.waiting
    )
    session.execute(
        delete(StalledCase).where(StalledCase.kind == late.kind, ~still),
        execution_options={"synchronize_session": False},
    )
    known = exists().where(StalledCase.kind == late.kind, StalledCase.subject_id == late.rows.id)
    rows = session.execute(
        select(late.rows, late.since)
        .where(late.is_late(before), ~known)
        .order_by(late.since)
        .limit(AT_ONCE)
        .with_for_update(skip_locked=True, of=late.rows)
    ).all()
    told = [Told(late.kind, row.id, since) for row, since in rows]
    for row, since in rows:
        late.tell(session, row, kind=late.kind, since=since)
    _note(session, told)
    return told


def look_at_relay(session: Session, contract: type[Event], before: datetime) -> list[Told]:
    """Tell once when the oldest unpublished event was recorded before a moment.

    Its own event waits behind it: until the relay goes on, log, metrics and readiness say so.
    The case ends when nothing unpublished is that old; that the oldest is another one by then is
    the same case.
    """
    oldest = session.execute(
        select(Outbox.event_id, Outbox.recorded_at)
        .where(Outbox.position.is_(None))
        .order_by(Outbox.id)
        .limit(1)
    ).first()
    case = session.scalars(select(StalledCase).where(StalledCase.kind == RELAY)).first()
    is_late = oldest is not None and oldest.recorded_at < before
    if case is not None:
        same = oldest is not None and oldest.event_id == case.subject_id
        if not is_late and not same:
            session.delete(case)
        return []
    if oldest is None or not is_late:
        return []
    told = [Told(RELAY, oldest.event_id, oldest.recorded_at)]
    outbox.record(session, contract, _Once(), event_id=oldest.event_id, since=oldest.recorded_at)
    _note(session, told)
    return told


def _note(session: Session, told: Sequence[Told]) -> None:
    session.add_all(
        StalledCase(
            kind=case.kind, subject_id=case.subject_id, since=case.since, told_at=clock.now()
        )
        for case in told
    )


def counts(session: Session) -> dict[str, int]:
    """Return how many cases are stalled, by kind; kinds without any are not there."""
    counted = session.execute(select(StalledCase.kind, func.count()).group_by(StalledCase.kind))
    return {kind: count for kind, count in counted}
