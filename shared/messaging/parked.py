"""Events that could not take effect yet, kept in the service's own database in order by subject.

The first event of a subject that fails is `waiting`. Later events of that subject are parked
`behind` it, which keeps their order, while all other subjects go on. The first is retried with
growing pauses; after `ATTEMPTS` failures it is `dead` and waits for an operator. Only the first
event of a subject has a time for its next attempt.

An event that the publisher re-sent after a broker loss is placed before later events of its
subject: they may have failed because it was missing.
"""

import random
from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Table, delete, func, select, update
from sqlalchemy.orm import Session

from shared.messaging.envelope import Envelope, decode
from shared.messaging.tables import Parked
from shared.runtime.backoff import pause_after
from shared.runtime.bulk import among
from shared.runtime.clock import now
from shared.runtime.inserts import insert
from shared.runtime.logs import scrub

#: Attempts before an event waits for an operator: with the pauses below, 68 to 75 minutes.
ATTEMPTS = 12
#: An event is not started again after this many starts in a row that killed the worker.
DEADLY_STARTS = 2
#: The first and the longest pause between attempts.
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=2), timedelta(hours=1)
#: Characters of an error that are kept.
ERROR_LENGTH = 2000
#: The reason for parking an event during which the worker died.
KILLED = "killed_worker"
_NEXT_PLACE = select(func.coalesce(func.max(Parked.arrival), 0) + 1)


def next_attempt(attempts: int) -> datetime:
    """Return when to retry an event that failed `attempts` times.

    Up to 10 % jitter spreads the retries of events that failed at the same time.
    """
    return now() + pause_after(attempts, FIRST_PAUSE, LONGEST_PAUSE) * random.uniform(1.0, 1.1)


def firsts_of(session: Session, subjects: Iterable[str]) -> dict[str, UUID]:
    """Return the first parked event of each of the `subjects` that has one."""
    places = (
        select(func.min(Parked.arrival))
        .where(among(Parked.subject, set(subjects)))
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

    Its place in the order is the last unless `place` is given. An event that is parked already
    keeps its place and its attempts.
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
            # Counted in the statement: the consumer's advisory lock is held here.
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
    """Park an event whose subject has parked events, `first` being the first, at its place.

    Returns the subject's first event afterwards. If that is this event, it is due at once.
    """
    later = _later_of(session, event)
    if not later:
        park(session, event, "behind", None, "behind")
        return first
    place = session.scalars(_NEXT_PLACE).one()
    # From the last to the first, each takes the place of its successor: places stay unique.
    for row in reversed(later):
        row.arrival, place = place, row.arrival
        if row.state != "dead":
            row.state, row.next_attempt_at = "behind", None
        session.flush()
    park(session, event, "behind", None, "behind", place)
    return _first_of(session, event.subject) or event.event_id


def _later_of(session: Session, event: Envelope) -> list[Parked]:
    """Return the parked events of the same subject and publisher with a higher sequence."""
    same = select(Parked).where(
        Parked.subject == event.subject, Parked.publisher == event.publisher
    )
    last = session.scalars(same.order_by(Parked.arrival.desc()).limit(1)).one_or_none()
    # The usual case: a subject's events arrive, and are parked, in their order.
    if last is None or decode(last.body).sequence <= event.sequence:
        return []
    rows = session.scalars(same.order_by(Parked.arrival))
    return [row for row in rows if decode(row.body).sequence > event.sequence]


def _storable(error: str) -> str:
    """Return the text as every database can store it: no NUL, no lone surrogate, not too long.

    An error may quote its input, so phones, cards and addresses are removed.
    """
    readable = error.encode(errors="backslashreplace").decode().replace("\0", "\\0")
    return scrub(readable)[:ERROR_LENGTH]


def any_due(session: Session) -> bool:
    """Return whether any parked event is due; locks nothing."""
    due = select(Parked.event_id).where(Parked.next_attempt_at <= now()).limit(1)
    return session.execute(due).first() is not None


def next_due(session: Session) -> Parked | None:
    """Return the parked event that is due first, or None."""
    return session.scalars(
        select(Parked)
        .where(Parked.next_attempt_at <= now())
        .order_by(Parked.next_attempt_at)
        .limit(1)
    ).one_or_none()


def start(row: Parked) -> bool:
    """Record that a parked event is about to be handled; return False when it must not be.

    The caller commits before the handler runs. The end of the handler ends the state `suspect`, so
    a row that is still `suspect` was being handled when the worker died.
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
    """Record that the attempt failed, and when the next one is due, if any."""
    row.reason, row.error = reason, _storable(error)
    if row.attempts >= ATTEMPTS:
        row.state, row.next_attempt_at = "dead", None
    else:
        row.state, row.next_attempt_at = "waiting", next_attempt(row.attempts)


def put_back(row: Parked) -> None:
    """Undo the start of an attempt: the database failed, not the event."""
    row.state = "waiting"
    row.attempts -= 1
    row.next_attempt_at = next_attempt(1)


def try_again(session: Session, reasons: Iterable[str], types: Iterable[str]) -> int:
    """Make the parked events of these types and reasons due, with no attempt counted.

    Returns how many. Events behind another stay behind it.
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


def leave(session: Session, event: Envelope | Parked) -> UUID | None:
    """Remove a parked event that has taken effect or is discarded; the subject's next is due.

    Returns the id of the next event.
    """
    session.execute(delete(Parked).where(Parked.event_id == event.event_id))
    return _first_of(session, event.subject)


def _first_of(session: Session, subject: str) -> UUID | None:
    """Return the subject's first parked event; if it waited behind another, it is due now."""
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
