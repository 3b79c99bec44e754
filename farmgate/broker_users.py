"""The broker's users and what each may do, as RabbitMQ's definitions take it.

Nobody may do more than their work needs: a service publishes its own events and reads its own
queue, and `topology` declares, and places in the services' dead queues what its keeper asks of
them (docs/decisions/0010), but no event. There is no `guest`. `operator` manages users, for
`farmgate integrators`, and reads and writes nothing; only the operator's container knows it.
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
#: What a user may do at the management API; those who are not named may not even log in there.
#: `policymaker` reads which integrators there are, so that the keeper can keep their queues.
TAGS = {TOPOLOGY: ["policymaker"], OPERATOR: ["administrator"]}
#: What the topology user may declare and bind; nothing else exists.
_DECLARED = rf"orders\.log|integrator\.[a-z0-9-]+|({'|'.join(NAMES)})\.events(\.dead)?"
_NOTHING = "^$"
#: RabbitMQ's name for what `hashed` does.
HASHING = "rabbit_password_hashing_sha256"


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
        OPERATOR: _nothing(),
    }


def _nothing() -> dict[str, str]:
    return dict.fromkeys(("configure", "write", "read", "topic_write", "topic_read"), _NOTHING)


def integrator_user(name: str) -> str:
    """Return the name of an integrator's user."""
    return f"integrator-{name}"


def integrator_permissions(queue: str) -> dict[str, str]:
    """Return the rights of an integrator's user: it reads its own queue.

    It configures nothing: who may declare a queue may also declare one that is full at once and
    rejects, and then the relay's publishing fails for everybody.
    """
    return _nothing() | {"read": f"^{re.escape(queue)}$"}


def definitions(passwords: Mapping[str, str]) -> dict[str, Any]:
    """Return RabbitMQ's definitions: the users with their passwords (hashed) and rights.

    `passwords` has one for each user of `permissions`. Queues are not in it: `farmgate
    topology` declares those from the services' own subscriptions.
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
    """Return a password as RabbitMQ keeps it: salt and salted SHA-256, in base64.

    Source: RabbitMQ documentation, "Credentials and Passwords", computing a password hash.
    """
    salt = secrets.token_bytes(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
