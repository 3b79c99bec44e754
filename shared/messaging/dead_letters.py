"""What the broker gave up, brought into the list of parked events: one place to look.

A message ends in the dead queue when it was returned too often. It is acknowledged there only once
it is parked, and the inbox drops what took effect after all.

Here the topology's reconciler (`shared.messaging.reconciler`) leaves a request: publish again,
since a queue was lost. Its type is `REPLAY`, its body `{"since": "2026-01-02T03:04:05Z"}`.
Only it and the broker can place anything in a dead queue.
"""

from collections.abc import Callable
from datetime import datetime

import pika

from shared.messaging.broker import parameters_of
from shared.messaging.envelope import Unreadable, decode, unreadable
from shared.messaging.processing import OnUnavailable, Processor
from shared.messaging.republish import republish
from shared.messaging.topology import REPLAY, dead_queue_of
from shared.runtime import strict_json
from shared.runtime.clock import in_calendar, rfc3339
from shared.runtime.logs import get
from shared.runtime.supervision import Stopping

log = get(__name__)

#: Messages on their way to us at once.
PREFETCH = 50
#: Seconds to wait for a message before looking whether the process is to stop.
LOOK = 1.0
#: Seconds until it is done: it is asked for before the lost queue and its bindings are there.
SETTLE = 10.0


def drain(url: str, processor: Processor, stopping: Stopping) -> None:
    """Park what is in the service's dead queue, and what comes into it, until the process stops.

    Raises:
        pika.exceptions.AMQPError: the connection failed or the queue is missing; start again.
        sqlalchemy.exc.DBAPIError: the database is away; start again.
    """
    connection = pika.BlockingConnection(parameters_of(url))
    try:
        channel = connection.channel()
        channel.basic_qos(prefetch_count=PREFETCH)

        def on_unavailable(seconds: float) -> None:
            """Keep the connection alive while nothing can be parked."""
            stopping.pause(seconds)
            connection.process_data_events(time_limit=0)

        queue = dead_queue_of(processor.service.name)
        for method, properties, body in channel.consume(queue, inactivity_timeout=LOOK):
            if stopping.is_set():
                return
            if method is None:
                continue
            if (since := _asked_since(properties, body)) is not None:
                on_unavailable(SETTLE)
                _publish_again(url, processor, since, lambda: connection.process_data_events(0))
            else:
                _park(processor, body, _why(properties), on_unavailable)
            channel.basic_ack(method.delivery_tag)
    finally:
        if connection.is_open:
            connection.close()


def _park(processor: Processor, body: bytes, why: str, on_unavailable: OnUnavailable) -> None:
    log.warning("dead letter", reason=why)
    try:
        event = decode(body)
    except Unreadable as error:
        processor.park_unreadable(unreadable(body), f"{error}; {why}", on_unavailable)
    else:
        processor.park_given_up(event, why, on_unavailable)


def _asked_since(properties: pika.BasicProperties, body: bytes) -> datetime | None:
    """Return since when to publish again, if a message asks for that."""
    # What the broker gave up may call itself anything, but has a header that says so.
    if properties.type != REPLAY or "x-death" in (properties.headers or {}):
        return None
    try:
        return in_calendar(datetime.fromisoformat(strict_json.read(body)["since"]))
    except (ValueError, KeyError, TypeError):
        return None


def _publish_again(
    url: str, processor: Processor, since: datetime, keep_alive: Callable[[], None]
) -> None:
    count = republish(
        processor.service.name,
        processor.database,
        url,
        since,
        lambda done, total: keep_alive(),
    )
    log.warning("published again", count=count, reason=f"a queue was lost, since {rfc3339(since)}")


def _why(properties: pika.BasicProperties) -> str:
    deaths = (properties.headers or {}).get("x-death")
    last = deaths[0] if isinstance(deaths, list) and deaths else None
    reason = last.get("reason") if isinstance(last, dict) else None
    return f"the broker gave it up: {reason or 'unknown'}"
