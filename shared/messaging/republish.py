"""Publish the outbox's history again, after the broker lost its data.

Confirmed events can be lost with the broker's disk before their receivers got them. The outbox
keeps events for `outbox_days`, and the inboxes keep ids at least as long. So the same ids can be
published again: an inbox drops the events that took effect, and lost ones take effect now.
Positions, times and the feed stay as they are.

One publisher's events arrive in the order of their positions. But an event that was published
after the loss may take effect before an older, lost one of its subject.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import func, select

from shared.messaging.relay import Relay
from shared.messaging.store import BATCH, Waiting
from shared.messaging.tables import Outbox
from shared.runtime.database import Database
from shared.runtime.supervision import Stopping


def republish(
    service: str,
    database: Database,
    url: str,
    since: datetime,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Publish again the events that `service` published from `since` on; return how many.

    It uses the relay's session, so properties, confirms and refusals are the same. It may run
    beside the relay, and may be repeated: an event that took effect changes nothing. Events that
    the relay publishes meanwhile are not published again. `progress(confirmed, total)` is called
    before the first event and after each page.

    Raises:
        Refused: the broker has no exchange, no queue for an event, or a queue that takes it.
        Unconfirmed: the broker took events and did not confirm them in time.
        pika.exceptions.AMQPError: the broker cannot be reached.
        sqlalchemy.exc.DBAPIError: the database cannot be read.
    """
    stopping = Stopping()
    history = _History(database, since, stopping, progress)
    if not history.total:
        return 0
    Relay(service, database, url, stopping).publish(history)
    return history.done


class _History:
    """Published events, page by page; sets `stopping` after the last page.

    Each page is one short transaction: none is open while the session waits for the broker.
    """

    def __init__(
        self,
        database: Database,
        since: datetime,
        stopping: Stopping,
        progress: Callable[[int, int], None],
    ) -> None:
        self.database, self.stopping, self.progress = database, stopping, progress
        self.done = 0
        self._wanted = (Outbox.position.is_not(None), Outbox.published_at >= since)
        position = Outbox.position
        ends = select(func.count(), func.min(position), func.max(position)).where(*self._wanted)
        with database.readers() as session:
            self.total, first, last = session.execute(ends).one()
        #: The last confirmed position, and the last position to publish again.
        self._after, self._last = (first or 0) - 1, last or 0
        self._page: list[int] = []
        progress(0, self.total)

    def waiting(self, limit: int = BATCH) -> list[Waiting]:
        """Return the next events in the order of their positions."""
        page = (
            select(
                *(Outbox.position, Outbox.id, Outbox.event_id, Outbox.type),
                *(Outbox.body, Outbox.traceparent),
            )
            .where(*self._wanted, Outbox.position > self._after, Outbox.position <= self._last)
            .order_by(Outbox.position)
            .limit(limit)
        )
        with self.database.readers() as session:
            rows = session.execute(page).all()
        self._page = [row.position for row in rows]
        if not rows:
            self.stopping.set()
        return [Waiting(row.id, row.event_id, row.type, row.body, row.traceparent) for row in rows]

    def mark(self, rows: Sequence[Waiting]) -> None:
        """Continue after `rows`; the outbox stays as it is."""
        if rows:
            self._after = self._page[len(rows) - 1]
            self.done += len(rows)
            self.progress(self.done, self.total)
