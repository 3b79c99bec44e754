"""Load the deliveries that are due."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from services.notifications.models import Delivery, Endpoint, FeedEntry, Subscription
from services.notifications.use_cases.feed.cursors import cursor_of
from services.notifications.use_cases.feed.enter import EPOCH
from services.notifications.use_cases.feed.read import Feed
from shared.runtime import clock
from shared.runtime.bulk import among


@dataclass(frozen=True)
class DueDelivery:
    """A delivery that is due, with everything that one attempt needs."""

    id: UUID
    endpoint_id: UUID
    #: None: a ping.
    position: int | None
    event_id: UUID
    subject: str
    created_at: datetime
    #: Attempts before this one.
    attempts: int
    #: How many deliveries of the endpoint are due.
    backlog: int
    url: str
    secret_number: int
    previous_until: datetime | None
    #: Whether the endpoint's attempts fail: they are made one at a time.
    is_failing: bool
    #: The CloudEvent; None: a ping, or the entry is older than the feed's retention.
    body: bytes | None
    #: The cursor behind the entry.
    cursor: str


def load_due(session: Session, at_once: int) -> list[DueDelivery]:
    """Return what is due, up to `at_once` deliveries of each endpoint, the longest due first."""
    # For a window function, and for ids alone, SQLite would read the whole log.
    is_due = Delivery.next_try_at <= clock.now()
    ranks: dict[UUID, int] = {}
    backlogs: Counter[UUID] = Counter()
    for id_, endpoint_id in session.execute(
        select(Delivery.id, Delivery.endpoint_id)
        .where(is_due)
        .order_by(Delivery.next_try_at, Delivery.position)
    ):
        backlogs[endpoint_id] += 1
        if backlogs[endpoint_id] <= at_once:
            ranks[id_] = backlogs[endpoint_id]
    if not ranks:
        return []
    rows = session.execute(
        select(
            Delivery.id,
            Delivery.endpoint_id,
            Delivery.position,
            Delivery.event_id,
            Delivery.subject,
            Delivery.created_at,
            Delivery.attempts,
            Endpoint.url,
            Endpoint.secret_number,
            Endpoint.previous_until,
            Endpoint.paused_until.is_not(None).label("is_failing"),
            FeedEntry.body,
            Subscription,
            EPOCH.label("epoch"),
        )
        .join(Endpoint, Endpoint.id == Delivery.endpoint_id)
        .join(Subscription, Subscription.id == Endpoint.subscription_id)
        .outerjoin(
            FeedEntry,
            and_(
                FeedEntry.subscription_id == Endpoint.subscription_id,
                FeedEntry.position == Delivery.position,
            ),
        )
        .where(is_due, among(Delivery.id, ranks), Endpoint.deleted_at.is_(None))
        .order_by(Delivery.next_try_at, Delivery.position)
    )
    found = []
    for row in rows:
        values = row._asdict()
        feed = Feed(values.pop("Subscription"), values.pop("epoch"))
        cursor = cursor_of(feed, row.position or 0)
        found.append(DueDelivery(**values, cursor=cursor, backlog=backlogs[row.endpoint_id]))
    return sorted(found, key=lambda each: ranks[each.id])
