"""The broker's users: each may do its own work and no more."""

import base64
import hashlib
import re

import pytest

from farmgate.broker_users import (
    OPERATOR,
    TOPOLOGY,
    definitions,
    hashed,
    integrator_permissions,
    permissions,
)
from farmgate.services import NAMES
from shared.messaging import topology

USERS = (*NAMES, TOPOLOGY, OPERATOR)


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


def test_only_notifications_feeds_integrators_and_by_their_exchange_only():
    for service in NAMES:
        assert may(service, "write", topology.INTEGRATORS) == (service == "notifications")
        assert not may(service, "write", "integrator.shop-1")


def test_topology_declares_everything_and_can_place_no_event():
    for queue in [*(f"{name}.events" for name in NAMES), "integrator.shop-1"]:
        assert all(may(TOPOLOGY, right, queue) for right in ("configure", "write", "read"))
    assert may(TOPOLOGY, "write", "amq.default")
    assert not may(TOPOLOGY, "write", topology.EXCHANGE)
    assert not may(TOPOLOGY, "configure", "somebody.events")
    assert not may(TOPOLOGY, "configure", "orders.events.more")


def test_the_operator_manages_users_and_reads_and_writes_nothing():
    for name in ("orders.events", "integrator.shop-1", topology.EXCHANGE, "amq.default"):
        assert not any(may(OPERATOR, right, name) for right in ("configure", "write", "read"))


def test_an_integrator_reads_its_own_queue_only():
    rights = integrator_permissions("integrator.shop-1")
    assert re.search(rights["read"], "integrator.shop-1")
    for other in ("integrator.shop-10", "integrator-shop-1", "orders.events", "integrators"):
        assert not re.search(rights["read"], other)
    assert {rights[right] for right in rights if right != "read"} == {"^$"}


def test_everybody_has_a_topic_permission_and_only_the_operator_is_an_administrator():
    told = definitions({user: f"{user}-password" for user in USERS})
    assert {user["name"] for user in told["users"]} == set(USERS)
    assert {row["user"] for row in told["topic_permissions"]} == set(USERS)
    assert {row["user"] for row in told["permissions"]} == set(USERS)
    tags = {user["name"]: user["tags"] for user in told["users"] if user["tags"]}
    assert tags == {TOPOLOGY: ["policymaker"], OPERATOR: ["administrator"]}
    assert "-password" not in str(told)


def test_a_password_without_which_a_user_could_not_log_in_is_missed():
    with pytest.raises(KeyError):
        definitions({name: "x" for name in NAMES})


def test_a_hash_is_salt_and_salted_digest():
    kept = base64.b64decode(hashed("secret"))
    assert kept[4:] == hashlib.sha256(kept[:4] + b"secret").digest()
    assert hashed("secret") != hashed("secret")
