"""Read feeds: a subscription, and its entries by position."""

from collections.abc import Collection, Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.notifications.models import FeedEntry, Subscription
from services.notifications.use_cases.feed.enter import EPOCH
from services.notifications.use_cases.feed.subscribe import SubscriptionNotFound
from shared.runtime.paging import Page, page

#: Rows of one statement.
AT_ONCE = 100
#: Bytes of events after which a part ends, so that no answer needs much memory.
MOST_BYTES = 4_000_000
#: Entries that one part looks through at most if it has only some types.
LOOKED_THROUGH = 10_000


class Entry(NamedTuple):
    """One event of a feed."""

    position: int
    event_id: UUID
    type: str
    subject: str
    #: The CloudEvent as it was published.
    body: bytes


class Feed(NamedTuple):
    """A subscription, and the present epoch of the database."""

    subscription: Subscription
    epoch: int


class Part(NamedTuple):
    """Some entries of a feed, and the position up to which it was looked through."""

    entries: Sequence[Entry]
    through: int


def find_feed(session: Session, partner: str) -> Feed:
    """Return a partner's feed.

    Raises:
        SubscriptionNotFound: it has none.
    """
    found = session.execute(
        select(Subscription, EPOCH).where(Subscription.partner == partner)
    ).one_or_none()
    if found is None:
        raise SubscriptionNotFound(
            f"There is no subscription of {partner}. Make one: PUT /api/events/v1/subscription."
        )
    return Feed(found[0], found[1])


def list_subscriptions(
    session: Session, *, limit: int, cursor: str | None = None
) -> Page[Subscription]:
    """Return subscriptions by the partner's name."""
    return page(session, select(Subscription), Subscription.partner, limit=limit, cursor=cursor)


def read_entries(
    session: Session,
    subscription_id: UUID,
    after: int,
    limit: int,
    types: Collection[str] = (),
    through: int | None = None,
) -> list[Entry]:
    """Return up to `limit` entries behind position `after`, in their order.

    They end early after `MOST_BYTES`, but never empty. With `types` only entries of these event
    types; with `through` none behind this position.
    """
    found: list[Entry] = []
    size = 0
    while len(found) < limit and size < MOST_BYTES:
        at_once = min(AT_ONCE, limit - len(found))
        statement = (
            select(
                FeedEntry.position,
                FeedEntry.event_id,
                FeedEntry.type,
                FeedEntry.subject,
                FeedEntry.body,
            )
            .where(FeedEntry.subscription_id == subscription_id, FeedEntry.position > after)
            .order_by(FeedEntry.position)
            .limit(at_once)
        )
        if types:
            statement = statement.where(FeedEntry.type.in_(types))
        if through is not None:
            statement = statement.where(FeedEntry.position <= through)
        rows = [Entry(*row) for row in session.execute(statement)]
        for row in rows:
            found.append(row)
            size += len(row.body)
            if size >= MOST_BYTES:
                break
        if len(rows) < at_once:
            break
        after = rows[-1].position
    return found


def read_part(
    session: Session,
    subscription: Subscription,
    after: int,
    limit: int,
    types: Collection[str] | None = None,
) -> Part:
    """Return the next entries of a feed; with `types` only those of these event types.

    `subscription` must be read before, in the same session: entries that are committed after it
    belong to the next part, otherwise the part could end behind an entry that it does not have.
    """
    if types is None:
        entries = read_entries(
            session, subscription.id, after, limit, through=subscription.last_position
        )
        return Part(entries, entries[-1].position if entries else after)
    through = min(subscription.last_position, after + LOOKED_THROUGH)
    entries = read_entries(session, subscription.id, after, limit, types, through)
    is_full = len(entries) == limit or sum(len(each.body) for each in entries) >= MOST_BYTES
    return Part(entries, entries[-1].position if entries and is_full else through)
