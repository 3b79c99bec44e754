"""The broker's users: each may do its own work and no more."""

import base64
import hashlib
import re

import pytest

from farmgate.broker_users import TOPOLOGY, definitions, hashed, permissions
from farmgate.services import NAMES
from shared import topology

USERS = (*NAMES, TOPOLOGY)


def may(user: str, right: str, name: str) -> bool:
    """Tell whether RabbitMQ would let a user do it: its rights are searched for, not matched."""
    return re.search(permissions()[user][right], name) is not None


@pytest.mark.parametrize("service", NAMES)
def test_a_service_publishes_its_own_events_and_reads_its_own_queues_only(service):
    assert may(service, "write", topology.EXCHANGE)
    assert may(service, "topic_write", f"{service}.something_happened.v1")
    assert may(service, "read", f"{service}.events")
    for other in set(NAMES) - {service}:
        assert not may(service, "topic_write", f"{other}.something_happened.v1")
        assert not may(service, "read", f"{other}.events")
        assert not may(service, "read", f"{other}.events.dead")
    assert not may(service, "write", "amq.default")
    assert not any(may(service, "configure", f"{name}.events") for name in NAMES)


def test_topology_declares_everything_and_can_place_no_event():
    for queue in [*(f"{name}.events" for name in NAMES), "orders.log", "integrator.shop-1"]:
        assert all(may(TOPOLOGY, right, queue) for right in ("configure", "write", "read"))
    assert may(TOPOLOGY, "write", "amq.default")
    assert not may(TOPOLOGY, "write", topology.EXCHANGE)
    assert not may(TOPOLOGY, "configure", "somebody.events")
    assert not may(TOPOLOGY, "configure", "orders.events.more")


def test_everybody_has_a_topic_permission_and_nobody_is_an_administrator():
    told = definitions({user: f"{user}-password" for user in USERS})
    assert {user["name"] for user in told["users"]} == set(USERS)
    assert {row["user"] for row in told["topic_permissions"]} == set(USERS)
    assert {row["user"] for row in told["permissions"]} == set(USERS)
    assert not any(user["tags"] for user in told["users"])
    assert "-password" not in str(told)


def test_a_password_without_which_a_user_could_not_log_in_is_missed():
    with pytest.raises(KeyError):
        definitions({name: "x" for name in NAMES})


def test_a_hash_is_salt_and_salted_digest():
    kept = base64.b64decode(hashed("secret"))
    assert kept[4:] == hashlib.sha256(kept[:4] + b"secret").digest()
    assert hashed("secret") != hashed("secret")
