"""Exchange, queues and bindings, declared from the services' `SUBSCRIPTIONS`.

One command declares them, never a service: services connect with users that may not configure
anything. A queue's arguments cannot be changed later, so every version uses the same. Reasons:
docs/architecture.md, "Topology".
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Protocol

import pika
from pika.adapters.blocking_connection import BlockingChannel

from shared.events import BY_TYPE, EVENTS, Fact

EXCHANGE = "events"
STREAM = "orders.log"
#: The suffix of a dead-letter queue's name.
DEAD = ".dead"
#: The type of a message in a dead-letter queue that requests a replay of the service's outbox.
REPLAY = "farmgate.replay"
#: AMQP's reply for a queue that does not exist, and the words in its text for one that exists but
#: whose process is down. RabbitMQ 3.10.8 gives the second for ever for a stream if it was killed
#: right after the declaration.
NOT_FOUND, DOWN = 404, "home node"
#: Where an operator finds the repair.
DOWN_HELP = "docs/operations.md, under: A queue that stands still, a stream that is down"
#: Deliveries of one message before the broker moves it to the dead-letter queue.
DELIVERY_LIMIT = 20

_DEAD_ARGUMENTS: dict[str, Any] = {
    "x-queue-type": "quorum",
    # Explicit, since newer brokers would drop a message that an operator looked at 20 times.
    "x-delivery-limit": 1_000_000,
}
_STREAM_ARGUMENTS: dict[str, Any] = {
    "x-queue-type": "stream",
    "x-max-age": "30D",
    "x-max-length-bytes": 5_000_000_000,
    "x-stream-max-segment-size-bytes": 50_000_000,
}
#: The prefix of integrators' queues.
INTEGRATOR = "integrator."
#: An integrator's event types by default.
ALL_ORDER_EVENTS = ("orders.*",)
#: Bytes in an integrator's queue at most, some 100,000 events; then the oldest are dropped.
INTEGRATOR_BYTES = 104_857_600
#: How long an event waits for an integrator: 7 days, in milliseconds.
INTEGRATOR_TTL = 604_800_000


class Subscriber(Protocol):
    """The part of a `Service` that the topology needs."""

    @property
    def name(self) -> str:
        """The service's name."""

    @property
    def subscriptions(self) -> Mapping[type[Fact], Any]:
        """The events that it listens to."""


def queue_of(service: str) -> str:
    """Return the name of a service's queue."""
    return f"{service}.events"


def dead_queue_of(service: str) -> str:
    """Return the name of a service's dead-letter queue."""
    return f"{queue_of(service)}{DEAD}"


def queue_arguments(service: str) -> dict[str, Any]:
    """Return the arguments of a service's queue."""
    return {
        "x-queue-type": "quorum",
        "x-single-active-consumer": True,
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": dead_queue_of(service),
        "x-dead-letter-strategy": "at-least-once",
        # Required by at-least-once dead lettering. Without a length limit it never rejects.
        "x-overflow": "reject-publish",
    }


def order_events() -> frozenset[str]:
    """Return the types that integrators can get: public events of orders."""
    return frozenset(
        contract.routing_key
        for contract in EVENTS
        if contract.public and contract.routing_key.startswith("orders.")
    )


@dataclass(frozen=True)
class Integrator:
    """A partner system that gets public order events in a queue of its own."""

    name: str
    #: Patterns of event types, with `*` and `?` as in file names. Types of later versions that
    #: match are delivered, too.
    patterns: tuple[str, ...] = ALL_ORDER_EVENTS
    max_bytes: int = INTEGRATOR_BYTES

    @property
    def queue(self) -> str:
        """The queue's name."""
        return f"{INTEGRATOR}{self.name}"

    @property
    def types(self) -> frozenset[str]:
        """The event types that it gets, never internal ones."""
        return frozenset(
            type_
            for type_ in order_events()
            if any(fnmatchcase(type_, pattern) for pattern in self.patterns)
        )

    @property
    def arguments(self) -> dict[str, Any]:
        """The queue's arguments."""
        return {
            "x-queue-type": "quorum",
            # A full queue that rejects would withhold the relay's confirms for all services.
            "x-overflow": "drop-head",
            "x-max-length-bytes": self.max_bytes,
            "x-message-ttl": INTEGRATOR_TTL,
            # Explicit, so that a returned message keeps its place; high, so that a subscriber that
            # crashes 20 times in a row loses no message.
            "x-delivery-limit": 1_000_000,
        }


@dataclass(frozen=True)
class Topology:
    """Which queue is bound to which event types."""

    #: Queue name → event types, never wildcards.
    bindings: dict[str, frozenset[str]]


def topology_of(services: Sequence[Subscriber]) -> Topology:
    """Return the topology for the services' subscriptions."""
    bindings = {
        queue_of(service.name): frozenset(c.routing_key for c in service.subscriptions)
        for service in services
    }
    bindings[STREAM] = order_events()
    return Topology(bindings)


def declare(
    url: str,
    services: Sequence[Subscriber],
    integrators: Iterable[Integrator] = (),
    *,
    prune: bool = False,
) -> list[str]:
    """Declare everything at the broker; with `prune`, remove bindings that no service needs.

    New bindings are added before a deployment and old ones pruned after it, so that no version
    misses an event. Queues of other integrators are left as they are. Returns one line for each
    thing that was declared or removed.

    Raises:
        pika.exceptions.AMQPError: the broker refused or cannot be reached.
    """
    parameters = pika.URLParameters(url)
    parameters.socket_timeout = parameters.blocked_connection_timeout = 30
    connection = pika.BlockingConnection(parameters)
    try:
        done = declare_on(connection.channel(), services, prune=prune)
        for integrator in integrators:
            done += declare_integrator(connection.channel(), integrator, prune=prune)
        return done
    finally:
        connection.close()


