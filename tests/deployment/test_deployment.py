"""What docker-compose.yml promises, asked of a running deployment.

Needs Docker and docker-compose, and the host that the engine runs on. Not part of a plain run:
`pytest tests/deployment`.
"""

import json
from collections.abc import Callable
from functools import cache

import pika
import psycopg
import pytest
from pika.exceptions import ChannelClosedByBroker, ProbableAuthenticationError

from farmgate.services import NAMES
from shared.testing.servers import wait_until
from tests.deployment.conftest import PROJECT, Deployment, docker

SERVERS_KILLED = ("orders-worker", "catalog-web", "rabbitmq", "postgres", "gateway")


def test_only_the_gateway_can_be_reached_from_outside(deployment: Deployment):
    containers = docker(
        "ps", "-q", "--filter", f"label=com.docker.compose.project={PROJECT}"
    ).split()
    assert len(containers) >= 13
    published = {}
    for told in json.loads(docker("inspect", *containers)):
        assert told["HostConfig"]["NetworkMode"] != "host"
        assert not told["HostConfig"]["PublishAllPorts"]
        bindings = [
            at
            for ports in (told["NetworkSettings"]["Ports"] or {}).values()
            if ports
            for at in ports
        ]
        if bindings:
            published[told["Config"]["Labels"]["com.docker.compose.service"]] = bindings
    port = deployment.environment["FARMGATE_PORT"]
    assert published == {"gateway": [{"HostIp": "127.0.0.1", "HostPort": port}]}


@pytest.fixture(scope="module")
def passwords(deployment: Deployment) -> Callable[[str], str]:
    return cache(deployment.password)


def connect(deployment: Deployment, user: str, password: str, database: str) -> psycopg.Connection:
    return psycopg.connect(
        host=deployment.address("postgres"),
        user=user,
        password=password,
        dbname=database,
        autocommit=True,
        connect_timeout=10,
    )


@pytest.mark.parametrize("service", NAMES)
def test_a_database_role_is_refused_what_is_not_its_own(deployment, passwords, service):
    password = passwords(f"database-{service}")
    with connect(deployment, service, password, service) as own:
        assert own.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
        for statement in (
            "CREATE ROLE more",
            "CREATE DATABASE more",
            "COPY (SELECT 1) TO '/tmp/x'",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                own.execute(statement)
    for other in {*NAMES, "postgres"} - {service}:
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            connect(deployment, service, password, other)
    other = next(name for name in NAMES if name != service)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect(deployment, other, password, other)


def broker(deployment: Deployment, user: str, password: str) -> pika.BlockingConnection:
    return pika.BlockingConnection(
        pika.ConnectionParameters(
            host=deployment.address("rabbitmq"),
            credentials=pika.PlainCredentials(user, password),
            socket_timeout=10,
        )
    )


def refused(connection: pika.BlockingConnection, act: Callable) -> bool:
    """Tell whether the broker closes a channel for what is tried on it: 403."""
    channel = connection.channel()
    channel.confirm_delivery()
    try:
        act(channel)
    except ChannelClosedByBroker as error:
        return error.reply_code == 403
    channel.close()
    return False


@pytest.mark.parametrize("service", NAMES)
def test_a_broker_user_is_refused_what_is_not_its_own(deployment, passwords, service):
    other = NAMES[NAMES.index(service) - 1]
    connection = broker(deployment, service, passwords(f"broker-{service}"))
    try:
        # Nobody is bound to this key, and without `mandatory` that is no error.
        assert not refused(connection, lambda c: c.basic_publish("events", f"{service}.x.v1", b""))
        assert refused(connection, lambda c: c.basic_publish("events", f"{other}.x.v1", b""))
        assert refused(connection, lambda c: c.basic_publish("", f"{service}.events", b""))
        assert refused(connection, lambda c: c.basic_get(f"{other}.events"))
        assert refused(connection, lambda c: c.basic_get(f"{other}.events.dead"))
        assert refused(connection, lambda c: c.queue_declare("more"))
        assert refused(connection, lambda c: c.queue_delete(f"{service}.events"))
        assert refused(connection, lambda c: c.queue_bind(f"{service}.events", "events", "x"))
    finally:
        connection.close()
    with pytest.raises(ProbableAuthenticationError):
        broker(deployment, "guest", "guest")


def test_who_declares_can_place_no_event_and_a_deleted_queue_comes_back(deployment, passwords):
    connection = broker(deployment, "topology", passwords("broker-topology"))
    try:
        assert refused(connection, lambda c: c.basic_publish("events", "orders.x.v1", b""))
        channel = connection.channel()
        channel.queue_delete("logistics.events")

        def back() -> bool:
            try:
                connection.channel().queue_declare("logistics.events", passive=True)
            except ChannelClosedByBroker:
                return False
            return True

        wait_until(back, 60, "logistics.events is there again")
        wait_until(
            lambda: "published again" in deployment.must("logs", "--no-color", "orders-worker"),
            60,
            "orders publishes again",
        )
    finally:
        connection.close()


def orders_placed(deployment: Deployment, password: str) -> int:
    with connect(deployment, "orders", password, "orders") as orders:
        (count,) = orders.execute("SELECT count(*) FROM orders").fetchone()
        return count


@pytest.mark.parametrize("victim", SERVERS_KILLED)
def test_what_is_killed_under_load_loses_nothing(deployment, passwords, victim):
    password = passwords("database-orders")
    before = orders_placed(deployment, password)
    demo = deployment.start("demo", "--orders", "30", "--patience", "120")
    wait_until(
        lambda: demo.poll() is not None or orders_placed(deployment, password) >= before + 5,
        60,
        "orders come in",
    )
    assert demo.poll() is None, demo.communicate()[0]
    container = deployment.container(victim)
    docker("kill", container)
    docker("start", container)
    output, _ = demo.communicate(timeout=240)
    assert demo.returncode == 0, output[-3000:]
    wait_until(lambda: deployment.healthy(victim), 90, f"{victim} is healthy again")
    assert "All four services agree." in deployment.farmgate("verify")
