"""Integrators at the broker: each has a queue, fed from a partner's feed, and a user that reads it.

Notifications knows which feed a queue gets, and how far it is fed. The broker stores each
integrator as a global parameter, which outlives queues and exchange; the topology's reconciler
restores the queue from it. The management API makes users, permissions and parameters, and
`shared.messaging.topology` declares queues.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pika
from pika.exceptions import AMQPError, ChannelClosedByBroker

from farmgate import broker_users
from farmgate.failures import Failed, Unreachable
from farmgate.management import Management
from shared.messaging import topology
from shared.messaging.broker import parameters_of
from shared.messaging.topology import Integrator, QueueInfo

#: A name that the topology user may declare, short enough for a queue's name.
NAME = re.compile("[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?")
#: Limits per integrator, so that one that leaks connections harms only itself.
LIMITS = {"max-connections": 5, "max-channels": 20}


def list_integrators(management: Management) -> list[Integrator]:
    """Return the integrators of this virtual host, sorted by name."""
    found = [
        Integrator(
            parameter["name"].removeprefix(topology.INTEGRATOR),
            parameter["value"]["max_bytes"],
        )
        for parameter in management.get("global-parameters") or ()
        if parameter["name"].startswith(topology.INTEGRATOR)
        and parameter["value"]["vhost"] == management.vhost
    ]
    return sorted(found, key=lambda integrator: integrator.name)


@dataclass(frozen=True)
class Account:
    """An integrator and the hash of its password."""

    integrator: Integrator
    #: As of `broker_users.hashed`; None if an interrupted `put` made no user.
    password_hash: str | None

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> "Account":
        """Return the account from the result of `dataclasses.asdict`.

        Raises:
            KeyError, TypeError, ValueError: the value is invalid.
        """
        one = value["integrator"]
        integrator = Integrator(one["name"], one["max_bytes"])
        if not (
            NAME.fullmatch(integrator.name)
            and isinstance(integrator.max_bytes, int)
            and isinstance(value["password_hash"] or "", str)
        ):
            raise ValueError(f"{integrator.name!r} is no valid integrator")
        return cls(integrator, value["password_hash"])


def accounts(management: Management) -> list[Account]:
    """Return the integrators of this virtual host with their password hashes.

    Raises:
        Failed, Unreachable: the user is no administrator, or the broker is unavailable.
    """
    hashes = {user["name"]: user["password_hash"] for user in management.get("users") or ()}
    return [
        Account(one, hashes.get(broker_users.integrator_user(one.name)))
        for one in list_integrators(management)
    ]


def has_user(management: Management, name: str) -> bool:
    """Return whether an integrator's user exists and is complete.

    `put` sets the permissions last, so a user without them is incomplete, or belongs to another
    virtual host and must not be replaced.
    """
    user = broker_users.integrator_user(name)
    if management.get("users", user) is None:
        return False
    if management.get("permissions", management.vhost, user) is not None:
        return True
    return all(one.name != name for one in list_integrators(management))


def put(management: Management, url: str, integrator: Integrator, password_hash: str) -> None:
    """Create an integrator, or replace its password; its connections are closed.

    `password_hash` comes from `farmgate.broker_users.hashed`. The parameter is set first, so that
    the reconciler or a second call completes an interrupted one.

    Raises:
        Failed, Unreachable: the broker refused or is unavailable.
    """
    user = broker_users.integrator_user(integrator.name)
    rights = broker_users.integrator_permissions(integrator.queue)
    management.put(
        "global-parameters",
        integrator.queue,
        value={"vhost": management.vhost, "max_bytes": integrator.max_bytes},
    )
    declare(url, integrator)
    # A deleted user's connections are closed; a changed password would keep them open.
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
    # Last, so that the user reads nothing before its limits apply.
    named = {right: rights[right] for right in ("configure", "write", "read")}
    management.put("permissions", management.vhost, user, **named)


def declare(url: str, integrator: Integrator) -> None:
    """Declare an integrator's queue.

    Raises:
        Failed, Unreachable: the broker refused or is unavailable, or the queue is one of an older
            version that still has messages.
    """
    with _Channel(url) as channel:
        try:
            topology.declare_integrator(channel.connection, integrator, broker_users.FEEDER)
        except topology.QueueDiffers as error:
            raise Failed(f"{error}. Then run this again.") from error


def remove(management: Management, url: str, name: str) -> None:
    """Remove an integrator's parameter, user and queue with its messages.

    The parameter is deleted first: the reconciler would declare the queue again.

    Raises:
        Failed, Unreachable: the broker refused or is unavailable, or the integrator belongs to
            another virtual host: users and parameters are global at a broker.
    """
    queue, user = Integrator(name).queue, broker_users.integrator_user(name)
    parameter = management.get("global-parameters", queue)
    homes = {parameter["value"]["vhost"]} if parameter else set()
    homes |= {right["vhost"] for right in management.get("users", user, "permissions") or ()}
    if elsewhere := homes - {management.vhost}:
        raise Failed(
            f"Integrator {name} belongs to virtual host {', '.join(sorted(elsewhere))} of this "
            f"broker, not to {management.vhost}: set FARMGATE_BROKER_URL to that virtual host."
        )
    management.delete("global-parameters", queue)
    management.delete("users", user)
    with _Channel(url) as channel:
        channel.queue_delete(queue)


@dataclass(frozen=True)
class IntegratorState:
    """An integrator and the state of its queue; None if the queue is missing."""

    integrator: Integrator
    queue: QueueInfo | None


def queue_states(url: str, integrators: Sequence[Integrator]) -> list[IntegratorState]:
    """Return each integrator with the state of its queue.

    Raises:
        Failed, Unreachable: the broker refused or is unavailable.
    """
    with _Channel(url) as channel:
        connection = channel.connection
        return [
            IntegratorState(one, topology.look_for(connection, one.queue)) for one in integrators
        ]


class _Channel:
    """A short-lived channel that turns the broker's errors into a command's failures."""

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
                f"The broker refused: {error.reply_text}. Use the user that declares the topology; "
                "delete a queue whose arguments differ first."
            ) from error
        if isinstance(error, AMQPError):
            raise Unreachable(f"The connection was lost: {error!r}. Run this again.") from error
