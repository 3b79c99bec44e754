"""Load the deliveries that are due."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from services.notifications.models import Delivery, Endpoint, FeedEntry, Subscription
from services.notifications.use_cases.feed.cursors import cursor_of
from services.notifications.use_cases.feed.enter import EPOCH
from services.notifications.use_cases.feed.read import Feed
from shared.runtime import clock


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
    order = (Delivery.next_try_at, Delivery.position)
    ranked = (
        select(
            Delivery.id,
            Delivery.endpoint_id,
            Delivery.position,
            Delivery.event_id,
            Delivery.subject,
            Delivery.created_at,
            Delivery.next_try_at,
            Delivery.attempts,
            func.row_number().over(partition_by=Delivery.endpoint_id, order_by=order).label("rank"),
            func.count().over(partition_by=Delivery.endpoint_id).label("backlog"),
        )
        .where(Delivery.next_try_at <= clock.now())
        .subquery()
    )
    rows = session.execute(
        select(
            ranked.c.id,
            ranked.c.endpoint_id,
            ranked.c.position,
            ranked.c.event_id,
            ranked.c.subject,
            ranked.c.created_at,
            ranked.c.attempts,
            ranked.c.backlog,
            Endpoint.url,
            Endpoint.secret_number,
            Endpoint.previous_until,
            Endpoint.paused_until.is_not(None).label("is_failing"),
            FeedEntry.body,
            Subscription,
            EPOCH.label("epoch"),
        )
        .join(Endpoint, Endpoint.id == ranked.c.endpoint_id)
        .join(Subscription, Subscription.id == Endpoint.subscription_id)
        .outerjoin(
            FeedEntry,
            and_(
                FeedEntry.subscription_id == Endpoint.subscription_id,
                FeedEntry.position == ranked.c.position,
            ),
        )
        .where(ranked.c.rank <= at_once, Endpoint.deleted_at.is_(None))
        .order_by(ranked.c.rank, ranked.c.next_try_at)
    )
    found = []
    for row in rows:
        values = row._asdict()
        feed = Feed(values.pop("Subscription"), values.pop("epoch"))
        found.append(DueDelivery(**values, cursor=cursor_of(feed, row.position or 0)))
    return found
