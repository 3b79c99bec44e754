"""The broker's users and what each may do, as RabbitMQ's definitions take it.

Nobody may do more than their work needs: a service publishes its own events and reads its own
queue, and `topology` declares, and places in the services' dead queues what its keeper asks of
them (docs/decisions/0010), but no event. There is no `guest`, and nobody who manages users: an
operator does that inside the broker's container.
"""

import base64
import hashlib
import secrets
from collections.abc import Mapping
from typing import Any

from farmgate.services import NAMES
from shared import topology

VHOST = "/"
#: The user that belongs to no service.
TOPOLOGY = "topology"
#: What the topology user may declare and bind; nothing else exists.
_DECLARED = rf"orders\.log|integrator\.[a-z0-9-]+|({'|'.join(NAMES)})\.events(\.dead)?"
_NOTHING = "^$"


def permissions() -> dict[str, dict[str, str]]:
    """Return the rights of every user that a deployment begins with, as regular expressions.

    `topic_write` and `topic_read` are about keys at the exchange `events`: a user without them
    could publish any.
    """
    mine = f"^({topology.EXCHANGE}|{_DECLARED})$"
    return {
        **{name: topology.permissions(name) for name in NAMES},
        # To write the default exchange is asked of whoever declares a queue that dead-letters to
        # it, and it is the keeper's way to a dead queue. Not `events`, where events are placed.
        TOPOLOGY: {
            "configure": mine,
            "write": rf"^(amq\.default|{_DECLARED})$",
            "read": mine,
            "topic_write": _NOTHING,
            "topic_read": ".*",
        },
    }


def definitions(passwords: Mapping[str, str]) -> dict[str, Any]:
    """Return RabbitMQ's definitions: the users with their passwords (hashed) and rights.

    `passwords` has one for each service and for `TOPOLOGY`. Queues are not in it: `farmgate
    topology` declares those from the services' own subscriptions.
    """
    rights = permissions()
    return {
        "vhosts": [{"name": VHOST}],
        "users": [
            {
                "name": user,
                "password_hash": hashed(passwords[user]),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": [],
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
    """Return a password as RabbitMQ keeps it: salt and salted SHA-256, in base64.

    Source: RabbitMQ documentation, "Credentials and Passwords", computing a password hash.
    """
    salt = secrets.token_bytes(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
