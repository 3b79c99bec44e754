"""What each queue gets next, and how far it was fed."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from services.notifications.batch import NotificationsBatch
from services.notifications.models import FeedEntry, QueueFeed, Subscription
from services.notifications.use_cases import feed
from services.notifications.use_cases.feed.enter import EPOCH
from shared.messaging.feeding import Message, Outcome, Result, Window
from shared.runtime.bulk import among
from shared.runtime.logs import get

log = get(__name__)

#: Queues that are fed in one round, and entries for one of them.
MOST_QUEUES, MOST_ENTRIES = 20, 100
#: Bytes of a window beyond which no further entry is added; a full queue exceeds its limit by as
#: much.
WINDOW_BYTES = 131_072


def load_positions(session: Session) -> dict[str, int]:
    """Return, for each queue, the position up to which it is fed."""
    rows = session.execute(select(QueueFeed.queue, QueueFeed.position).order_by(QueueFeed.queue))
    return {queue: position for queue, position in rows}


def next_windows(session: Session, busy: Collection[str]) -> list[Window]:
    """Return the next entries of some queues that are not `busy`, of each queue in their order.

    Entries that the feed no longer has are left out; the subscriber sees that positions are
    missing.
    """
    behind = (
        select(QueueFeed.queue)
        .join(Subscription, Subscription.id == QueueFeed.subscription_id)
        .where(QueueFeed.position < Subscription.last_position)
        .order_by(func.random())
    )
    chosen = [queue for queue in session.scalars(behind) if queue not in busy][:MOST_QUEUES]
    if not chosen:
        return []
    start = case(
        (Subscription.pruned_position > QueueFeed.position, Subscription.pruned_position),
        else_=QueueFeed.position,
    )
    rows = session.execute(
        select(
            QueueFeed.queue,
            QueueFeed.generation,
            QueueFeed.position.label("after"),
            Subscription,
            EPOCH.label("epoch"),
            FeedEntry.position,
            FeedEntry.event_id,
            FeedEntry.type,
            FeedEntry.body,
        )
        .join(Subscription, Subscription.id == QueueFeed.subscription_id)
        .join(FeedEntry, FeedEntry.subscription_id == Subscription.id)
        .where(
            among(QueueFeed.queue, chosen),
            FeedEntry.position > start,
            FeedEntry.position <= start + MOST_ENTRIES,
        )
        .order_by(QueueFeed.queue, FeedEntry.position)
    )
    by_queue: defaultdict[str, list[Any]] = defaultdict(list)
    for row in rows:
        by_queue[row.queue].append(row)
    return [_window(found) for found in by_queue.values()]


def _window(rows: Sequence[Any]) -> Window:
    first = rows[0]
    here = feed.Feed(first.Subscription, first.epoch)
    if first.position != first.after + 1:
        log.error(
            "a queue missed events that the feed no longer has",
            queue=first.queue,
            position=first.after + 1,
            count=first.position - first.after - 1,
        )
    messages: list[Message] = []
    size = 0
    for row in rows:
        cursor = feed.cursor_of(here, row.position)
        messages.append(Message(row.position, cursor, row.event_id, row.type, row.body))
        size += len(row.body)
        if size >= WINDOW_BYTES:
            break
    return Window(first.queue, first.generation, first.after, messages)


def record_results(batch: NotificationsBatch, results: Sequence[Result]) -> None:
    """Store how far queues were fed, but for those whose position was set back meanwhile."""
    batch.load_for_update(QueueFeed.queue, {result.window.queue for result in results})
    for window, position, outcome in results:
        queue = batch.get_for_update(QueueFeed.queue, window.queue)
        if queue is None or queue.generation != window.generation:
            continue
        if outcome is not Outcome.FED and queue.outcome != outcome:
            log.warning("a queue is not fed", queue=queue.queue, reason=str(outcome))
        queue.position, queue.outcome = max(queue.position, position), str(outcome)
