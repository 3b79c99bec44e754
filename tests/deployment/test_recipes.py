"""What docs/operations.md and docs/deployment.md tell an operator to type, typed."""

import json
import re
import socket
from collections.abc import Iterator

import pytest

from farmgate.services import NAMES
from tests.deployment.conftest import (
    AS_ROOT,
    OWNER,
    PROCESSES,
    PROJECT,
    Deployment,
    broker,
    connect,
    docker,
    orders_coming_in,
    orders_placed,
)
from tests.support.servers import wait_until


@pytest.mark.smoke
def test_a_backup_made_under_load_is_restored_and_the_four_agree(deployment, passwords, backups):
    password = passwords("database-orders")
    mounted = f"{backups}:/backups"
    with orders_coming_in(deployment, password):
        deployment.farmgate("backup", "/backups/monday", mounted=mounted)
    manifest = json.loads((backups / "monday" / "manifest.json").read_text(encoding="utf-8"))
    (orders,) = [part for part in manifest["parts"] if part["service"] == "orders"]
    after = orders_placed(deployment, password)

    deployment.must("stop", *PROCESSES)
    try:
        arguments = ("run", "--rm", "-T", "-v", mounted, "-e", "FARMGATE_DATA=/backups")
        deployment.must(*arguments, "farmgate", "restore", "--yes", "/backups/monday")
    finally:
        deployment.must("start", *PROCESSES)
    wait_until(lambda: all(deployment.healthy(name) for name in PROCESSES), 120, "all healthy")

    deployment.verify()
    placed = orders_placed(deployment, password)
    assert orders["rows"]["orders"] == placed <= after
    deployment.demo(5)


def test_a_backup_onto_a_full_volume_says_so(deployment: Deployment):
    volume = f"{PROJECT}-small"
    options = ("type=tmpfs", "device=tmpfs", f"o=size=64k,uid={OWNER}")
    docker("volume", "create", *(word for option in options for word in ("--opt", option)), volume)
    try:
        done = deployment.compose(
            *("run", "--rm", "-T", "-v", f"{volume}:/backups", "farmgate"),
            *("backup", "/backups/monday"),
        )
        told = done.stdout + done.stderr
        assert done.returncode == 1, told
        assert "No space left" in told, told
        assert "Traceback" not in told
    finally:
        docker("volume", "rm", volume)


@pytest.fixture
def as_topology(deployment, passwords) -> Iterator:
    connection = broker(deployment, "topology", passwords("broker-topology"))
    yield connection.channel()
    connection.close()


def test_what_is_no_event_is_listed_and_discarded(deployment: Deployment, as_topology):
    as_topology.basic_publish("", "catalog.events", b"no event")

    def parked() -> list[dict]:
        return json.loads(deployment.farmgate("parked", "list", "--all", "--json"))

    wait_until(lambda: bool(parked()), 60, "it is parked")
    (event,) = parked()
    assert event["reason"] == "unreadable"
    assert "catalog" in deployment.farmgate("parked", "show", event["event_id"])
    assert "message parked" in deployment.log("catalog-worker")

    deployment.farmgate("parked", "discard", event["event_id"], "--why", "a test", "--yes")
    assert parked() == []
    assert "a test" in deployment.farmgate("parked", "history")


def test_events_are_published_again_and_take_effect_once(deployment: Deployment):
    deployment.demo(5)
    counts = json.loads(deployment.farmgate("events", "republish", "--since", "1h", "--json"))
    # What notifications says goes to no queue.
    assert all(counts[name] > 0 for name in ("catalog", "orders", "logistics")), counts
    deployment.verify()


def test_an_order_is_traced_by_its_reference(deployment: Deployment, passwords):
    deployment.demo(3)
    with connect(deployment, "orders", passwords("database-orders"), "orders") as orders:
        row = orders.execute("SELECT order_ref FROM orders ORDER BY placed_at DESC").fetchone()
    assert row is not None
    told = deployment.farmgate("trace", row[0])
    assert row[0] in told
    assert "order_placed" in told


def test_a_deleted_binding_comes_back_and_what_it_missed_is_said_again(
    deployment: Deployment, as_topology
):
    queue, key = "logistics.events", "orders.order_confirmed.v1"
    before = restorations(deployment)
    again = deployment.log("orders-worker").count("published again")
    as_topology.queue_unbind(queue, "events", key)
    wait_until(lambda: restorations(deployment) > before, 60, "the binding is there again")
    wait_until(
        lambda: deployment.log("orders-worker").count("published again") > again,
        60,
        "orders publishes again",
    )
    assert "all queues are there" in deployment.farmgate("doctor")


def restorations(deployment: Deployment) -> int:
    """Return how often the keeper restored something; its log is on the error stream."""
    return deployment.log("topology-keeper").count("topology restored")


def test_the_topology_is_declared_again_by_hand(deployment: Deployment):
    told = deployment.must("run", "--rm", "-T", "topology", "topology", "--prune")
    assert re.search(r"catalog\.events: \d+ bindings", told)


@pytest.mark.skipif(not AS_ROOT, reason="the port is taken on the engine's host")
def test_a_port_in_use_is_named_and_nothing_else_is_disturbed(deployment: Deployment):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = deployment.compose("up", "-d", "--no-deps", "gateway", FARMGATE_PORT=port)
        told = done.stdout + done.stderr
        assert done.returncode != 0
        assert port in told, told
    deployment.must("up", "-d", "--no-deps", "gateway")
    wait_until(lambda: deployment.healthy("gateway"), 60, "the gateway is back")
    deployment.demo(3)


def test_a_secret_that_cannot_be_read_is_named(deployment: Deployment):
    done = deployment.compose(
        *("run", "--rm", "-T", "--no-deps", "-u", "10009", "orders-migrate"),
    )
    told = done.stdout + done.stderr
    assert done.returncode not in (0, None), told
    assert "FARMGATE_ORDERS_DATABASE_URL_FILE" in told
    assert "cannot be read" in told
    assert "Traceback" not in told


def test_the_configuration_is_read_without_a_warning(deployment: Deployment):
    for profile in ((), ("--profile", "tls"), ("--profile", "observability")):
        done = deployment.compose(*profile, "config")
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""


def test_the_image_of_a_service_holds_no_code_of_another(deployment: Deployment):
    for name in NAMES:
        found = docker("exec", deployment.container(f"{name}-web"), "python", "-c", LOOK)
        assert json.loads(found) == [name]


LOOK = (
    "import json, pathlib, services; "
    "print(json.dumps(sorted(p.name for p in pathlib.Path(services.__path__[0]).iterdir() "
    "if p.is_dir() and p.name[0] != '_')))"
)
