"""Exchange, queues and bindings, declared from the services' `SUBSCRIPTIONS`.

One command declares them, never a service: services connect with users that may not configure
anything. A queue's arguments cannot be changed later, so every version uses the same. Reasons:
docs/architecture.md, "Topology".
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pika
from pika.adapters.blocking_connection import BlockingChannel

from shared.events import BY_TYPE, Fact

EXCHANGE = "events"
#: The exchange of integrators' queues; a queue's key is its own name.
INTEGRATORS = "integrators"
#: Headers of messages in integrators' queues: position in the feed, and cursor behind the message.
POSITION_HEADER, CURSOR_HEADER = "farmgate-position", "farmgate-cursor"
#: A stream of older versions, which nobody may read.
OLD_STREAM = "orders.log"
#: The suffix of a dead-letter queue's name.
DEAD = ".dead"
#: The type of a message in a dead-letter queue that requests a replay of the service's outbox.
REPLAY = "farmgate.replay"
#: The type of a message there that says that an integrator's queue lost its messages.
QUEUE_LOST = "farmgate.queue_lost"
#: AMQP's reply for a queue that does not exist, the words in its text for one that exists but whose
#: process is down, and the reply for one that exists with other arguments.
NOT_FOUND, DOWN, DIFFERS = 404, "home node", 406
#: Where an operator finds the repair.
DOWN_HELP = "docs/operations.md, under: A queue that stands still"
#: Deliveries of one message before the broker moves it to the dead-letter queue.
DELIVERY_LIMIT = 20

_DEAD_ARGUMENTS: dict[str, Any] = {
    "x-queue-type": "quorum",
    # Explicit, since newer brokers would drop a message that an operator looked at 20 times.
    "x-delivery-limit": 1_000_000,
}
#: The prefix of integrators' queues.
INTEGRATOR = "integrator."
#: Bytes of events in an integrator's queue at most, some 100,000 events.
INTEGRATOR_BYTES = 104_857_600
#: Bytes that a queue may take beyond its limit: what is published until it says that it is full.
OVERSHOOT_BYTES = 524_288


class Subscriber(Protocol):
    """The part of a `Service` that the topology needs."""

    @property
    def name(self) -> str:
        """The service's name."""

    @property
    def subscriptions(self) -> Mapping[type[Fact], Any]:
        """The events that it listens to."""

    @property
    def feeds_queues(self) -> bool:
        """Whether it feeds integrators' queues."""


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


