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

from shared.broker import HEARTBEAT, IO_TIMEOUT
from shared.dead_letters import unreadable
from shared.envelope import Envelope, Unreadable, decode
from shared.handling import Handling
from shared.logs import get
from shared.supervision import Stopping
from shared.topology import queue_of

log = get(__name__)

#: Messages handled in one transaction, and how long one waits for more of them, in seconds.
BATCH, WINDOW = 300, 0.040
#: Constant: a lower prefetch later would let returned messages overtake each other.
PREFETCH = 400
#: Returns on record from which a message is suspected to kill the worker.
SUSPECT_RETURNS = 3
#: Seconds spent on the connection between two suspects.
ALIVE = 0.001


def consume(url: str, handling: Handling, stopping: Stopping) -> None:
    """Handle what arrives in the service's queue until the process stops.

    Raises:
        OSError, amqp.exceptions.AMQPError: the connection failed; start again.
        sqlalchemy.exc.DBAPIError: the database is away; start again.
    """
    # Before a message is taken: one that goes back unhandled comes nearer to the dead queue.
    with handling.limit("the database's answer"):
        handling.database.engine.connect().close()
    # The time-outs end what waits for a broker that no longer answers, such as the last close.
    timeouts = {"read_timeout": IO_TIMEOUT, "write_timeout": IO_TIMEOUT}
    with Connection(  # type: ignore[no-untyped-call]
        url, heartbeat=HEARTBEAT, connect_timeout=5, transport_options=timeouts
    ) as connection:
        arrived: list[Any] = []
        broken: list[Any] = []
        queue = Queue(queue_of(handling.service.name), no_declare=True)  # type: ignore[no-untyped-call]
        with Consumer(  # type: ignore[no-untyped-call]
            connection.channel(),
            [queue],
            auto_declare=False,
            on_message=arrived.append,
            on_decode_error=lambda message, error: broken.append(message),
            no_ack=False,
            prefetch_count=PREFETCH,
        ):
            log.info("consumer ready", service=handling.service.name)

            def while_away(seconds: float) -> None:
                """Keep the connection alive while nothing can be handled."""
                deadline = monotonic() + seconds
                while (left := deadline - monotonic()) > 0:
                    stopping.pause(0)
                    with suppress(TimeoutError, socket.timeout):
                        connection.drain_events(timeout=min(left, 0.5))
                connection.heartbeat_check()

            while not stopping.is_set():
                _gather(connection, arrived)
                batch, arrived[:] = arrived[:BATCH], arrived[BATCH:]
                # Rejected before the ack of their neighbours, which would cover them.
                while broken:
                    broken.pop().reject(requeue=False)
                if batch:
                    _settle(batch, handling, while_away)
                    batch[-1].ack(multiple=True)


def _gather(connection: Any, arrived: list[Any]) -> None:
    with suppress(TimeoutError, socket.timeout):
        if not arrived:
            connection.drain_events(timeout=0.5)
        deadline = monotonic() + WINDOW
        while len(arrived) < BATCH and (left := deadline - monotonic()) > 0.001:
            connection.drain_events(timeout=left)
    connection.heartbeat_check()  # after draining: before it, waiting frames would count as missed


def _settle(batch: Sequence[Any], handling: Handling, while_away: Any) -> None:
    events: list[Envelope] = []
    suspect = False
    for message in batch:
        suspect = suspect or _returns(message) >= SUSPECT_RETURNS
        try:
            events.append(decode(message.body))
        except Unreadable as error:
            handling.park_unreadable(unreadable(message.body), str(error), while_away)
    if suspect:
        for event in events:  # slow, three commits each: the broker must not take us for dead
            handling.settle_suspects([event], while_away)
            while_away(ALIVE)
    else:
        handling.settle(events, while_away)


def _returns(message: Any) -> int:
    """Return how often the broker has had to take a message back."""
    count = (message.headers or {}).get("x-delivery-count", 0)
    return count if isinstance(count, int) else 0
