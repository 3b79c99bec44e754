"""Move dead letters into the list of parked events, so that operators look in one place.

A message that was returned too often ends in the dead-letter queue. It is acknowledged there only
after it is parked; the inbox drops it if it has taken effect.

Here the topology's reconciler (`shared.messaging.reconciler`) leaves a request: publish again,
since a queue was lost. Its type is `REPLAY`, its body `{"since": "2026-01-02T03:04:05Z"}`. If the
queue was an integrator's, the type is `QUEUE_LOST`, the body `{"queue": "integrator.shop-1"}`.
Only the reconciler and the broker may write to a dead-letter queue.
"""

from collections.abc import Callable
from datetime import datetime

import pika

from shared.messaging.batch import transaction
from shared.messaging.broker import parameters_of
from shared.messaging.envelope import Unreadable, decode, unreadable
from shared.messaging.processing import OnUnavailable, Processor
from shared.messaging.republish import republish
from shared.messaging.topology import QUEUE_LOST, REPLAY, dead_queue_of
from shared.runtime import strict_json
from shared.runtime.clock import in_calendar, rfc3339
from shared.runtime.logs import get
from shared.runtime.supervision import Stopping

log = get(__name__)

#: Unacknowledged messages at most.
PREFETCH = 50
#: Seconds to wait for a message before checking whether the process shall stop.
LOOK = 1.0
#: Seconds between request and replay: the request comes before the queue and its bindings exist.
REPLAY_DELAY = 10.0


def drain(url: str, processor: Processor, stopping: Stopping) -> None:
    """Park the messages of the service's dead-letter queue until the process stops.

    Raises:
        pika.exceptions.AMQPError: the connection failed or the queue is missing; start again.
        sqlalchemy.exc.DBAPIError: the database is unavailable; start again.
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
                on_unavailable(REPLAY_DELAY)
                _publish_again(url, processor, since, lambda: connection.process_data_events(0))
            elif (lost := _lost_queue(properties, body)) is not None:
                _feed_again(processor, lost)
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
    """Return since when to publish again, if the message is such a request."""
    if not _is_request(properties, REPLAY):
        return None
    try:
        return in_calendar(datetime.fromisoformat(strict_json.read(body)["since"]))
    except (ValueError, KeyError, TypeError):
        return None


def _lost_queue(properties: pika.BasicProperties, body: bytes) -> str | None:
    """Return the integrator's queue that was lost, if the message says so."""
    if not _is_request(properties, QUEUE_LOST):
        return None
    try:
        return str(strict_json.read(body)["queue"])
    except (ValueError, KeyError, TypeError):
        return None


def _is_request(properties: pika.BasicProperties, type_: str) -> bool:
    # A dead letter may have any type, but the broker gives it the header x-death.
    return properties.type == type_ and "x-death" not in (properties.headers or {})


def _feed_again(processor: Processor, queue: str) -> None:
    service = processor.service
    if service.on_queue_lost is not None:
        with transaction(processor.database, service.batch) as batch:
            service.on_queue_lost(batch, queue)


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
