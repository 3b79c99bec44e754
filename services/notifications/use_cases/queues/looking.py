"""What the length of a queue says: how full it is, whether it moves, and what was surely taken."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from services.notifications.batch import NotificationsBatch
from services.notifications.models import FeedEntry, QueueFeed
from shared.messaging.feeding import Look, Outcome
from shared.runtime import clock

#: How long the broker lets a subscriber hold a message at most (30 minutes), with as much again.
#: The number of waiting messages leaves out those that a subscriber holds.
HELD = timedelta(hours=1)
#: The newest entries of a queue from which the size of all is estimated.
SAMPLE = 200


class Progress:
    """What one process has seen of the queues: whether they move, and what was surely taken.

    A message that has not waited in its queue for an hour was acknowledged, not merely delivered:
    otherwise the broker had taken it back within 30 minutes, and it had been seen waiting.
    """

    def __init__(self) -> None:
        #: Queue → its generation, and the highest delivered position.
        self._highest: dict[str, tuple[int, int]] = {}
        #: Queue → the moment of the first look, and the lowest delivered position per minute.
        self._began: dict[str, datetime] = {}
        self._lowest: defaultdict[str, dict[datetime, int]] = defaultdict(dict)

    def has_moved(self, queue: str, generation: int, delivered: int) -> bool:
        """Tell whether a subscriber took something since the last look."""
        last, highest = self._highest.get(queue, (generation, delivered))
        if last != generation:
            highest = delivered
        self._highest[queue] = (generation, max(delivered, highest))
        return delivered > highest

    def taken(self, queue: str, delivered: int, moment: datetime) -> int:
        """Return the position that was surely taken, 0 if it is not known yet.

        `delivered` is the position up to which nothing waits in the queue at `moment`.
        """
        began = self._began.setdefault(queue, moment)
        minute = moment.replace(second=0, microsecond=0)
        lowest = self._lowest[queue]
        lowest[minute] = min(delivered, lowest.get(minute, delivered))
        for old in [each for each in lowest if each < minute - HELD]:
            del lowest[old]
        return min(lowest.values()) if moment - began >= HELD else 0

    def forget(self, queue: str) -> None:
        """Forget a queue, which was missing."""
        self._highest.pop(queue, None)
        self._began.pop(queue, None)
        self._lowest.pop(queue, None)


def record_looks(
    batch: NotificationsBatch, looks: Mapping[str, Look], progress: Progress
) -> list[QueueFeed]:
    """Store the lengths of queues; return all rows, as they are now."""
    moment = clock.now()
    batch.load_for_update(QueueFeed.queue, looks)
    rows = []
    for name, look in looks.items():
        queue = batch.get_for_update(QueueFeed.queue, name)
        if queue is None:
            continue
        rows.append(queue)
        queue.looked_at = moment
        if look.queue is None:
            progress.forget(name)
            queue.outcome = str(Outcome.MISSING)
            queue.waiting = queue.waiting_bytes = queue.consumers = 0
            continue
        waiting = look.queue.messages
        # What waits was fed last; what was set back since the look does not count.
        delivered = min(look.position, queue.position) - waiting
        if progress.has_moved(name, queue.generation, delivered) or waiting == 0:
            queue.moved_at = moment
        if waiting != queue.waiting:
            queue.waiting = waiting
            queue.waiting_bytes = waiting * _entry_bytes(batch.session, queue)
        queue.consumers = look.queue.consumers
        taken = progress.taken(name, delivered, moment)
        queue.taken_position = max(queue.taken_position, taken)
    return rows


def _entry_bytes(session: Session, queue: QueueFeed) -> int:
    """Return the average size of the newest entries that were fed."""
    size = session.scalar(
        select(func.avg(func.length(FeedEntry.body))).where(
            FeedEntry.subscription_id == queue.subscription_id,
            FeedEntry.position > queue.position - SAMPLE,
            FeedEntry.position <= queue.position,
        )
    )
    return int(size or 0)
