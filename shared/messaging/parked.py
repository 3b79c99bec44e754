"""Events that could not take effect yet: kept in the service's own database, in order by subject.

The first event of a subject that fails is `waiting`; later ones of that subject are parked
`behind` it, so that their order is kept, while all other subjects go on. It is tried again
with growing pauses, and after `ATTEMPTS` it is `dead` and waits for an operator. Only the first
of a subject ever has a time for its next try. What its publisher said before one that waits, and
says again since the broker lost it, goes before that one: it may be just what that one lacks.
"""

import random
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from sqlalchemy import Table, delete, func, select, update
from sqlalchemy.orm import Session

from shared.messaging.envelope import Envelope, decode
from shared.messaging.tables import Parked
from shared.runtime.backoff import pause_after
from shared.runtime.clock import now
from shared.runtime.inserts import insert
from shared.runtime.logs import scrub

#: Tries before an event is given to the operator: with the pauses below, after about 4 hours.
ATTEMPTS = 12
#: Starts in a row that ended with the worker's death before an event is not started again.
DEADLY_STARTS = 2
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=2), timedelta(hours=1)
#: Characters of an error that are kept.
ERROR_LENGTH = 2000
#: The reason of an event during whose handling the worker died.
KILLED = "killed_worker"
_NEXT_PLACE = select(func.coalesce(func.max(Parked.arrival), 0) + 1)


def next_attempt(attempts: int) -> datetime:
    """Return when to try again an event that failed `attempts` times.

    The pause has a little chance in it: a crowd that failed together must not come back together.
    """
    return now() + pause_after(attempts, FIRST_PAUSE, LONGEST_PAUSE) * random.uniform(1.0, 1.1)


def firsts_of(session: Session, subjects: Iterable[str]) -> dict[str, UUID]:
    """Return the first parked event of those `subjects` that have any: others wait behind it."""
    places = (
        select(func.min(Parked.arrival))
        .where(Parked.subject.in_(set(subjects)))
        .group_by(Parked.subject)
    )
    rows = session.execute(
        select(Parked.subject, Parked.event_id).where(Parked.arrival.in_(places))
    )
    return {subject: event_id for subject, event_id in rows}


def park(
    session: Session,
    event: Envelope,
    reason: str,
    error: str | None,
    state: str,
    place: int | None = None,
) -> None:
    """Park one event; `state` is `waiting`, `behind`, `suspect` or `dead`.

    Its place in the order is the last if none is given. One that is parked already keeps its own,
    and its attempts.
    """
    moment = now()
    to_be_tried = state in ("waiting", "suspect")
    changing = {
        "reason": reason,
        "error": None if error is None else _storable(error),
        "next_attempt_at": next_attempt(1) if to_be_tried else None,
        "state": state,
    }
    table = Parked.__table__
    assert isinstance(table, Table)
    session.execute(
        insert(session, table)
        .values(
            event_id=event.event_id,
            # Counted in the statement: whoever parks holds the consumer's turn.
            arrival=_NEXT_PLACE.scalar_subquery() if place is None else place,
            subject=event.subject,
            publisher=event.publisher,
            type=event.type,
            body=event.body,
            attempts=0 if state == "behind" else 1,
            first_failed_at=moment,
            **changing,
        )
        .on_conflict_do_update(index_elements=["event_id"], set_=changing)
    )


def wait(session: Session, event: Envelope, first: UUID) -> UUID:
    """Park an event of a subject of which `first` is parked, at its place.

    Returns the first of the subject now. It is due at once if it is this event.
    """
    later = _said_later(session, event)
    if not later:
        park(session, event, "behind", None, "behind")
        return first
    place = session.scalars(_NEXT_PLACE).one()
    # From the last on, each to the place that the one after it has left: no two ever have the same.
    for row in reversed(later):
        row.arrival, place = place, row.arrival
        if row.state != "dead":
            row.state, row.next_attempt_at = "behind", None
        session.flush()
    park(session, event, "behind", None, "behind", place)
    return _first_of(session, event.subject) or event.event_id


