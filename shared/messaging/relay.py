"""Publish the outbox to the broker, pipelined; a row is marked only after its confirm.

A confirm means that every bound queue has the event on disk. The relay stops at a row that is
refused or returned: to mark later rows would put a subject's events into the feed in the wrong
order. After any failure the same events are published again, and the inboxes drop the repeats.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import takewhile
from time import monotonic, time_ns
from typing import Any, Protocol

import pika
import pika.channel
import pika.exceptions
import pika.spec
from pika.exceptions import ChannelClosedByBroker

from shared.messaging.broker import parameters_of
from shared.messaging.envelope import CONTENT_TYPE
from shared.messaging.store import BATCH, Store, Waiting, trace_published
from shared.messaging.topology import EXCHANGE
from shared.runtime.database import Database
from shared.runtime.logs import get
from shared.runtime.supervision import Stopping
from shared.runtime.tracing import new_traceparent
from shared.runtime.watchdog import Limit, unlimited

log = get(__name__)

#: Seconds after a batch until the next read of the outbox: as long as the batch took, within these
#: bounds. While the outbox stays empty the pause grows to the longest, for what other processes
#: record: a read is a main cost of an idle system. What this process records is read at once, but
#: not sooner than `SHORTEST_PAUSE` after the last batch.
SHORTEST_PAUSE, SHORTEST_POLL, LONGEST_POLL = 0.005, 0.025, 0.1
#: Seconds between attempts to get the lock while another relay holds it.
STAND_BY = 1.0
#: Seconds a batch may wait for its confirms. A quorum queue that is starting may never confirm a
#: message; published again, the message is either new or dropped by the inbox.
CONFIRMS_WITHIN = 20.0
#: Seconds for which a stopping process waits for confirms.
LAST_CONFIRMS = 2.0
#: Seconds between checks of the two limits above.
WATCH = 0.5
#: AMQP's reply to a publish to an exchange that does not exist.
NOT_FOUND = 404


class Unconfirmed(RuntimeError):
    """Raised when the broker did not confirm a batch in time."""


class Refused(RuntimeError):
    """Raised when no queue is bound for an event, or a queue refused it."""


class Source(Protocol):
    """The rows that a session publishes: the outbox, or a part of its history."""

    def waiting(self, limit: int = BATCH) -> list[Waiting]:
        """Return up to `limit` unmarked events, in their order."""

    def mark(self, rows: Sequence[Waiting]) -> None:
        """Mark `rows` as confirmed: the first ones of the last result of `waiting`."""


class Relay:
    """One service's relay; `run` once per connection, supervised."""

    def __init__(
        self,
        service: str,
        database: Database,
        url: str,
        stopping: Stopping,
        counted: Callable[[int], None] = lambda count: None,
        on_blocked: Callable[[bool], None] = lambda blocked: None,
        limit: Limit = unlimited,
    ) -> None:
        self.service, self.database, self.url = service, database, url
        self.stopping = stopping
        self.counted = counted
        self.on_blocked = on_blocked
        self.limit = limit
        #: True while the broker's memory or disk alarm blocks publishers.
        self.blocked = False

    def set_blocked(self, blocked: bool) -> None:
        """Record that the broker's alarm began or ended."""
        self.blocked = blocked
        self.on_blocked(blocked)

    def run(self) -> None:
        """Publish until the process stops.

        Raises:
            Refused, pika.exceptions.AMQPError, sqlalchemy.exc.DBAPIError: retry later.
        """
        with self.limit("the outbox's answer"):
            store = Store(self.database)
        try:
            while not self._locked(store):
                self.stopping.pause(STAND_BY)
            log.info("relay active", service=self.service)
            self.publish(store)
        finally:
            store.close()

    def _locked(self, store: Store) -> bool:
        with self.limit("the outbox's answer"):
            return store.try_lock()

    def publish(self, source: Source) -> None:
        """Publish the rows of `source` until the process stops, over one connection.

        Raises:
            Refused, Unconfirmed, pika.exceptions.AMQPError: retry later.
            Exception: any error of `source`.
        """
        try:
            error = _Session(self, source).run()
            if isinstance(error, ChannelClosedByBroker) and error.reply_code == NOT_FOUND:
                raise Refused(
                    f"the broker has no exchange {EXCHANGE}: run `farmgate topology`"
                ) from error
            if error is not None:
                raise error
        finally:
            self.set_blocked(False)


