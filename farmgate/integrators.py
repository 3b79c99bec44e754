"""Integrators at the broker: each has a queue of public order events, and a user that reads it.

Who they are is kept at the broker itself, as one global parameter each: it outlives their queues
and the exchange, and the topology's keeper reads it to restore those. Users, rights and parameters
go through RabbitMQ's management API, queues and bindings through `shared.messaging.topology`, the
same way as everybody's.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import pika
from pika.exceptions import AMQPError, ChannelClosedByBroker

from farmgate import broker_users
from farmgate.failures import Failed, Unreachable
from farmgate.management import Management
from shared.messaging import topology
from shared.messaging.broker import parameters_of
from shared.messaging.topology import Integrator, QueueInfo

#: Of what the topology's user may declare, and short enough for a queue's name.
NAME = re.compile("[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?")
#: What one integrator may have open at once; whoever leaks connections harms only itself.
LIMITS = {"max-connections": 5, "max-channels": 20}


def list_integrators(management: Management) -> list[Integrator]:
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


@dataclass(frozen=True)
class Account:
    """An integrator and what its password is known by at the broker."""

    integrator: Integrator
    #: As of `broker_users.hashed`; None where there is no user, since somebody made it by half.
    password_hash: str | None

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> "Account":
        """Return it from what `dataclasses.asdict` made of one.

        Raises:
            KeyError, TypeError, ValueError: that is not what was made.
        """
        one = value["integrator"]
        integrator = Integrator(one["name"], tuple(one["patterns"]), one["max_bytes"])
        texts = (*integrator.patterns, value["password_hash"] or "")
        if not (
            NAME.fullmatch(integrator.name)
            and isinstance(integrator.max_bytes, int)
            and all(isinstance(text, str) for text in texts)
        ):
            raise ValueError(f"{integrator.name!r} is no integrator")
        return cls(integrator, value["password_hash"])


def accounts(management: Management) -> list[Account]:
    """Return the integrators of this virtual host, with what their passwords are known by.

    Raises:
        Failed, Unreachable: the broker refused, as it does to all but administrators, or is away.
    """
    hashes = {user["name"]: user["password_hash"] for user in management.get("users") or ()}
    return [
        Account(one, hashes.get(broker_users.integrator_user(one.name)))
        for one in list_integrators(management)
    ]


def check_patterns(patterns: Sequence[str]) -> None:
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
    """Tell whether an integrator's user is at the broker, and not one that `put` made by half.

    Its rights are the last thing that `put` makes. Without any here, the user may also be that of
    another virtual host, and is nobody's to make anew.
    """
    user = broker_users.integrator_user(name)
    if management.get("users", user) is None:
        return False
    if management.get("permissions", management.vhost, user) is not None:
        return True
    return all(one.name != name for one in list_integrators(management))


def put(management: Management, url: str, integrator: Integrator, password_hash: str) -> None:
    """Make an integrator, or make it anew with another password and other events.

    `password_hash` is what `farmgate.broker_users.hashed` makes of a password.

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
        password_hash=password_hash,
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
        Failed, Unreachable: the broker refused or is away, or the integrator is another virtual
            host's: users and parameters belong to the whole broker.
    """
    queue, user = Integrator(name).queue, broker_users.integrator_user(name)
    parameter = management.get("global-parameters", queue)
    homes = {parameter["value"]["vhost"]} if parameter else set()
    homes |= {right["vhost"] for right in management.get("users", user, "permissions") or ()}
    if elsewhere := homes - {management.vhost}:
        raise Failed(
            f"Integrator {name} belongs to virtual host {', '.join(sorted(elsewhere))} of this "
            f"broker, not to {management.vhost}: set FARMGATE_BROKER_URL to that one to remove it."
        )
    management.delete("global-parameters", queue)
    management.delete("users", user)
    with _Channel(url) as channel:
        channel.queue_delete(queue)


@dataclass(frozen=True)
class IntegratorState:
    """An integrator and what waits for it; `seen` is None where its queue is missing."""

    integrator: Integrator
    seen: QueueInfo | None


def queue_states(url: str, integrators: Sequence[Integrator]) -> list[IntegratorState]:
    """Return what waits for each integrator.

    Raises:
        Failed, Unreachable: the broker refused or is away.
    """
    with _Channel(url) as channel:
        connection = channel.connection
        return [
            IntegratorState(one, topology.look_for(connection, one.queue)) for one in integrators
        ]


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
