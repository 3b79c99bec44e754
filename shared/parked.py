"""Events that could not take effect yet: kept in the service's own database, in order by subject.

The first event of a subject that fails is `waiting`; later ones of that subject are parked
`behind` it, so that their order is kept, while all other subjects go on. It is tried again
with growing pauses, and after `ATTEMPTS` it is `dead` and waits for an operator.
"""

import random
from collections.abc import Iterable
from datetime import timedelta

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from shared.clock import now
from shared.envelope import Envelope
from shared.tables import Parked

#: Tries before an event is given to the operator: with the pauses below, after about 4 hours.
ATTEMPTS = 12
#: The first pause and the longest, in seconds.
FIRST_PAUSE, LONGEST_PAUSE = 2, 3600
#: Characters of an error that are kept.
ERROR_LENGTH = 2000


def pause_after(attempts: int) -> timedelta:
    """Return how long to wait after the `attempts`-th failure: doubling, with a little chance.

    Chance keeps a crowd of events that failed together from coming back together.
    """
    seconds = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (attempts - 1))
    return timedelta(seconds=seconds * random.uniform(1.0, 1.1))


def held_subjects(session: Session, subjects: Iterable[str]) -> set[str]:
    """Return those of `subjects` that have parked events, so that more must wait behind them."""
    statement = select(Parked.subject).where(Parked.subject.in_(set(subjects))).distinct()
    return set(session.scalars(statement))


def park(session: Session, event: Envelope, reason: str, error: str | None, state: str) -> None:
    """Park one event; `state` is `waiting`, `behind`, `suspect` or `dead`."""
    moment = now()
    session.execute(
        insert(Parked).values(
            event_id=event.event_id,
            # Counted in the statement: whoever parks holds the consumer's turn.
            arrival=select(func.coalesce(func.max(Parked.arrival), 0) + 1).scalar_subquery(),
            subject=event.subject,
            publisher=event.publisher,
            type=event.type,
            body=event.body,
            reason=reason,
            error=error[:ERROR_LENGTH] if error else None,
            attempts=0 if state == "behind" else 1,
            first_failed_at=moment,
            next_attempt_at=moment + pause_after(1) if state == "waiting" else None,
            state=state,
        )
    )


def next_due(session: Session) -> Parked | None:
    """Return the parked event to try next: the first of its subject, its pause over."""
    first = select(func.min(Parked.arrival)).group_by(Parked.subject)
    return session.scalars(
        select(Parked)
        .where(Parked.arrival.in_(first))
        .where(
            (Parked.state == "behind")
            | ((Parked.state == "waiting") & (Parked.next_attempt_at <= now()))
        )
        .order_by(Parked.arrival)
        .limit(1)
    ).one_or_none()


def failed_again(row: Parked, reason: str, error: str) -> None:
    """Note one more failed attempt of a parked event, and when to try it next, if at all."""
    row.attempts += 1
    row.reason, row.error = reason, error[:ERROR_LENGTH]
    if row.attempts >= ATTEMPTS:
        row.state, row.next_attempt_at = "dead", None
    else:
        row.state, row.next_attempt_at = "waiting", now() + pause_after(row.attempts)


def counts(session: Session) -> dict[str, int]:
    """Return how many events are parked, by state."""
    rows = session.execute(select(Parked.state, func.count()).group_by(Parked.state))
    return {state: count for state, count in rows}
