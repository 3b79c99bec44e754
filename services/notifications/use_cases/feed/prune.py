"""Delete entries that are older than the retention."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select

from services.notifications.batch import NotificationsBatch
from services.notifications.models import EarlyFact, FeedEntry, Subscription
from shared.runtime import clock

#: Entries deleted in one transaction at most.
CHUNK = 5000


def prune_feeds(batch: NotificationsBatch, days: int) -> bool:
    """Delete entries and waiting facts older than `days`; return whether there may be more."""
    before = clock.now() - timedelta(days=days)
    batch.session.execute(delete(EarlyFact).where(EarlyFact.arrived_at < before))
    left = CHUNK
    for subscription in _with_old_entries(batch, before):
        # Always the oldest ones, also if the clock was set back: a feed has no hole.
        through = subscription.pruned_position + left
        newest_old = batch.session.scalar(
            select(func.max(FeedEntry.position)).where(
                FeedEntry.subscription_id == subscription.id,
                FeedEntry.position <= through,
                FeedEntry.entered_at < before,
            )
        )
        if newest_old is None:
            continue
        batch.session.execute(
            delete(FeedEntry).where(
                FeedEntry.subscription_id == subscription.id, FeedEntry.position <= newest_old
            )
        )
        left -= newest_old - subscription.pruned_position
        subscription.pruned_position = newest_old
        if left <= 0:
            return True
    return False


def _with_old_entries(batch: NotificationsBatch, before: datetime) -> Sequence[Subscription]:
    """Return the subscriptions whose oldest entry is older than `before`."""
    oldest = (FeedEntry.subscription_id == Subscription.id) & (
        FeedEntry.position == Subscription.pruned_position + 1
    )
    return batch.session.scalars(
        select(Subscription).join(FeedEntry, oldest).where(FeedEntry.entered_at < before)
    ).all()
