"""The feeder: feeds integrators' queues at the broker with the entries of their feeds.

One feeder at a time works, in the worker that holds the lock `queues`. Without a broker there are
no queues.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from time import monotonic

from services.notifications.batch import NotificationsBatch
from services.notifications.use_cases import queues
from shared.messaging.batch import transaction
from shared.messaging.feeding import Look, Outcome, Result, Window, feed
from shared.messaging.leader import leading
from shared.runtime import clock, metrics
from shared.runtime.config import Settings
from shared.runtime.database import Database
from shared.runtime.supervision import Stopping

#: The name of the lock.
LOCK = "queues"
#: Seconds between checks of the lock.
CHECK_SECONDS = 1.0


class Queues:
    """The `shared.messaging.feeding.Source` of integrators' queues."""

    def __init__(self, database: Database, check_lock: Callable[[], None]) -> None:
        self.database = database
        self._check_lock = check_lock
        self._checked = 0.0
        self._progress = queues.Progress()

    def check(self) -> None:
        """Raise an error if the lock is lost."""
        moment = monotonic()
        if moment - self._checked > CHECK_SECONDS:
            self._check_lock()
            self._checked = moment

    def windows(self, busy: Collection[str]) -> Sequence[Window]:
        """Return the next entries of some queues that are not `busy`."""
        with self.database.readers() as session:
            return queues.next_windows(session, busy)

    def record(self, results: Sequence[Result]) -> None:
        """Store how far the queues are fed."""
        with transaction(self.database, NotificationsBatch) as batch:
            queues.record_results(batch, results)

    def positions(self) -> Mapping[str, int]:
        """Return, for each queue, the position up to which it is fed."""
        with self.database.readers() as session:
            return queues.load_positions(session)

    def record_looks(self, looks: Mapping[str, Look]) -> None:
        """Store the queues' lengths, and export them as metrics."""
        if not looks:
            metrics.set_queues({})
            return
        moment = clock.now()
        with transaction(self.database, NotificationsBatch) as batch:
            rows = queues.record_looks(batch, looks, self._progress)
            states = {
                row.queue: metrics.QueueMetrics(
                    fill=row.waiting_bytes / row.max_bytes,
                    still_seconds=(moment - row.moved_at).total_seconds(),
                    is_refused=row.outcome != Outcome.FED,
                )
                for row in rows
            }
        metrics.set_queues(states)


def run(database: Database, settings: Settings, stopping: Stopping) -> None:
    """Feed queues until the process stops; the worker runs it again after an error."""
    if settings.broker_url is None:
        stopping.wait()
        return
    with leading(database, LOCK, stopping) as check_lock:
        try:
            feed(settings.broker_url, Queues(database, check_lock), stopping)
        finally:
            # Another process may feed them next, and export its own.
            metrics.set_queues({})