def _said_later(session: Session, event: Envelope) -> list[Parked]:
    """Return what is parked of the same subject and publisher and comes after it, in order."""
    said = select(Parked).where(
        Parked.subject == event.subject, Parked.publisher == event.publisher
    )
    last = session.scalars(said.order_by(Parked.arrival.desc()).limit(1)).one_or_none()
    # Nearly always: a subject's events come in their order, and wait in it.
    if last is None or decode(last.body).sequence <= event.sequence:
        return []
    rows = session.scalars(said.order_by(Parked.arrival))
    return [row for row in rows if decode(row.body).sequence > event.sequence]


def _storable(error: str) -> str:
    """Return the text as every database takes it: no NUL, no half characters, not too long.

    An error of any code may quote what it was given: no phone, card or address is kept of it.
    """
    readable = error.encode(errors="backslashreplace").decode().replace("\0", "\\0")
    return scrub(readable)[:ERROR_LENGTH]


def any_due(session: Session) -> bool:
    """Return whether the pause of any parked event is over, by one look that locks nothing."""
    due = select(Parked.event_id).where(Parked.next_attempt_at <= now()).limit(1)
    return session.execute(due).first() is not None


def next_due(session: Session) -> Parked | None:
    """Return the parked event to try next, if the pause of any is over."""
    return session.scalars(
        select(Parked)
        .where(Parked.next_attempt_at <= now())
        .order_by(Parked.next_attempt_at)
        .limit(1)
    ).one_or_none()


def start(row: Parked) -> bool:
    """Note that a parked event is about to be handled; return False when it must not be.

    To be committed before the handling begins. Whoever ends the handling also ends the state
    `suspect`; a row that still has it was being handled when the worker died.
    """
    if row.state == "suspect":
        if row.reason == KILLED and row.attempts >= DEADLY_STARTS:
            row.state, row.next_attempt_at = "dead", None
            row.error = "the worker died each time it handled this event"
            return False
        row.reason = KILLED
    row.state = "suspect"
    row.attempts += 1
    row.next_attempt_at = next_attempt(row.attempts)
    return True


def fail(row: Parked, reason: str, error: str) -> None:
    """Note how the attempt that was started ended, and when to make the next one, if at all."""
    row.reason, row.error = reason, _storable(error)
    if row.attempts >= ATTEMPTS:
        row.state, row.next_attempt_at = "dead", None
    else:
        row.state, row.next_attempt_at = "waiting", next_attempt(row.attempts)


def put_back(row: Parked) -> None:
    """Take back the start of an attempt that the database cut short: it says nothing about it."""
    row.state = "waiting"
    row.attempts -= 1
    row.next_attempt_at = next_attempt(1)


def try_again(session: Session, reasons: Iterable[str], types: Iterable[str]) -> int:
    """Let the parked events of these types and reasons be due, with all attempts before them.

    Returns how many. What waits behind another goes on waiting.
    """
    changed = session.execute(
        update(Parked)
        .where(
            Parked.reason.in_(tuple(reasons)),
            Parked.type.in_(tuple(types)),
            Parked.state.in_(("waiting", "dead")),
        )
        .values(state="waiting", attempts=0, next_attempt_at=now())
    )
    return int(changed.rowcount)  # type: ignore[attr-defined]


class Placed(Protocol):
    """What has a place in the order of its subject: an event, or its row here."""

    @property
    def event_id(self) -> UUID:
        """Which event."""

    @property
    def subject(self) -> str:
        """Of which subject."""


def leave(session: Session, event: Placed) -> UUID | None:
    """Forget a parked event that is over; the next of its subject is due at once.

    Returns the id of that next one.
    """
    session.execute(delete(Parked).where(Parked.event_id == event.event_id))
    return _first_of(session, event.subject)


def _first_of(session: Session, subject: str) -> UUID | None:
    """Return the first event of a subject; one that waited behind another is due at once."""
    row = session.scalars(
        select(Parked).where(Parked.subject == subject).order_by(Parked.arrival).limit(1)
    ).one_or_none()
    if row is None:
        return None
    if row.state == "behind":
        row.state, row.next_attempt_at = "waiting", now()
    return row.event_id


def counts(session: Session) -> dict[str, int]:
    """Return how many events are parked, by state."""
    rows = session.execute(select(Parked.state, func.count()).group_by(Parked.state))
    return {state: count for state, count in rows}
