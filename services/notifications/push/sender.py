"""The sender: one loop that finds due deliveries, and a thread for each attempt.

- One sender at a time works, in the worker that holds the lock `push`. It needs no lease: until an
  attempt is recorded its delivery stays due, so after a kill at any line the next sender makes the
  attempt again. A subscriber may get an event twice, with the same `webhook-id`.
- The next event of a subject becomes due in the transaction that records the one before.
- An attempt may take 15 seconds, and no endpoint may delay another. So each attempt has a thread.
  Endpoints that answer within a second share `PROMPT` attempts, of which an attempt that has taken
  longer counts no more. All others have one attempt at a time, and share `DOUBTFUL` attempts.
"""

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from services.notifications.batch import NotificationsBatch
from services.notifications.rules.webhooks import Answer
from services.notifications.use_cases import webhooks
from services.notifications.use_cases.webhooks import DueDelivery
from shared.messaging.batch import transaction
from shared.messaging.leader import leading
from shared.runtime.config import Settings
from shared.runtime.database import Database
from shared.runtime.supervision import Stopping

# Imported when there is something to send: requests would be a part of every worker's memory.
if TYPE_CHECKING:
    from services.notifications.push.delivering import Deliverer

#: The name of the lock.
LOCK = "push"
#: Seconds between looks at the feeds, without any endpoint and with some.
IDLE_SECONDS, POLL_SECONDS = 1.0, 0.1
#: The shortest time between two looks, in seconds: results that come meanwhile share a transaction.
ROUND_SECONDS = 0.03
#: Seconds between checks of the lock.
CHECK_SECONDS = 1.0
#: Seconds within which a prompt endpoint answers, and attempts of one such endpoint at once.
PROMPT_SECONDS, AT_ONCE = 1.0, 10
#: Attempts at once: younger ones of prompt endpoints, those of the others, and all together.
PROMPT, DOUBTFUL, MOST = 64, 128, 256
#: Due deliveries of an endpoint beyond which no more entries are read for it.
BACKLOG = 50
#: Seconds in which attempts may end when the process stops.
LAST_SECONDS = 2.0

Result = tuple[DueDelivery, Answer | None]


class _Attempt(NamedTuple):
    endpoint_id: UUID
    began: float
    is_prompt: bool


@dataclass
class _Running:
    """The attempts under way."""

    #: By delivery.
    attempts: dict[UUID, _Attempt] = field(default_factory=dict)
    #: Endpoints whose last attempt was answered within `PROMPT_SECONDS`.
    prompt: set[UUID] = field(default_factory=set)

    def ended(self, each: DueDelivery, answer: Answer | None) -> None:
        """Forget an attempt, and keep how it went."""
        self.attempts.pop(each.id, None)
        if answer is not None:
            is_prompt = answer.status is not None and answer.milliseconds <= PROMPT_SECONDS * 1000
            (self.prompt.add if is_prompt else self.prompt.discard)(each.endpoint_id)

    def startable(self, due: Sequence[DueDelivery]) -> list[DueDelivery]:
        """Return those of the due deliveries whose attempts start now, and count them."""
        moment = monotonic()
        of_endpoint = Counter(each.endpoint_id for each in self.attempts.values())
        overdue = {
            each.endpoint_id
            for each in self.attempts.values()
            if moment - each.began > PROMPT_SECONDS
        }
        young = sum(
            each.is_prompt and moment - each.began <= PROMPT_SECONDS
            for each in self.attempts.values()
        )
        doubtful = sum(not each.is_prompt for each in self.attempts.values())
        chosen = []
        for each in due:
            id_ = each.endpoint_id
            is_prompt = id_ in self.prompt and id_ not in overdue and not each.is_failing
            if (
                each.id in self.attempts
                or of_endpoint[id_] >= (AT_ONCE if is_prompt else 1)
                or (young >= PROMPT if is_prompt else doubtful >= DOUBTFUL)
                or len(self.attempts) >= MOST
            ):
                continue
            self.attempts[each.id] = _Attempt(id_, moment, is_prompt)
            of_endpoint[id_] += 1
            young, doubtful = young + is_prompt, doubtful + (not is_prompt)
            chosen.append(each)
        return chosen


class Sender:
    """Sends what is due, until it is stopped."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        stopping: Stopping,
        deliverer: "Deliverer | None" = None,
    ) -> None:
        self.database = database
        self.settings = settings
        self.stopping = stopping
        self._deliverer = deliverer
        self._results: SimpleQueue[Result] = SimpleQueue()
        self._running = _Running()
        self._backlogs: dict[UUID, int] = {}

    def run(self) -> None:
        """Send until the process stops; raises the error of a database that is unavailable."""
        with leading(self.database, LOCK, self.stopping) as check_lock:
            checked, pause = monotonic(), POLL_SECONDS
            while not self.stopping.is_set():
                began = monotonic()
                if began - checked > CHECK_SECONDS:
                    check_lock()
                    checked = began
                pause = self.round(self._wait(pause))
                self.stopping.wait(max(0.0, began + ROUND_SECONDS - monotonic()))
            self._end()

    def round(self, results: Sequence[Result]) -> float:
        """Record results, read the feeds, start what is due; return the seconds until the next."""
        self._record(results)
        busy = {id_ for id_, backlog in self._backlogs.items() if backlog >= BACKLOG}
        with self.database.readers() as session:
            unread = webhooks.load_unread(session, busy)
        if unread:
            with transaction(self.database, NotificationsBatch) as batch:
                webhooks.read_ahead(batch, unread)
        with self.database.readers() as session:
            due = webhooks.load_due(session, AT_ONCE)
            idle = not due and not webhooks.any_endpoint(session)
        self._backlogs = {each.endpoint_id: each.backlog for each in due}
        if due and self._deliverer is None:
            from services.notifications.push.delivering import Deliverer

            self._deliverer = Deliverer.of(self.settings)
        for each in self._running.startable(due):
            name = f"webhook {each.endpoint_id}"
            threading.Thread(target=self._attempt, args=(each,), name=name, daemon=True).start()
        if self._deliverer is not None:
            self._deliverer.cut_overdue()
        return IDLE_SECONDS if idle else POLL_SECONDS

    def _attempt(self, each: DueDelivery) -> None:
        assert self._deliverer is not None
        self._results.put((each, self._deliverer.deliver(each)))

    def _wait(self, seconds: float) -> list[Result]:
        """Return the results that have come; wait up to `seconds` for the first one."""
        results: list[Result] = []
        try:
            results.append(self._results.get(timeout=seconds))
            while True:
                results.append(self._results.get_nowait())
        except Empty:
            return results

    def _end(self) -> None:
        """Record the attempts that end within moments; the others will be made again."""
        deadline = monotonic() + LAST_SECONDS
        while self._running.attempts and monotonic() < deadline:
            self._record(self._wait(POLL_SECONDS))

    def _record(self, results: Sequence[Result]) -> None:
        if results:
            with transaction(self.database, NotificationsBatch) as batch:
                webhooks.record_results(batch, results)
        for result in results:
            self._running.ended(*result)


def run(database: Database, settings: Settings, stopping: Stopping) -> None:
    """Send webhooks until the process stops; the worker runs it again after an error."""
    Sender(database, settings, stopping).run()
