"""Exchange, queues and bindings: the only place with AMQP words besides relay and consumer.

Declared by one command from the services' own `SUBSCRIPTIONS`, never by a service: services
connect with users that may not configure anything. Arguments of a queue cannot be changed
later, so they are the same for every version. Reasons: docs/architecture.md, "Topology".
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
#: What the name of a dead queue has more than that of its queue.
DEAD = ".dead"
#: The type of a message in a dead queue that asks its service to publish again.
REPLAY = "farmgate.replay"
#: AMQP's reply about a thing that is not there, and what its text says of one that is, but whose
#: process does not run: RabbitMQ 3.10.8 answers so for ever about a stream that it was killed
#: right after declaring.
NOT_FOUND, DOWN = 404, "home node"
#: Where an operator finds what to type then.
DOWN_HELP = "docs/operations.md, under: A queue that stands still, a stream that is down"
#: Returns of one message to the queue before the broker gives it to the dead queue.
DELIVERY_LIMIT = 20

_DEAD_ARGUMENTS: dict[str, Any] = {
    "x-queue-type": "quorum",
    # Explicit and huge: newer brokers would else drop what an operator looked at 20 times.
    "x-delivery-limit": 1_000_000,
}
_STREAM_ARGUMENTS: dict[str, Any] = {
    "x-queue-type": "stream",
    "x-max-age": "30D",
    "x-max-length-bytes": 5_000_000_000,
    "x-stream-max-segment-size-bytes": 50_000_000,
}
#: What the names of integrators' queues begin with.
INTEGRATOR = "integrator."
#: What an integrator gets who asks for nothing less.
ALL_ORDER_EVENTS = ("orders.*",)
#: Bytes that may wait for an integrator, some 100,000 events; then the oldest go.
INTEGRATOR_BYTES = 104_857_600
#: How long an event waits for an integrator: 7 days, in milliseconds.
INTEGRATOR_TTL = 604_800_000


class Subscriber(Protocol):
    """What the topology must know of a service. A `Service` knows more, and needs a database."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def subscriptions(self) -> Mapping[type[Fact], Any]:
        """The events that it gets."""


def queue_of(service: str) -> str:
    """Return the name of a service's queue."""
    return f"{service}.events"


def dead_queue_of(service: str) -> str:
    """Return the name of the queue that keeps what a service's queue gave up."""
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
        # At-least-once dead lettering needs it; no length limit, so it never rejects.
        "x-overflow": "reject-publish",
    }


def order_events() -> frozenset[str]:
    """Return the types that leave the house: public events about orders, and no others."""
    return frozenset(
        contract.routing_key
        for contract in EVENTS
        if contract.public and contract.routing_key.startswith("orders.")
    )


@dataclass(frozen=True)
class Integrator:
    """Somebody outside who gets public order events in a queue of their own."""

    name: str
    #: Of which types, with `*` and `?` as in the names of files. Kept instead of the types, so
    #: that who asked for all gets those of later versions, too.
    patterns: tuple[str, ...] = ALL_ORDER_EVENTS
    max_bytes: int = INTEGRATOR_BYTES

    @property
    def queue(self) -> str:
        """The queue's name."""
        return f"{INTEGRATOR}{self.name}"

    @property
    def types(self) -> frozenset[str]:
        """The event types that it gets; an internal one is never among them."""
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
            # A full queue that rejects would keep the relay's confirm from everybody.
            "x-overflow": "drop-head",
            "x-max-length-bytes": self.max_bytes,
            "x-message-ttl": INTEGRATOR_TTL,
            # Explicit, so that what comes back keeps its place; and huge, since a subscriber
            # that crashes 20 times in a row must not lose what it had in hand.
            "x-delivery-limit": 1_000_000,
        }


@dataclass(frozen=True)
class Topology:
    """Which queue is bound to which event types."""

    #: Queue name → event types, never wildcards.
    bindings: dict[str, frozenset[str]]


def topology_of(services: Sequence[Subscriber]) -> Topology:
    """Return the topology that the services' subscriptions call for."""
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
    """Declare everything at the broker; with `prune`, remove bindings nobody asks for any more.

    New bindings are added before a deployment and old ones pruned after it, so that no version
    misses an event. Queues of integrators that are not named are left as they are. Returns what
    was declared and removed, one line each.

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
    """Do what `declare` does, on a channel that is open; a stream that is down closes it."""
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
    # Last: a stream that is down cannot be declared, and the services need none.
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
    """Declare the queue for what a service's queue gives up."""
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
    """Return what the broker has of all that is declared, None for what it lacks.

    `messages` are those that no consumer has in hand. AMQP shows no bindings.

    Raises:
        pika.exceptions.AMQPError: the broker refused or is away.
    """
    names = [queue_of(service.name) for service in services]
    names += [dead_queue_of(service.name) for service in services] + [STREAM]
    return {name: look_for(connection, name) for name in [EXCHANGE, *names]}


def look_for(connection: pika.BlockingConnection, name: str) -> QueueInfo | None:
    """Return what the broker has of one queue or of the exchange, None when it lacks it.

    Raises:
        pika.exceptions.AMQPError: the broker refused or is away.
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
    """Return the names of declared things that the broker does not have (bindings unseen)."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    try:
        return [name for name, seen in look(connection, services).items() if seen is None]
    finally:
        connection.close()


def purge(url: str, services: Sequence[Subscriber]) -> None:
    """Drop what waits in the services' queues; a queue that is not there holds nothing.

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
    """Return the broker rights of a service's user, as regular expressions.

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
