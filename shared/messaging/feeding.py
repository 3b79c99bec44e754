"""Feed queues, each from a list of its own and at its own pace; nothing is dropped.

Each queue has a source of numbered messages and the position up to which it was fed. The position
is stored after the broker's confirms: after a kill the same messages are published again, with the
same positions. A queue that is full, missing or silent stops only its own feeding, which tries
again with growing pauses.
"""

import random
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import takewhile
from time import monotonic
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import pika
import pika.channel
import pika.spec
from pika.exceptions import ChannelClosedByBroker

from shared.messaging.broker import parameters_of
from shared.messaging.envelope import CONTENT_TYPE
from shared.messaging.topology import (
    CURSOR_HEADER,
    INTEGRATORS,
    NOT_FOUND,
    POSITION_HEADER,
    QueueInfo,
)
from shared.runtime.backoff import pause_after
from shared.runtime.logs import get
from shared.runtime.supervision import Stopping

log = get(__name__)

#: Seconds between rounds while confirms are awaited, while nothing is new, and without any queue.
SHORTEST_ROUND, IDLE_ROUND, EMPTY_ROUND = 0.02, 0.1, 1.0
#: Seconds between attempts to feed a queue that refused: the first pause, and the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 5.0
#: Seconds a window may wait for its confirms. A quorum queue without a leader never confirms.
CONFIRMS_WITHIN = 20.0
#: Seconds for which a stopping process waits for confirms.
LAST_CONFIRMS = 2.0
#: Seconds between checks of these limits.
WATCH = 0.5
#: Seconds between looks at the queues' lengths.
LOOK_EVERY = 5.0


class Message(NamedTuple):
    """One message for a queue."""

    position: int
    #: Where a reader of the feed goes on behind this message.
    cursor: str
    event_id: UUID
    type: str
    body: bytes


class Window(NamedTuple):
    """The next messages for one queue; they are published together."""

    queue: str
    #: Changes whenever somebody sets the queue's position back.
    generation: int
    #: The position before the first message.
    after: int
    messages: Sequence[Message]


class Outcome(StrEnum):
    """What became of a window."""

    FED = "fed"
    #: The queue has reached its bound and rejects.
    FULL = "full"
    #: There is no such queue, or it is not bound.
    MISSING = "missing"
    #: Confirms did not come in time.
    SILENT = "silent"


class Result(NamedTuple):
    """A window with the position up to which its messages are confirmed without a hole."""

    window: Window
    position: int
    outcome: Outcome


class Look(NamedTuple):
    """The state of a queue that had been fed up to `position`; None if the queue is missing."""

    position: int
    queue: QueueInfo | None


class Source(Protocol):
    """The queues to feed, and what they are fed with."""

    def check(self) -> None:
        """Raise an error if another process may feed the queues now."""

    def windows(self, busy: Collection[str]) -> Sequence[Window]:
        """Return the next messages of queues that are not `busy`."""

    def record(self, results: Sequence[Result]) -> None:
        """Store how far the queues are fed."""

    def positions(self) -> Mapping[str, int]:
        """Return, for each queue, the position up to which it is fed."""

    def record_looks(self, looks: Mapping[str, Look]) -> None:
        """Store the queues' lengths."""


def feed(url: str, source: Source, stopping: Stopping) -> None:
    """Feed queues over one connection until the process stops.

    Raises:
        pika.exceptions.AMQPError: the broker is unavailable or refused; start again.
        Exception: any error of `source`.
    """
    error = _Session(url, source, stopping).run()
    if error is not None:
        raise error


@dataclass
class _Flight:
    """A window whose confirms have not all come."""

    window: Window
    sent_at: float
    open: int
    refused: set[int] = field(default_factory=set)
    returned: bool = False


