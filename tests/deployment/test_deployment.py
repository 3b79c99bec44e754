"""What docker-compose.yml promises, asked of a running deployment.

Needs Docker and docker-compose, and the host that the engine runs on. Not part of a plain run:
`pytest tests/deployment`.
"""

import json
from collections.abc import Callable

import pika
import psycopg
import pytest
import requests
from pika.exceptions import ChannelClosedByBroker, ProbableAuthenticationError

from farmgate.services import NAMES
from tests.deployment.conftest import (
    AS_ROOT,
    PROCESSES,
    PROJECT,
    Deployment,
    broker,
    connect,
    docker,
    listening,
)
from tests.support.servers import wait_until

#: Bytes; what is shared is counted once. The goal is 600 MB, and machines differ by a few.
MEMORY_AT_REST = 600 * 2**20


@pytest.mark.smoke
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


as_root = pytest.mark.skipif(not AS_ROOT, reason="only root sees it of other users' processes")


@as_root
def test_this_host_listens_where_the_gateway_is_and_nowhere_else_for_it(deployment: Deployment):
    new = listening("docker-proxy") - deployment.listened_before

    assert new == {("127.0.0.1", int(deployment.environment["FARMGATE_PORT"]))}


@as_root
def test_memory_at_rest_is_what_was_asked_for(deployment: Deployment):
    assert sum(deployment.memory_at_rest.values()) < MEMORY_AT_REST, deployment.memory_at_rest


@pytest.mark.smoke
def test_the_demo_passes_through_the_gateway_and_the_doctor_finds_nothing(deployment: Deployment):
    deployment.demo(20)

    deployment.verify()
    deployment.farmgate("doctor")


@pytest.mark.smoke
def test_stations_that_are_cut_off_sell_beside_buyers_through_the_gateway(deployment: Deployment):
    deployment.farmgate("demo", "--offline", "--steps", "30")

    deployment.verify()


@pytest.mark.parametrize("process", PROCESSES)
def test_what_dashboards_ask_of_a_process_is_what_it_tells(deployment: Deployment, process: str):
    name, _, kind = process.partition("-")
    asked = {
        "web": {
            "farmgate_oldest_unpublished_seconds",
            "farmgate_parked_events",
            "farmgate_http_requests_total",
            "farmgate_http_request_seconds_bucket",
        },
        "worker": {"farmgate_working_seconds", "farmgate_relay_blocked", "farmgate_events_total"},
    }[kind]
    if process in ("orders-web", "logistics-web", "notifications-web"):
        asked |= {"farmgate_late"}
    if process == "orders-worker":
        deployment.demo(5)
        asked |= {"farmgate_orders_of_a_day"}
    # Of allotted stock catalog tells once a till has asked for some, and none has here; see
    # tests/catalog/stations/test_gauges.py.

    def missing() -> set[str]:
        told = requests.get(f"http://{deployment.address(process)}:8000/metrics", timeout=10)
        told.raise_for_status()
        lines = [line for line in told.text.splitlines() if f'service="{name}"' in line]
        return asked - {line.partition("{")[0] for line in lines}

    # Some are counted by the clock, every half minute.
    wait_until(lambda: not missing(), 60, f"{process} tells all of {asked}")


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


@pytest.mark.parametrize(
    ("service", "settings", "words"),
    [
        (
            "orders-migrate",
            {"FARMGATE_ORDERS_DATABASE_URL_FILE": "/run/secrets/none"},
            "FARMGATE_ORDERS_DATABASE_URL_FILE",
        ),
        (
            "orders-migrate",
            {
                "FARMGATE_ORDERS_DATABASE_URL_FILE": "",
                "FARMGATE_ORDERS_DATABASE_URL": "postgresql+psycopg://orders:x@postgres/orders",
            },
            "FARMGATE_ORDERS_DATABASE_URL",
        ),
        (
            "topology",
            {
                "FARMGATE_TOPOLOGY_BROKER_URL_FILE": "",
                "FARMGATE_TOPOLOGY_BROKER_URL": "amqp://topology:x@rabbitmq:5672/%2F",
            },
            "FARMGATE_TOPOLOGY_BROKER_URL",
        ),
    ],
    ids=["no such secret", "wrong database password", "wrong broker password"],
)
def test_what_cannot_start_names_the_setting_and_shows_no_stack(
    deployment, service, settings, words
):
    given = [f"-e{name}={value}" for name, value in settings.items()]
    done = deployment.compose("run", "--rm", "-T", "--no-deps", *given, service)

    told = done.stdout + done.stderr
    assert done.returncode not in (0, None), told
    assert words in told
    assert "Traceback" not in told
