"""Consume the service's queue: the messages that have arrived are one batch, one commit, one ack.

The consumer declares nothing and publishes nothing. Any error of the broker ends the connection,
and the supervisor opens a new one. The broker then delivers unacknowledged messages again, and the
inbox drops those that took effect.
"""

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any

from kombu import Connection, Consumer, Queue

from shared.messaging.broker import HEARTBEAT, IO_TIMEOUT
from shared.messaging.envelope import Envelope, Unreadable, decode, unreadable
from shared.messaging.processing import Processor
from shared.messaging.service import Service
from shared.messaging.topology import queue_of
from shared.runtime.logs import get
from shared.runtime.supervision import Stopping

log = get(__name__)

#: Messages in one transaction at most.
BATCH = 300
#: Seconds between two batches: a batch of two events costs nearly as much as one of fifty. After a
#: longer silence an event is taken at once. With an event for which a client waits, the pause is
#: twice as long as the last batch took, so that batches grow with the load, but at most
#: `LONGEST_PAUSE`.
PAUSE, LONGEST_PAUSE = 0.2, 0.1
#: Seconds to wait after the first message: a relay sends several at once.
BURST = 0.003
#: Never lowered while consuming: returned messages would overtake each other.
PREFETCH = 400
#: A message that came back this often is suspected to kill the worker.
SUSPECT_RETURNS = 3
#: Seconds in which the connection is served between two suspects.
ALIVE = 0.001
#: Seconds without a message after which the queue's depth is read, and read again.
QUIET = 15.0


class ConsumerStalled(ConnectionError):
    """The broker delivers nothing although the queue has messages and none is unacknowledged."""


def consume(url: str, processor: Processor, stopping: Stopping) -> None:
    """Process the messages of the service's queue until the process stops.

    Raises:
        OSError, amqp.exceptions.AMQPError: the connection failed or stalled; start again.
        sqlalchemy.exc.DBAPIError: the database is unavailable; start again.
    """
    # Before a message is taken: each return brings a message nearer to the dead-letter queue.
    with processor.limit("the database's answer"):
        processor.database.engine.connect().close()
    # Without time-outs a call to a broker that no longer answers, such as close, would hang.
    timeouts = {"read_timeout": IO_TIMEOUT, "write_timeout": IO_TIMEOUT}
    with Connection(  # type: ignore[no-untyped-call]
        url, heartbeat=HEARTBEAT, connect_timeout=5, transport_options=timeouts
    ) as connection:
        arrived: list[Any] = []
        # Where each service has its own user, the broker vouches for the publisher.
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
        # Never cancelled, only closed with its connection: RabbitMQ 3.10.8 requeues unacknowledged
        # messages in any order after a cancel, and in their own order after a close.
        consumer.consume()  # type: ignore[no-untyped-call]
        log.info("consumer ready", service=processor.service.name)

        def on_unavailable(seconds: float) -> None:
            """Keep the connection alive while nothing can be processed."""
            deadline = monotonic() + seconds
            while (left := deadline - monotonic()) > 0:
                stopping.pause(0)
                with suppress(TimeoutError, socket.timeout):
                    connection.drain_events(timeout=min(left, 0.5))
            connection.heartbeat_check()

        idle, pace = _IdleWatch(channel, name), _Pace(processor.service)
        while not stopping.is_set():
            _gather(connection, arrived, pace)
            if arrived:
                idle.reset()
            else:
                idle.check()
            batch, arrived[:] = arrived[:BATCH], arrived[BATCH:]
            if batch:
                with pace.batch():
                    _process(batch, processor, signed, on_unavailable)
                    batch[-1].ack(multiple=True)
                idle.reset()


class _IdleWatch:
    """Detects a broker that delivers nothing although messages wait.

    After a restart, RabbitMQ 3.10.8 counted a whole prefetch of acknowledged messages as
    unacknowledged, and delivered no more. Only a new connection ends that before the broker's
    time-out of 30 minutes. A consumer that never got a message may be the stand-by of a single
    active consumer, so its silence is no error.
    """

    def __init__(self, channel: Any, queue: str) -> None:
        self._channel, self._queue = channel, queue
        self._since: float | None = None
        self._waiting = False

    def reset(self) -> None:
        """Start counting again: a message has arrived, or a batch was acknowledged."""
        self._since, self._waiting = monotonic(), False

    def check(self) -> None:
        """Read the queue's depth after `QUIET` seconds without a message.

        Raises:
            ConsumerStalled: it had messages at two reads in a row, and delivered none in between.
        """
        if self._since is None or monotonic() - self._since < QUIET:
            return
        ready = self._channel.queue_declare(self._queue, passive=True).message_count
        if ready and self._waiting:
            raise ConsumerStalled(
                f"{ready} messages wait in {self._queue}, and none has come for {2 * QUIET:.0f} s: "
                "beginning a new connection"
            )
        self._since, self._waiting = monotonic(), bool(ready)


class _Pace:
    """When the next batch may begin."""

    def __init__(self, service: Service) -> None:
        self._awaited = {contract.routing_key for contract in service.awaited}
        self._ended = self._took = 0.0

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Measure a batch."""
        started = monotonic()
        yield
        self._ended = monotonic()
        self._took = self._ended - started

    def awaits(self, message: Any) -> bool:
        """Tell whether a client waits for the handling of this event."""
        return message.delivery_info["routing_key"] in self._awaited

    def next(self, *, awaited: bool) -> float:
        """Return the moment; `awaited`: a client waits for the handling of one of its events."""
        return self._ended + (min(2 * self._took, LONGEST_PAUSE) if awaited else PAUSE)


def _gather(connection: Any, arrived: list[Any], pace: _Pace) -> None:
    """Wait for a message, then for more of them until the next batch may begin."""
    with suppress(TimeoutError, socket.timeout):
        if not arrived:
            connection.drain_events(timeout=0.5)
        burst, looked_at, awaited = monotonic() + BURST, 0, False
        while len(arrived) < BATCH:
            awaited = awaited or any(map(pace.awaits, arrived[looked_at:]))
            looked_at = len(arrived)
            left = max(burst, pace.next(awaited=awaited)) - monotonic()
            if left < 0.001:
                break
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
        for event in events:  # three commits each: between them the heartbeat must be answered
            processor.process_suspects([event], on_unavailable)
            on_unavailable(ALIVE)
    else:
        processor.process(events, on_unavailable)


def _check_signature(event: Envelope, user: Any) -> None:
    if user != event.publisher:
        raise Unreadable(f"{event.type} was published by {user or 'nobody'}, not {event.publisher}")


def _returns(message: Any) -> int:
    """Return how often the message went back to the broker."""
    count = (message.headers or {}).get("x-delivery-count", 0)
    return count if isinstance(count, int) else 0