class _Session:
    """One connection of a relay: delivery tags restart at 1 with each channel."""

    def __init__(self, relay: Relay, source: Source) -> None:
        self.relay, self.source = relay, source
        self.tag = 0
        self.rows: list[Waiting] = []
        self.pending: dict[int, str] = {}
        self.refused: set[str] = set()
        self.error: BaseException | None = None
        self.channel: Any = None
        self.stopped = False
        self.pause = SHORTEST_POLL
        self.sent_at, self.sent_at_ns = 0.0, 0
        #: The timer of the next read, None during a batch; the moment before which it is not read.
        self.next_read: Any = None
        self.rests_until = 0.0
        self.asked_to_stop_at: float | None = None
        # No time-out while the broker's alarm blocks publishers: a new connection would be blocked,
        # too, and heartbeats detect a dead broker.
        parameters = parameters_of(relay.url)
        self.connection = pika.SelectConnection(
            parameters,
            on_open_callback=self._guard(lambda connection: self._open()),
            on_open_error_callback=self._ended,
            on_close_callback=self._ended,
        )

    def run(self) -> BaseException | None:
        """Run until the connection ends; return its error, None when the process stops."""
        self._watch()
        recorded = self.relay.database.recorded
        recorded.on_set = self._recorded
        try:
            self.connection.ioloop.start()
        finally:
            recorded.on_set = None
            self.connection.ioloop.close()
        return self.error

    def _guard(self, step: Callable[..., None]) -> Callable[..., None]:
        """Wrap a callback: an exception in it closes the connection and ends the loop."""

        def guarded(*arguments: Any) -> None:
            try:
                with self.relay.limit("publishing"):
                    step(*arguments)
            except Exception as error:
                self._stop(error)

        return guarded

    def _stop(self, error: BaseException | None) -> None:
        if self.stopped:
            return
        self.error, self.stopped = error, True
        log.info("relay closes its connection", error=repr(error))
        if self.connection.is_open:
            self.connection.close()
            # A failing broker may never answer the close.
            self.connection.ioloop.call_later(LAST_CONFIRMS, self.connection.ioloop.stop)
        elif not self.connection.is_closing:
            self.connection.ioloop.stop()

    def _ended(self, connection: Any, error: BaseException) -> None:
        if self.error is None and not self.stopped:
            self.error = error
        self.connection.ioloop.stop()

    def _open(self) -> None:
        self.connection.add_on_connection_blocked_callback(lambda *_: self._set_blocked(True))
        self.connection.add_on_connection_unblocked_callback(lambda *_: self._set_blocked(False))
        self.connection.channel(on_open_callback=self._guard(self._opened))

    def _watch(self) -> None:
        """End a session whose confirms do not come, or whose process stops."""
        if self.stopped:
            return
        moment = monotonic()
        if self.relay.stopping.is_set():
            self.asked_to_stop_at = self.asked_to_stop_at or moment
            if not self.pending or moment - self.asked_to_stop_at > LAST_CONFIRMS:
                self._stop(None)
        elif self.pending and not self.relay.blocked and moment - self.sent_at > CONFIRMS_WITHIN:
            self._stop(Unconfirmed(f"{len(self.pending)} events, after {CONFIRMS_WITHIN:.0f} s"))
        self.connection.ioloop.call_later(WATCH, self._watch)

    def _set_blocked(self, blocked: bool) -> None:
        self.relay.set_blocked(blocked)
        self.sent_at = monotonic()  # the time limit for confirms starts again
        log.warning("relay blocked by the broker's alarm" if blocked else "relay unblocked")

    def _opened(self, channel: pika.channel.Channel) -> None:
        self.channel = channel
        channel.add_on_close_callback(lambda channel, error: self._stop(error))
        channel.add_on_return_callback(
            lambda channel, method, properties, body: self.refused.add(properties.message_id)
        )
        channel.confirm_delivery(
            self._guard(self._confirmed), callback=self._guard(lambda frame: self._pump())
        )

    def _recorded(self) -> None:
        """Read the outbox soon; called by other threads."""
        with suppress(Exception):  # the loop may have just been closed
            self.connection.ioloop.add_callback_threadsafe(self._guard(self._wake))

    def _wake(self) -> None:
        if self.next_read is not None and not self.stopped:
            self.connection.ioloop.remove_timeout(self.next_read)
            self._read_after(max(0.0, self.rests_until - monotonic()))

    def _read_after(self, seconds: float) -> None:
        self.next_read = self.connection.ioloop.call_later(seconds, self._guard(self._pump))

    def _pump(self) -> None:
        self.next_read = None
        if self.stopped:
            return
        if self.relay.stopping.is_set():
            self._stop(None)
            return
        self.rows = self.source.waiting(BATCH) if self.channel.is_open else []
        if self.rows:
            self.pause = SHORTEST_POLL
        self.sent_at, self.sent_at_ns = monotonic(), time_ns()
        for row in self.rows:
            self.tag += 1
            self.pending[self.tag] = str(row.event_id)
            self.channel.basic_publish(
                EXCHANGE, row.type, row.body, self._properties(row), mandatory=True
            )
        if not self.rows:
            self._read_after(self.pause)
            self.pause = min(2 * self.pause, LONGEST_POLL)

    def _properties(self, row: Waiting) -> pika.BasicProperties:
        return pika.BasicProperties(
            delivery_mode=2,
            message_id=str(row.event_id),
            type=row.type,
            app_id=self.relay.service,
            # The broker refuses another user's name, so a consumer can trust the publisher.
            user_id=self.connection.params.credentials.username,
            content_type=CONTENT_TYPE,
            headers={"traceparent": row.traceparent or new_traceparent()},
        )

    def _confirmed(self, frame: Any) -> None:
        # The broker sends a return before the confirm of the same message.
        last, many = frame.method.delivery_tag, frame.method.multiple
        tags = list(takewhile(lambda tag: tag <= last, self.pending)) if many else [last]
        for tag in tags:
            event_id = self.pending.pop(tag)
            if isinstance(frame.method, pika.spec.Basic.Nack):
                self.refused.add(event_id)
        if not self.pending:
            self._mark()

    def _mark(self) -> None:
        good = list(takewhile(lambda row: str(row.event_id) not in self.refused, self.rows))
        self.source.mark(good)
        trace_published(self.relay.service, good, self.sent_at_ns)
        self.relay.counted(len(good))
        if len(good) < len(self.rows):
            row = self.rows[len(good)]
            self._stop(
                Refused(
                    f"the broker took {row.type} (event {row.event_id}) into no queue: run "
                    "`farmgate topology`, or look at the queue that is bound to it"
                )
            )
        elif len(self.rows) == BATCH:
            self._pump()
        else:
            # Not at once: a batch of a few rows costs as much as one of a few hundred.
            took = min(monotonic() - self.sent_at, LONGEST_POLL)
            self.rests_until = monotonic() + max(SHORTEST_PAUSE, took)
            self.pause = max(SHORTEST_POLL, took)
            self._read_after(self.pause)
