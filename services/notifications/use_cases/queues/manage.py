"""Add and remove queues, and set their positions back."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from services.notifications.batch import NotificationsBatch
from services.notifications.models import FeedEntry, QueueFeed, Subscription
from services.notifications.use_cases import feed
from shared.runtime import clock
from shared.runtime.errors import NotFound
from shared.runtime.logs import get

log = get(__name__)


class QueueNotFound(NotFound):
    """Raised when no partner's feed is assigned to a queue."""


class QueueState(NamedTuple):
    """A queue with its partner's feed."""

    queue: QueueFeed
    subscription: Subscription


def add_queue(
    batch: NotificationsBatch,
    queue: str,
    partner: str,
    actor: str,
    max_bytes: int,
    since: datetime | None = None,
) -> QueueState:
    """Feed a queue with a partner's events: new ones, or those since a moment.

    A queue that is fed already with this partner's events keeps its position. The subscription is
    made if there is none.

    Raises:
        UnknownTypes, NotGranted: the subscription's own types are no longer allowed.
    """
    try:
        subscription = feed.find_feed(batch.session, partner).subscription
    except feed.SubscriptionNotFound:
        subscription = feed.subscribe(batch, partner, actor, ())
        batch.session.flush()
    row = batch.get_for_update(QueueFeed.queue, queue)
    if row is not None and row.subscription_id == subscription.id:
        row.max_bytes = max_bytes
        return QueueState(row, subscription)
    position = subscription.last_position
    if since is not None:
        position = _position_at(batch.session, subscription, since)
    moment = clock.now()
    if row is None:
        row = QueueFeed(queue=queue, generation=0, created_at=moment)
        batch.track(QueueFeed.queue, row)
    row.subscription_id, row.generation = subscription.id, row.generation + 1
    row.position = row.taken_position = position
    row.outcome, row.max_bytes, row.moved_at = "fed", max_bytes, moment
    row.waiting = row.waiting_bytes = row.consumers = 0
    feed.record_action(batch, partner, actor, "queue_added", {"queue": queue})
    return QueueState(row, subscription)


def remove_queue(batch: NotificationsBatch, queue: str, actor: str) -> None:
    """Feed a queue no longer; nothing happens if it was not fed."""
    row = batch.get_for_update(QueueFeed.queue, queue)
    if row is None:
        return
    subscription = batch.session.get_one(Subscription, row.subscription_id)
    feed.record_action(batch, subscription.partner, actor, "queue_removed", {"queue": queue})
    batch.session.delete(row)


def list_queues(session: Session) -> dict[str, QueueState]:
    """Return all queues by name."""
    rows = session.execute(
        select(QueueFeed, Subscription)
        .join(Subscription, Subscription.id == QueueFeed.subscription_id)
        .order_by(QueueFeed.queue)
    )
    return {queue.queue: QueueState(queue, subscription) for queue, subscription in rows}


def replay_queue(
    batch: NotificationsBatch, queue: str, actor: str, since: datetime | None
) -> tuple[int, int]:
    """Set a queue's position back; return how many events are fed again, and the first position.

    Without `since` everything that the feed still has is fed again.

    Raises:
        QueueNotFound
    """
    row = batch.get_for_update(QueueFeed.queue, queue)
    if row is None:
        raise QueueNotFound(f"No partner's feed is assigned to {queue}.")
    subscription = batch.session.get_one(Subscription, row.subscription_id)
    position = subscription.pruned_position
    if since is not None:
        position = _position_at(batch.session, subscription, since)
    again = max(0, row.position - position)
    if again:
        _set_back(row, position)
        details = {"queue": queue, "after": position, "events": again}
        feed.record_action(batch, subscription.partner, actor, "queue_replayed", details)
    return again, position + 1


def set_back_lost(batch: NotificationsBatch, queue: str) -> None:
    """Feed a queue again that lost its messages, from the last place that was surely taken.

    The subscriber may get events of the last hour again.
    """
    row = batch.get_for_update(QueueFeed.queue, queue)
    if row is not None:
        again = row.position - row.taken_position
        _set_back(row, row.taken_position)
        log.warning("a queue was lost: it is fed again", queue=queue, count=again)


def _set_back(row: QueueFeed, position: int) -> None:
    row.position = min(row.position, position)
    row.taken_position = min(row.taken_position, position)
    row.generation += 1


def _position_at(session: Session, subscription: Subscription, since: datetime) -> int:
    """Return the position before the first entry since a moment."""
    first = session.scalar(
        select(func.min(FeedEntry.position)).where(
            FeedEntry.subscription_id == subscription.id, FeedEntry.entered_at >= since
        )
    )
    return subscription.last_position if first is None else int(first) - 1
