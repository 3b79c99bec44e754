"""After a restore: which events some receiver has not seen, and how they go out again.

An event that was published once lives only in its outbox when the receiver's database is older
than that, or when the broker had it and nobody had consumed it. Such an outbox is set back to
before the oldest one: its relay hands out those positions again, and inboxes drop the repeats.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from shared.messaging.tables import Inbox, Outbox, RelayState
from shared.runtime.database import Database

#: Events asked about at once.
PAGE = 1000


class Receiver(NamedTuple):
    """A service and the event types it listens to."""

    database: Database
    types: frozenset[str]


def first_missing(publisher: Database, receivers: Sequence[Receiver]) -> int | None:
    """Return the position of the oldest published event that a receiver never saw, or None."""
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
        unseen: set[UUID] = set()
        for receiver in receivers:
            unseen |= _unseen(receiver, types)
        for row in rows:
            if row.event_id in unseen:
                return int(row.position)
        after = rows[-1].position


def _unseen(receiver: Receiver, types: Mapping[UUID, str]) -> set[UUID]:
    wanted = {event_id for event_id, type_ in types.items() if type_ in receiver.types}
    if not wanted:
        return set()
    with receiver.database.readers() as session:
        return wanted - set(_known(session, wanted))


def _known(session: Session, event_ids: Iterable[UUID]) -> Iterable[UUID]:
    return session.scalars(select(Inbox.event_id).where(Inbox.event_id.in_(event_ids)))


def set_back(publisher: Database, first: int, epoch: int) -> int:
    """Let everything from position `first` on be published again; return how many events.

    Positions are handed out anew, so readers of the feed are told so by the new `epoch`.
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