def declare_on(
    channel: BlockingChannel, services: Sequence[Subscriber], *, prune: bool = False
) -> list[str]:
    """Declare everything on an open channel; a stream that is down closes the channel."""
    channel.exchange_declare(EXCHANGE, "topic", durable=True)
    done = [f"exchange {EXCHANGE}"]
    for service in services:
        queue = queue_of(service.name)
        declare_dead_queue(channel, service.name)
        channel.queue_declare(queue, durable=True, arguments=queue_arguments(service.name))
        done += [f"queue {dead_queue_of(service.name)}", f"queue {queue}"]
    bindings = topology_of(services).bindings
    streamed = bindings.pop(STREAM)
    for queue, types in bindings.items():
        done += _bind(channel, queue, types, prune)
    # Last, since a stream that is down closes the channel, and no service needs the stream.
    try:
        channel.queue_declare(STREAM, durable=True, arguments=_STREAM_ARGUMENTS)
    except pika.exceptions.ChannelClosedByBroker as error:
        if not _is_down(error):
            raise
        return [*done, f"stream {STREAM} is down: {DOWN_HELP}"]
    return [*done, f"stream {STREAM}", *_bind(channel, STREAM, streamed, prune)]


def declare_integrator(
    channel: BlockingChannel, integrator: Integrator, *, prune: bool = False
) -> list[str]:
    """Declare an integrator's queue with its bindings; returns what was done, one line each."""
    channel.queue_declare(integrator.queue, durable=True, arguments=integrator.arguments)
    bound = _bind(channel, integrator.queue, integrator.types, prune)
    return [f"queue {integrator.queue}", *bound]


def declare_dead_queue(channel: BlockingChannel, service: str) -> None:
    """Declare a service's dead-letter queue."""
    channel.queue_declare(dead_queue_of(service), durable=True, arguments=_DEAD_ARGUMENTS)


def _bind(channel: BlockingChannel, queue: str, types: frozenset[str], prune: bool) -> list[str]:
    for type_ in sorted(types):
        channel.queue_bind(queue, EXCHANGE, type_)
    lines = [f"{queue}: {len(types)} bindings"]
    if prune:
        # AMQP cannot list bindings; unbinding one that does not exist is no error.
        for type_ in sorted(BY_TYPE.keys() - types):
            channel.queue_unbind(queue, EXCHANGE, type_)
        lines.append(f"{queue}: other known types unbound")
    return lines


@dataclass(frozen=True)
class QueueInfo:
    """What the broker says of a queue, or of the exchange, which holds no messages."""

    messages: int = 0
    consumers: int = 0
    #: It exists and cannot be used.
    is_down: bool = False


def look(
    connection: pika.BlockingConnection, services: Sequence[Subscriber]
) -> dict[str, QueueInfo | None]:
    """Return the state of each declared exchange and queue, None for one that is missing.

    `messages` counts those that are not delivered. AMQP shows no bindings.

    Raises:
        pika.exceptions.AMQPError: the broker refused or is unavailable.
    """
    names = [queue_of(service.name) for service in services]
    names += [dead_queue_of(service.name) for service in services] + [STREAM]
    return {name: look_for(connection, name) for name in [EXCHANGE, *names]}


def look_for(connection: pika.BlockingConnection, name: str) -> QueueInfo | None:
    """Return the state of one queue or of the exchange, None if it is missing.

    Raises:
        pika.exceptions.AMQPError: the broker refused or is unavailable.
    """
    channel = connection.channel()
    try:
        if name == EXCHANGE:
            channel.exchange_declare(name, passive=True)
            seen = QueueInfo()
        else:
            method = channel.queue_declare(name, passive=True).method
            seen = QueueInfo(method.message_count, method.consumer_count)
    except pika.exceptions.ChannelClosedByBroker as error:
        if error.reply_code != NOT_FOUND:
            raise
        return QueueInfo(is_down=True) if _is_down(error) else None
    channel.close()
    return seen


def _is_down(error: pika.exceptions.ChannelClosedByBroker) -> bool:
    return error.reply_code == NOT_FOUND and DOWN in error.reply_text


def missing(url: str, services: Sequence[Subscriber]) -> list[str]:
    """Return the names of missing exchanges and queues; bindings are not checked."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    try:
        return [name for name, seen in look(connection, services).items() if seen is None]
    finally:
        connection.close()


def purge(url: str, services: Sequence[Subscriber]) -> None:
    """Purge the services' queues; a missing queue is skipped.

    Raises:
        pika.exceptions.AMQPError: the broker refused or cannot be reached.
    """
    absent = missing(url, services)
    connection = pika.BlockingConnection(pika.URLParameters(url))
    try:
        channel = connection.channel()
        for service in services:
            for queue in (queue_of(service.name), dead_queue_of(service.name)):
                if queue not in absent:
                    channel.queue_purge(queue)
    finally:
        connection.close()


def permissions(service: str) -> dict[str, str]:
    """Return the permissions of a service's user, as regular expressions.

    `topic_write` is the topic permission on the exchange; a user without that row could publish
    any key.
    """
    return {
        "configure": "^$",
        "write": f"^{EXCHANGE}$",
        "read": f"^{service}\\.events(\\.dead)?$",
        "topic_write": f"^{service}\\.",
        "topic_read": "^$",
    }
