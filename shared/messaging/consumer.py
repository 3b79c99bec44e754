"""From the service's queue to its handlers: what has arrived is one batch, one commit, one ack.

Declares nothing and publishes nothing. The connection ends on any exception of the broker and
is made anew by the supervisor; what was not acknowledged comes again, and the inbox knows it.
"""

import socket
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from typing import Any

from kombu import Connection, Consumer, Queue

from shared.messaging.broker import HEARTBEAT, IO_TIMEOUT
from shared.messaging.envelope import Envelope, Unreadable, decode, unreadable
from shared.messaging.processing import Processor
from shared.messaging.topology import queue_of
from shared.runtime.logs import get
from shared.runtime.supervision import Stopping

log = get(__name__)

#: Messages handled in one transaction, and how long one waits for more of them, in seconds.
BATCH, WINDOW = 300, 0.040
#: Constant: a lower prefetch later would let returned messages overtake each other.
PREFETCH = 400
#: Returns on record from which a message is suspected to kill the worker.
SUSPECT_RETURNS = 3
#: Seconds spent on the connection between two suspects.
ALIVE = 0.001
#: Seconds without a message after which the queue is looked at, and after which again.
QUIET = 15.0


class StandingStill(ConnectionError):
    """The broker sends nothing though the queue has messages and this consumer has none in hand."""


def consume(url: str, processor: Processor, stopping: Stopping) -> None:
    """Handle what arrives in the service's queue until the process stops.

    Raises:
        OSError, amqp.exceptions.AMQPError: the connection failed, or stands still; start again.
        sqlalchemy.exc.DBAPIError: the database is away; start again.
    """
    # Before a message is taken: one that goes back unhandled comes nearer to the dead queue.
    with processor.limit("the database's answer"):
        processor.database.engine.connect().close()
    # The time-outs end what waits for a broker that no longer answers, such as the last close.
    timeouts = {"read_timeout": IO_TIMEOUT, "write_timeout": IO_TIMEOUT}
    with Connection(  # type: ignore[no-untyped-call]
        url, heartbeat=HEARTBEAT, connect_timeout=5, transport_options=timeouts
    ) as connection:
        arrived: list[Any] = []
        # Where services log in by their own names, the broker vouches for who said what.
        signed = connection.userid == processor.service.name
        name = queue_of(processor.service.name)
        channel = connection.channel()
        consumer = Consumer(  # type: ignore[no-untyped-call]
            channel,
            [Queue(name, no_declare=True)],  # type: ignore[no-untyped-call]
            auto_declare=False,
            on_message=arrived.append,
            no_ack=False,
            prefetch_count=PREFETCH,
        )
        # Never cancelled, only closed with its connection: after a cancel, RabbitMQ 3.10.8 gives
        # back what the consumer has in hand in any order, after a close in theirs.
        consumer.consume()  # type: ignore[no-untyped-call]
        log.info("consumer ready", service=processor.service.name)

        def on_unavailable(seconds: float) -> None:
            """Keep the connection alive while nothing can be handled."""
            deadline = monotonic() + seconds
            while (left := deadline - monotonic()) > 0:
                stopping.pause(0)
                with suppress(TimeoutError, socket.timeout):
                    connection.drain_events(timeout=min(left, 0.5))
            connection.heartbeat_check()

        silence = _Silence(channel, name)
        while not stopping.is_set():
            _gather(connection, arrived)
            if arrived:
                silence.broken()
            else:
                silence.look()
            batch, arrived[:] = arrived[:BATCH], arrived[BATCH:]
            if batch:
                _process(batch, processor, signed, on_unavailable)
                batch[-1].ack(multiple=True)
                silence.broken()


class _Silence:
    """How long nothing has arrived, and whether that is right.

    After a restart, RabbitMQ 3.10.8 was seen to hold a whole prefetch for unsettled that its
    consumer had acknowledged, so that it sent no more; only a new connection ends that before
    the broker's time-out of 30 minutes. A consumer that never got a message may be the one in
    reserve: its silence is right.
    """

    def __init__(self, channel: Any, queue: str) -> None:
        self._channel, self._queue = channel, queue
        self._since: float | None = None
        self._waiting = False

    def broken(self) -> None:
        """Begin anew: a message has arrived, or the last one has been settled."""
        self._since, self._waiting = monotonic(), False

    def look(self) -> None:
        """Look at the queue when it has been silent for long.

        Raises:
            StandingStill: twice in a row it had messages, and sent none in between.
        """
        if self._since is None or monotonic() - self._since < QUIET:
            return
        ready = self._channel.queue_declare(self._queue, passive=True).message_count
        if ready and self._waiting:
            raise StandingStill(
                f"{ready} messages wait in {self._queue}, and none has come for {2 * QUIET:.0f} s: "
                "beginning a new connection"
            )
        self._since, self._waiting = monotonic(), bool(ready)


def _gather(connection: Any, arrived: list[Any]) -> None:
    with suppress(TimeoutError, socket.timeout):
        if not arrived:
            connection.drain_events(timeout=0.5)
        deadline = monotonic() + WINDOW
        while len(arrived) < BATCH and (left := deadline - monotonic()) > 0.001:
            connection.drain_events(timeout=left)
    connection.heartbeat_check()  # after draining: before it, waiting frames would count as missed


def _process(batch: Sequence[Any], processor: Processor, signed: bool, on_unavailable: Any) -> None:
    events: list[Envelope] = []
    suspect = False
    for message in batch:
        suspect = suspect or _returns(message) >= SUSPECT_RETURNS
        try:
            event = decode(message.body)
            if signed:
                _check_signature(event, message.properties.get("user_id"))
            events.append(event)
        except Unreadable as error:
            processor.park_unreadable(unreadable(message.body), str(error), on_unavailable)
    if suspect:
        for event in events:  # slow, three commits each: the broker must not take us for dead
            processor.process_suspects([event], on_unavailable)
            on_unavailable(ALIVE)
    else:
        processor.process(events, on_unavailable)


def _check_signature(event: Envelope, user: Any) -> None:
    if user != event.publisher:
        raise Unreadable(f"{event.type} was published by {user or 'nobody'}, not {event.publisher}")


def _returns(message: Any) -> int:
    """Return how often the broker has had to take a message back."""
    count = (message.headers or {}).get("x-delivery-count", 0)
    return count if isinstance(count, int) else 0