class _Session:
    """One connection: delivery tags restart at 1 with each channel."""

    def __init__(self, url: str, source: Source, stopping: Stopping) -> None:
        self.source, self.stopping = source, stopping
        self.tag = 0
        #: Delivery tag → queue and position.
        self.pending: dict[int, tuple[_Flight, int]] = {}
        self.flights: dict[str, _Flight] = {}
        self.results: list[Result] = []
        #: Queue → failures in a row, and the moment of the next attempt.
        self.failures: dict[str, int] = {}
        self.paused_until: dict[str, float] = {}
        self.has_queues = True
        self.looking: deque[tuple[str, int]] = deque()
        self.looks: dict[str, Look] = {}
        self.error: BaseException | None = None
        self.stopped = self.blocked = False
        self.asked_to_stop_at: float | None = None
        self.channel: Any = None
        self.connection = pika.SelectConnection(
            parameters_of(url),
            on_open_callback=self._guard(lambda connection: self._open()),
            on_open_error_callback=self._ended,
            on_close_callback=self._ended,
        )

    def run(self) -> BaseException | None:
        """Run until the connection ends; return its error, None when the process stops."""
        self._watch()
        try:
            self.connection.ioloop.start()
        finally:
            self.connection.ioloop.close()
        return self.error

    def _guard(self, step: Callable[..., None]) -> Callable[..., None]:
        """Wrap a callback: an exception in it closes the connection and ends the loop."""

        def guarded(*arguments: Any) -> None:
            if self.stopped:
                return
            try:
                step(*arguments)
            except Exception as error:
                self._stop(error)

        return guarded

    def _later(self, seconds: float, step: Callable[[], None]) -> None:
        self.connection.ioloop.call_later(seconds, self._guard(step))

    def _stop(self, error: BaseException | None) -> None:
        if self.stopped:
            return
        self.error, self.stopped = error, True
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

    def _set_blocked(self, blocked: bool) -> None:
        self.blocked = blocked
        for flight in self.flights.values():
            flight.sent_at = monotonic()  # the time limit for confirms starts again

    def _open(self) -> None:
        self.connection.add_on_connection_blocked_callback(lambda *_: self._set_blocked(True))
        self.connection.add_on_connection_unblocked_callback(lambda *_: self._set_blocked(False))
        self.connection.channel(on_open_callback=self._guard(self._opened))
        self._look()

    def _opened(self, channel: pika.channel.Channel) -> None:
        self.channel = channel
        channel.add_on_close_callback(lambda channel, error: self._stop(error))
        channel.add_on_return_callback(self._guard(self._returned))
        channel.confirm_delivery(
            self._guard(self._confirmed), callback=self._guard(lambda frame: self._round())
        )

    # --- Feeding ------------------------------------------------------------------------------

    def _round(self) -> None:
        """Store what is confirmed, and publish what is next."""
        self.source.check()
        self._record()
        if self.stopping.is_set():
            return
        moment = monotonic()
        paused = {queue for queue, until in self.paused_until.items() if until > moment}
        windows = () if self.blocked else self.source.windows(self.flights.keys() | paused)
        for window in windows:
            self._send(window)
        idle = IDLE_ROUND if self.has_queues else EMPTY_ROUND
        self._later(SHORTEST_ROUND if self.flights else idle, self._round)

    def _record(self) -> None:
        results, self.results = self.results, []
        if results:
            self.source.record(results)

    def _send(self, window: Window) -> None:
        flight = _Flight(window, monotonic(), len(window.messages))
        self.flights[window.queue] = flight
        for message in window.messages:
            self.tag += 1
            self.pending[self.tag] = (flight, message.position)
            # A queue's key at this exchange is its own name.
            self.channel.basic_publish(
                INTEGRATORS, window.queue, message.body, _properties(message), mandatory=True
            )

    def _returned(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        # The broker sends a return before the confirm of the same message.
        if (flight := self.flights.get(method.routing_key)) is not None:
            flight.returned = True
            flight.refused.add(int(properties.headers[POSITION_HEADER]))

    def _confirmed(self, frame: Any) -> None:
        last, many = frame.method.delivery_tag, frame.method.multiple
        tags = list(takewhile(lambda tag: tag <= last, self.pending)) if many else [last]
        for tag in tags:
            # A window that was given up may still be confirmed.
            if (found := self.pending.pop(tag, None)) is None:
                continue
            flight, position = found
            flight.open -= 1
            if isinstance(frame.method, pika.spec.Basic.Nack):
                flight.refused.add(position)
            if not flight.open:
                self._landed(flight)

    def _landed(self, flight: _Flight, *, in_time: bool = True) -> None:
        window = flight.window
        open_ = {position for other, position in self.pending.values() if other is flight}
        refused = flight.refused | open_
        good = list(takewhile(lambda m: m.position not in refused, window.messages))
        outcome = Outcome.FED
        if flight.returned:
            outcome = Outcome.MISSING
        elif not in_time:
            outcome = Outcome.SILENT
        elif refused:
            outcome = Outcome.FULL
        if outcome is Outcome.FED:
            self.failures.pop(window.queue, None)
            self.paused_until.pop(window.queue, None)
        else:
            failures = self.failures[window.queue] = self.failures.get(window.queue, 0) + 1
            # Jitter: queues that were lost together are not tried together.
            pause = pause_after(failures, FIRST_PAUSE, LONGEST_PAUSE) * random.uniform(0.8, 1.2)
            self.paused_until[window.queue] = monotonic() + pause
        self.pending = {tag: found for tag, found in self.pending.items() if found[0] is not flight}
        del self.flights[window.queue]
        position = good[-1].position if good else window.after
        self.results.append(Result(window, position, outcome))

    def _watch(self) -> None:
        """Give up windows whose confirms do not come; end when the process stops."""
        if self.stopped:
            return
        moment = monotonic()
        overdue = [] if self.blocked else [*self.flights.values()]
        for flight in overdue:
            if moment - flight.sent_at > CONFIRMS_WITHIN:
                self._landed(flight, in_time=False)
        if self.stopping.is_set():
            self.asked_to_stop_at = self.asked_to_stop_at or moment
            if not self.flights or moment - self.asked_to_stop_at > LAST_CONFIRMS:
                self._guard(self._record)()
                self._stop(None)
        self.connection.ioloop.call_later(WATCH, self._watch)

    # --- Looking ------------------------------------------------------------------------------

    def _look(self) -> None:
        """Look at every queue, one after the other, on a channel of its own.

        Asking for a missing queue closes the channel.
        """
        # Read before the queues are counted: what is fed meanwhile only makes them longer.
        positions = self.source.positions()
        self.has_queues = bool(positions)
        self.looking, self.looks = deque(positions.items()), {}
        self._next_look(None)

    def _next_look(self, channel: pika.channel.Channel | None) -> None:
        if not self.looking:
            if channel is not None:
                channel.close()
            self.source.record_looks(self.looks)
            self._later(LOOK_EVERY, self._look)
        elif channel is None:
            self.connection.channel(on_open_callback=self._guard(self._look_opened))
        else:
            queue, position = self.looking[0]

            def counted(frame: Any) -> None:
                method = frame.method
                info = QueueInfo(method.message_count, method.consumer_count)
                self.looks[queue] = Look(position, info)
                self.looking.popleft()
                self._next_look(channel)

            channel.queue_declare(queue, passive=True, callback=self._guard(counted))

    def _look_opened(self, channel: pika.channel.Channel) -> None:
        channel.add_on_close_callback(self._guard(self._look_closed))
        self._next_look(channel)

    def _look_closed(self, channel: Any, error: BaseException) -> None:
        if not isinstance(error, ChannelClosedByBroker):
            return
        if error.reply_code != NOT_FOUND:
            raise error
        queue, position = self.looking.popleft()
        self.looks[queue] = Look(position, None)
        self._next_look(None)


def _properties(message: Message) -> pika.BasicProperties:
    return pika.BasicProperties(
        delivery_mode=2,
        message_id=str(message.event_id),
        type=message.type,
        content_type=CONTENT_TYPE,
        headers={POSITION_HEADER: message.position, CURSOR_HEADER: message.cursor},
    )
