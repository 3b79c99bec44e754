"""Find published events that a consumer lacks after a restore, and mark them for publishing.

A consumer lacks an event if its restored database is older, or if the event was in a queue that
was purged. From the oldest such event on, the publisher's outbox rows become unpublished; its
relay publishes them again with new positions, and the inboxes drop the repeats.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import func, select, update

from shared.messaging.tables import Inbox, Outbox, RelayState
from shared.runtime.database import Database

#: Events in one query.
PAGE = 1000


class Receiver(NamedTuple):
    """A service and the event types it listens to."""

    database: Database
    types: frozenset[str]


def first_missing(publisher: Database, receivers: Sequence[Receiver]) -> int | None:
    """Return the position of the oldest published event that a receiver lacks, or None."""
    after = -1
    while True:
        page = (
            select(Outbox.position, Outbox.event_id, Outbox.type)
            .where(Outbox.position > after)
            .order_by(Outbox.position)
            .limit(PAGE)
        )
        with publisher.readers() as session:
            rows = session.execute(page).all()
        if not rows:
            return None
        types = {row.event_id: row.type for row in rows}
        missing: set[UUID] = set()
        for receiver in receivers:
            missing |= _missing(receiver, types)
        for row in rows:
            if row.event_id in missing:
                return int(row.position)
        after = rows[-1].position


def _missing(receiver: Receiver, types: Mapping[UUID, str]) -> set[UUID]:
    wanted = {event_id for event_id, type_ in types.items() if type_ in receiver.types}
    if not wanted:
        return set()
    with receiver.database.readers() as session:
        return wanted - set(
            session.scalars(select(Inbox.event_id).where(Inbox.event_id.in_(wanted)))
        )


def mark_for_republish(publisher: Database, first: int, epoch: int) -> int:
    """Mark the events from position `first` on as unpublished; return how many.

    They get new positions; the new `epoch` tells readers of the feed.
    """
    with publisher.sessions.begin() as session:
        again = session.scalar(select(func.count()).where(Outbox.position >= first)) or 0
        session.execute(
            update(Outbox)
            .where(Outbox.position >= first)
            .values(position=None, published_at=None)
            .execution_options(synchronize_session=False)
        )
        session.execute(update(RelayState).values(position=first - 1, epoch=epoch))
    return int(again)


def epoch_of(publisher: Database) -> int:
    """Return the epoch of a service's positions."""
    with publisher.readers() as session:
        return session.scalar(select(RelayState.epoch)) or 1
