"""The broker's users and their permissions, in RabbitMQ's definitions format.

Each user has the least permissions. A service publishes its own events and reads its own queue.
`topology` declares queues and bindings and sends the reconciler's requests through the services'
dead-letter queues (docs/decisions/0010), but no events. `operator` manages users for `farmgate
integrators`; it reads and writes nothing, and only the operator's container has its password.
There is no `guest`.
"""

import base64
import hashlib
import re
import secrets
from collections.abc import Mapping
from typing import Any

from farmgate.services import NAMES
from shared.messaging import topology

VHOST = "/"
#: The users that belong to no service.
TOPOLOGY, OPERATOR = "topology", "operator"
#: Users of the management API; other users cannot log in there. `policymaker` lets the reconciler
#: read the integrators, to restore their queues.
TAGS = {TOPOLOGY: ["policymaker"], OPERATOR: ["administrator"]}
#: The service that feeds integrators' queues.
FEEDER = "notifications"
#: All queues, which the topology user may declare and bind.
_DECLARED = (
    rf"{re.escape(topology.OLD_STREAM)}|integrator\.[a-z0-9-]+|({'|'.join(NAMES)})\.events(\.dead)?"
)
_NOTHING = "^$"
#: RabbitMQ's name of the hash function in `hashed`.
HASHING = "rabbit_password_hashing_sha256"


def permissions() -> dict[str, dict[str, str]]:
    """Return the permissions of a deployment's first users, as regular expressions.

    `topic_write` and `topic_read` match routing keys at the exchange `events`; a user without
    topic permissions could publish any key.
    """
    mine = f"^({topology.EXCHANGE}|{topology.INTEGRATORS}|{_DECLARED})$"
    return {
        **{name: topology.permissions(name, feeds=name == FEEDER) for name in NAMES},
        # RabbitMQ requires write on the default exchange to declare a queue that dead-letters to
        # it, and the reconciler publishes through it. No write on `events`: it publishes no event.
        TOPOLOGY: {
            "configure": mine,
            "write": rf"^(amq\.default|{_DECLARED})$",
            "read": mine,
            "topic_write": _NOTHING,
            "topic_read": ".*",
        },
        OPERATOR: _nothing(),
    }


def _nothing() -> dict[str, str]:
    return dict.fromkeys(("configure", "write", "read", "topic_write", "topic_read"), _NOTHING)


def integrator_user(name: str) -> str:
    """Return the name of an integrator's user."""
    return f"integrator-{name}"


def integrator_permissions(queue: str) -> dict[str, str]:
    """Return the permissions of an integrator's user: it reads its own queue.

    It may not configure: a declared queue that is full and rejects would make the relays' publishes
    fail for all services.
    """
    return _nothing() | {"read": f"^{re.escape(queue)}$"}


def definitions(passwords: Mapping[str, str]) -> dict[str, Any]:
    """Return RabbitMQ's definitions: the users with hashed passwords and permissions.

    `passwords` has one for each user of `permissions`. Queues are not included: `farmgate
    topology` declares them from the services' subscriptions.
    """
    rights = permissions()
    return {
        "vhosts": [{"name": VHOST}],
        "users": [
            {
                "name": user,
                "password_hash": hashed(passwords[user]),
                "hashing_algorithm": HASHING,
                "tags": TAGS.get(user, []),
            }
            for user in rights
        ],
        "permissions": [
            {"user": user, "vhost": VHOST, **{k: right[k] for k in ("configure", "write", "read")}}
            for user, right in rights.items()
        ],
        "topic_permissions": [
            {
                "user": user,
                "vhost": VHOST,
                "exchange": topology.EXCHANGE,
                "write": right["topic_write"],
                "read": right["topic_read"],
            }
            for user, right in rights.items()
        ],
    }


def hashed(password: str) -> str:
    """Hash a password in RabbitMQ's format: salt and salted SHA-256, in base64.

    Source: RabbitMQ documentation, "Credentials and Passwords", computing a password hash.
    """
    salt = secrets.token_bytes(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