@dataclass(frozen=True)
class Integrator:
    """A partner system with a queue of its own, which is fed from its partner's feed."""

    name: str
    #: Bytes of events in the queue at most.
    max_bytes: int = INTEGRATOR_BYTES

    @property
    def queue(self) -> str:
        """The queue's name."""
        return f"{INTEGRATOR}{self.name}"

    @property
    def arguments(self) -> dict[str, Any]:
        """The queue's arguments."""
        return {
            "x-queue-type": "quorum",
            # Two subscribers would share the events of one order, and break their order.
            "x-single-active-consumer": True,
            # Nothing is dropped: its feeding waits, and nobody else publishes to it.
            "x-overflow": "reject-publish",
            "x-max-length-bytes": self.max_bytes - OVERSHOOT_BYTES,
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
        if prune and (stream := look_for(connection, OLD_STREAM)) and not stream.is_down:
            connection.channel().queue_delete(OLD_STREAM)
            done.append(f"stream {OLD_STREAM}: deleted")
        feeder = feeder_of(services)
        for integrator in integrators:
            try:
                done.append(declare_integrator(connection, integrator, feeder))
            except QueueDiffers as error:
                done.append(str(error))
        return done
    finally:
        connection.close()


def declare_on(
    channel: BlockingChannel, services: Sequence[Subscriber], *, prune: bool = False
) -> list[str]:
    """Declare everything on an open channel, but for integrators' queues."""
    channel.exchange_declare(EXCHANGE, "topic", durable=True)
    channel.exchange_declare(INTEGRATORS, "direct", durable=True)
    done = [f"exchange {EXCHANGE}", f"exchange {INTEGRATORS}"]
    for service in services:
        queue = queue_of(service.name)
        declare_dead_queue(channel, service.name)
        channel.queue_declare(queue, durable=True, arguments=queue_arguments(service.name))
        done += [f"queue {dead_queue_of(service.name)}", f"queue {queue}"]
    for queue, types in topology_of(services).bindings.items():
        done += _bind(channel, queue, types, prune)
    return done


class QueueDiffers(Exception):
    """Raised when a queue of an older version cannot be replaced yet; the message says why."""


def feeder_of(services: Iterable[Subscriber]) -> str | None:
    """Return the name of the service that feeds integrators' queues."""
    return next((service.name for service in services if service.feeds_queues), None)


def declare_integrator(
    connection: pika.BlockingConnection, integrator: Integrator, feeder: str | None
) -> str:
    """Declare an integrator's queue and its binding; return what was done.

    The service `feeder` is told of a queue that was missing: it may have lost messages. The request
    is sent first, since a kill after the declaration would leave nobody who knows of the loss.

    A queue of an older version was bound to the exchange `events` and dropped its oldest messages.
    Its bindings are removed, and it is replaced as soon as it is empty and nobody is connected.

    Raises:
        QueueDiffers: messages or consumers prevent the replacement.
        pika.exceptions.AMQPError: the broker refused or cannot be reached.
    """
    queue, done = integrator.queue, "declared"
    if look_for(connection, queue) is None:
        _tell_of_loss(connection, queue, feeder)
    try:
        _declare_integrator(connection.channel(), integrator)
    except pika.exceptions.ChannelClosedByBroker as error:
        if error.reply_code != DIFFERS:
            raise
        _delete_older(connection, queue)
        _tell_of_loss(connection, queue, feeder)
        _declare_integrator(connection.channel(), integrator)
        done = "replaced"
    return f"queue {queue}: {done}"


def _declare_integrator(channel: BlockingChannel, integrator: Integrator) -> None:
    channel.queue_declare(integrator.queue, durable=True, arguments=integrator.arguments)
    channel.queue_bind(integrator.queue, INTEGRATORS, integrator.queue)
    channel.close()


def _delete_older(connection: pika.BlockingConnection, queue: str) -> None:
    channel = connection.channel()
    for type_ in BY_TYPE:
        channel.queue_unbind(queue, EXCHANGE, type_)
    info = look_for(connection, queue)
    if info is not None and (info.messages or info.consumers):
        raise QueueDiffers(
            f"queue {queue} has other arguments, {info.messages} messages and {info.consumers} "
            "consumers. It gets no new events. Let the partner take its messages and disconnect "
            "for ten seconds; then it is replaced"
        )
    channel.queue_delete(queue)


def _tell_of_loss(connection: pika.BlockingConnection, queue: str, feeder: str | None) -> None:
    if feeder is None:
        return
    channel = connection.channel()
    channel.confirm_delivery()
    declare_dead_queue(channel, feeder)
    channel.basic_publish(
        "",
        dead_queue_of(feeder),
        json.dumps({"queue": queue}).encode(),
        pika.BasicProperties(delivery_mode=2, type=QUEUE_LOST),
        mandatory=True,
    )
    channel.close()


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
    """What the broker says of a queue, or of an exchange, which holds no messages."""

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
    names += [dead_queue_of(service.name) for service in services]
    return {name: look_for(connection, name) for name in [EXCHANGE, INTEGRATORS, *names]}


def look_for(connection: pika.BlockingConnection, name: str) -> QueueInfo | None:
    """Return the state of one queue or exchange, None if it is missing.

    Raises:
        pika.exceptions.AMQPError: the broker refused or is unavailable.
    """
    channel = connection.channel()
    try:
        if name in (EXCHANGE, INTEGRATORS):
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


def permissions(service: str, *, feeds: bool = False) -> dict[str, str]:
    """Return the permissions of a service's user, as regular expressions.

    `feeds` says that the service feeds integrators' queues.

    `topic_write` is the topic permission on the exchange; a user without that row could publish
    any key.
    """
    return {
        "configure": "^$",
        "write": f"^({EXCHANGE}|{INTEGRATORS})$" if feeds else f"^{EXCHANGE}$",
        "read": f"^{service}\\.events(\\.dead)?$",
        "topic_write": f"^{service}\\.",
        "topic_read": "^$",
    }
