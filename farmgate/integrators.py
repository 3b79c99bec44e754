"""Integrators at the broker: each has a queue of public order events, and a user that reads it.

Who they are is kept at the broker itself, as one global parameter each: it outlives their queues
and the exchange, and the topology's keeper reads it to restore those. Users, rights and parameters
go through RabbitMQ's management API, queues and bindings through `shared.topology`, the same way
as everybody's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import pika
from pika.exceptions import AMQPError, ChannelClosedByBroker

from farmgate import broker_users
from farmgate.failures import Failed, Unreachable
from farmgate.management import Management
from shared import topology
from shared.broker import parameters_of
from shared.topology import Integrator, Seen

#: What one integrator may have open at once; whoever leaks connections harms only itself.
LIMITS = {"max-connections": 5, "max-channels": 20}


def known(management: Management) -> list[Integrator]:
    """Return the integrators of this virtual host, by name."""
    found = [
        Integrator(
            parameter["name"].removeprefix(topology.INTEGRATOR),
            tuple(parameter["value"]["events"]),
            parameter["value"]["max_bytes"],
        )
        for parameter in management.get("global-parameters") or ()
        if parameter["name"].startswith(topology.INTEGRATOR)
        and parameter["value"]["vhost"] == management.vhost
    ]
    return sorted(found, key=lambda integrator: integrator.name)


def check(patterns: Sequence[str]) -> None:
    """Look whether each pattern stands for some public order event.

    Raises:
        Failed: one does not; the message lists the events that there are.
    """
    offered = sorted(topology.order_events())
    for pattern in patterns:
        if not any(fnmatchcase(type_, pattern) for type_ in offered):
            raise Failed(
                f"{pattern} is no public order event. There are:\n  " + "\n  ".join(offered)
            )


def has_user(management: Management, name: str) -> bool:
    """Tell whether an integrator's user is at the broker: the last thing that `put` makes."""
    return management.get("users", broker_users.integrator_user(name)) is not None


def put(management: Management, url: str, integrator: Integrator, password: str) -> None:
    """Make an integrator, or make it anew with another password and other events.

    The parameter first: what dies in between is mended by the keeper, or by running it again.
    Connections that its user had are closed.

    Raises:
        Failed, Unreachable: the broker refused or is away.
    """
    user = broker_users.integrator_user(integrator.name)
    rights = broker_users.integrator_permissions(integrator.queue)
    management.put(
        "global-parameters",
        integrator.queue,
        value={
            "vhost": management.vhost,
            "events": integrator.patterns,
            "max_bytes": integrator.max_bytes,
        },
    )
    with _Channel(url) as channel:
        topology.declare_integrator(channel, integrator, prune=True)
    # Who knows the old password would stay connected otherwise.
    management.delete("users", user)
    management.put(
        "users",
        user,
        password_hash=broker_users.hashed(password),
        hashing_algorithm=broker_users.HASHING,
        tags="",
    )
    management.put(
        "topic-permissions",
        management.vhost,
        user,
        exchange=topology.EXCHANGE,
        write=rights["topic_write"],
        read=rights["topic_read"],
    )
    for limit, value in LIMITS.items():
        management.put("user-limits", user, limit, value=value)
    # Last, so that nothing is read before all the rest holds.
    named = {right: rights[right] for right in ("configure", "write", "read")}
    management.put("permissions", management.vhost, user, **named)


def remove(management: Management, url: str, name: str) -> None:
    """Remove an integrator: user, queue, and what waits in it.

    The parameter first, or the keeper would make the queue again.

    Raises:
        Failed, Unreachable: the broker refused or is away.
    """
    queue = Integrator(name).queue
    management.delete("global-parameters", queue)
    management.delete("users", broker_users.integrator_user(name))
    with _Channel(url) as channel:
        channel.queue_delete(queue)


@dataclass(frozen=True)
class State:
    """An integrator and what waits for it; `seen` is None where its queue is missing."""

    integrator: Integrator
    seen: Seen | None


def look(url: str, integrators: Sequence[Integrator]) -> list[State]:
    """Return what waits for each integrator.

    Raises:
        Failed, Unreachable: the broker refused or is away.
    """
    with _Channel(url) as channel:
        connection = channel.connection
        return [State(one, topology.look_for(connection, one.queue)) for one in integrators]


class _Channel:
    """A channel for a moment; the broker's refusals are told as the command tells them."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __enter__(self) -> Any:
        try:
            self.connection = pika.BlockingConnection(parameters_of(self.url))
        except (AMQPError, OSError) as error:
            raise Unreachable(
                f"The broker cannot be reached: {error!r}. Check the address in "
                "FARMGATE_TOPOLOGY_BROKER_URL or FARMGATE_BROKER_URL."
            ) from error
        return self.connection.channel()

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if self.connection.is_open:
            self.connection.close()
        if isinstance(error, ChannelClosedByBroker):
            raise Failed(
                f"The broker refused: {error.reply_text}. Its user must be the one that declares "
                "the topology; a queue that differs must be deleted first."
            ) from error
        if isinstance(error, AMQPError):
            raise Unreachable(f"The broker is gone: {error!r}. Run this again.") from error
