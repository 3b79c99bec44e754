"""The embedded bus: events go from outboxes to inboxes inside one process, without a broker.

Each service's relay thread passes the rows of its outbox to every subscribed service, one after
the other, and marks the rows when all services have committed. After a kill the same rows are
passed again, and the inboxes drop the repeats. Handlers, inbox, parking and replay are the same
code as behind RabbitMQ.

RabbitMQ counts how often a message came back. Here a file beside the publisher's database exists
while a batch is being processed. If it exists at the start, an event of the first batch may have
killed the process, so each event's start is recorded before it is handled.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import time_ns

from sqlalchemy.engine import make_url

from shared.messaging.envelope import decode
from shared.messaging.processing import Processor
from shared.messaging.service import Service
from shared.messaging.store import BATCH, Store, Waiting, trace_published
from shared.runtime import metrics
from shared.runtime.database import Database
from shared.runtime.logs import get
from shared.runtime.supervision import Stopping, supervise

log = get(__name__)

#: Seconds after which a relay reads its outbox even without a signal.
POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Member:
    """One service on the bus."""

    service: Service
    database: Database
    processor: Processor


class Bus:
    """The relays of all services; `start` and `stop` once."""

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = members
        self.stopping = Stopping()
        for member in members:
            member.processor.count_outcomes = partial(metrics.count_events, member.service.name)
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start one relay thread per service."""
        for member in self.members:
            self._threads.append(
                supervise(
                    f"{member.service.name}-relay",
                    lambda member=member: self._relay(member),  # type: ignore[misc]
                    self.stopping,
                )
            )

    def stop(self) -> None:
        """Return when the current batches have ended."""
        self.stopping.set()
        for member in self.members:
            member.database.recorded.set()
        for thread in self._threads:
            thread.join()

    def _relay(self, publisher: Member) -> None:
        store, in_hand = Store(publisher.database), _in_hand(publisher.database)
        try:
            suspect = in_hand.exists()
            while not self.stopping.is_set():
                publisher.database.recorded.clear()
                rows = store.waiting(BATCH)
                if rows:
                    in_hand.touch()
                    try:
                        self._pass_on(publisher, store, rows, suspect)
                    finally:  # also after an error, but not after a kill
                        in_hand.unlink(missing_ok=True)
                else:
                    publisher.database.recorded.wait(POLL_SECONDS)
                suspect = False
        finally:
            store.close()

    def _pass_on(
        self, publisher: Member, store: Store, rows: Sequence[Waiting], suspect: bool
    ) -> None:
        """Pass one batch to all subscribed services, then mark it."""
        began_ns = time_ns()
        events = [decode(row.body) for row in rows]
        # No transaction is open here: two services that deliver to each other would deadlock.
        for member in self.members:
            processor = member.processor
            wanted = [event for event in events if event.type in processor.types]
            process = processor.process_suspects if suspect else processor.process
            if wanted:
                process(wanted, self.stopping.pause)
        store.mark(rows)
        trace_published(publisher.service.name, rows, began_ns)
        metrics.count_events(publisher.service.name, {"published": len(rows)})


def _in_hand(database: Database) -> Path:
    """Return the file that exists while a batch of this database's events is being processed."""
    return Path(f"{make_url(database.url).database}.in-hand")
