"""What the topology's keeper and the relay make of integrators' queues."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pika
import pytest

from farmgate.broker_inspector import ManagementInspector
from farmgate.broker_users import hashed
from farmgate.integrators import put, remove
from farmgate.management import management_of
from shared.messaging import topology
from shared.messaging.reconciler import TopologyReconciler
from shared.messaging.topology import Integrator
from tests.support import probe
from tests.support.feeding import take_one
from tests.support.servers import RabbitMQ, stop, wait_until

pytestmark = [pytest.mark.broker]

SERVICES = [probe.PUBLISHER, replace(probe.SERVICE, on_queue_lost=lambda batch, queue: None)]
#: Seconds in which everything must have happened, also on a machine that does much else.
SOON = 120


@pytest.fixture
def environment(broker: RabbitMQ, vhost: str, tmp_path: Path) -> dict[str, str]:
    return {
        "FARMGATE_BROKER_URL": vhost,
        "FARMGATE_BROKER_MANAGEMENT_URL": broker.management_url,
        "FARMGATE_DATA": str(tmp_path),
    }


@pytest.fixture
def make(environment: dict[str, str], vhost: str) -> Iterator[Callable[..., Integrator]]:
    """Make integrators as the command does."""
    management, made = management_of(environment), []

    def new(max_bytes: int = topology.INTEGRATOR_BYTES) -> Integrator:
        integrator = Integrator(f"shop-{uuid4().hex[:8]}", max_bytes)
        put(management, vhost, integrator, hashed("a-password"))
        made.append(integrator)
        return integrator

    yield new
    for integrator in made:
        remove(management, vhost, integrator.name)


@contextmanager
def channel_of(url: str) -> Iterator[Any]:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        yield connection.channel()


def gets(url: str, queue: str) -> bool:
    """Tell whether what is published for a queue reaches it; what is in the queue goes."""
    with channel_of(url) as channel:
        channel.queue_purge(queue)
        channel.confirm_delivery()
        channel.basic_publish(topology.INTEGRATORS, queue, b"{}")
        return take_one(channel, queue)[0] is not None


def mend(url: str, environment: dict[str, str]) -> list[str]:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        return TopologyReconciler(url, SERVICES, ManagementInspector(environment)).reconcile(
            connection
        )


def test_the_keeper_leaves_an_integrator_alone_that_is_whole(
    make: Callable[..., Integrator], vhost: str, environment: dict[str, str]
) -> None:
    integrator = make()
    with channel_of(vhost) as channel:
        channel.confirm_delivery()
        channel.basic_publish(topology.INTEGRATORS, integrator.queue, b"{}")

    assert mend(vhost, environment) == []

    with channel_of(vhost) as channel:
        assert take_one(channel, integrator.queue)[2] == b"{}"


def test_the_keeper_restores_the_queue_and_asks_to_feed_it_again(
    make: Callable[..., Integrator], vhost: str, environment: dict[str, str]
) -> None:
    integrator = make()
    with channel_of(vhost) as channel:
        channel.queue_delete(integrator.queue)
        channel.queue_purge("notifications.events.dead")

    assert mend(vhost, environment) == [integrator.queue]

    assert gets(vhost, integrator.queue)
    with channel_of(vhost) as channel:
        # Nobody is asked to publish anew.
        assert channel.basic_get("orders.events.dead") == (None, None, None)
        _, properties, body = channel.basic_get("notifications.events.dead")
    assert properties.type == topology.QUEUE_LOST
    assert json.loads(body) == {"queue": integrator.queue}


def test_the_keeper_binds_integrators_again_when_their_exchange_was_deleted(
    make: Callable[..., Integrator], vhost: str, environment: dict[str, str]
) -> None:
    integrator = make()
    with channel_of(vhost) as channel:
        channel.exchange_delete(topology.INTEGRATORS)

    assert mend(vhost, environment) == [topology.INTEGRATORS]

    assert gets(vhost, integrator.queue)


def test_one_that_was_removed_does_not_come_back(
    make: Callable[..., Integrator], vhost: str, environment: dict[str, str]
) -> None:
    integrator = make()
    remove(management_of(environment), vhost, integrator.name)

    assert mend(vhost, environment) == []

    with pika.BlockingConnection(pika.URLParameters(vhost)) as connection:
        assert topology.look_for(connection, integrator.queue) is None


def test_a_queue_that_differs_does_not_keep_the_services_or_the_next_one_from_being_mended(
    make: Callable[..., Integrator], vhost: str, environment: dict[str, str]
) -> None:
    both = sorted((make(), make()), key=lambda one: one.name)
    with channel_of(vhost) as channel:
        for queue in (both[0].queue, both[1].queue, "notifications.events"):
            channel.queue_delete(queue)
        channel.queue_declare(both[0].queue, durable=True)

    assert mend(vhost, environment) == ["notifications.events", both[1].queue]

    assert topology.missing(vhost, SERVICES) == []
    assert gets(vhost, both[1].queue)


def test_without_the_management_api_the_keeper_still_keeps_the_services(
    make: Callable[..., Integrator], vhost: str, environment: dict[str, str]
) -> None:
    integrator = make()
    with channel_of(vhost) as channel:
        channel.queue_delete("notifications.events")
    environment["FARMGATE_BROKER_MANAGEMENT_URL"] = "http://guest:guest@127.0.0.1:9"

    assert mend(vhost, environment) == ["notifications.events"]

    assert gets(vhost, integrator.queue)


def farmgate(environment: dict[str, str], *arguments: str) -> "subprocess.Popen[bytes]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FARMGATE_")}
    return subprocess.Popen(
        [sys.executable, "-m", "farmgate", "topology", *arguments],
        env=kept | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def test_pruning_keeps_integrators_and_deletes_the_stream_of_older_versions(
    make: Callable[..., Integrator], vhost: str, environment: dict[str, str]
) -> None:
    integrator = make()
    with channel_of(vhost) as channel:
        channel.queue_declare(topology.OLD_STREAM, durable=True)

    output, _ = farmgate(environment, "--prune").communicate(timeout=SOON)

    assert f"queue {integrator.queue}: declared" in output.decode()
    assert f"stream {topology.OLD_STREAM}: deleted" in output.decode()
    assert gets(vhost, integrator.queue)


def test_pruning_without_the_management_api_leaves_integrators_as_they_are_and_says_so(
    make: Callable[..., Integrator], vhost: str, environment: dict[str, str]
) -> None:
    integrator = make()
    environment["FARMGATE_BROKER_MANAGEMENT_URL"] = "http://guest:guest@127.0.0.1:9"

    pruning = farmgate(environment, "--prune")
    output, _ = pruning.communicate(timeout=SOON)

    assert pruning.returncode == 0
    assert "integrators' queues were not checked" in output.decode()
    assert gets(vhost, integrator.queue)


def test_the_command_that_watches_learns_of_integrators_while_it_runs(
    make: Callable[..., Integrator], vhost: str, environment: dict[str, str]
) -> None:
    def there(queue: str) -> bool:
        with pika.BlockingConnection(pika.URLParameters(vhost)) as connection:
            return topology.look_for(connection, queue) is not None

    watching = farmgate(environment, "--watch", "--every", "0.5")
    try:
        wait_until(lambda: there("catalog.events"), SOON, "it watches")
        integrator = make()
        with channel_of(vhost) as channel:
            channel.queue_delete(integrator.queue)
        wait_until(lambda: there(integrator.queue), SOON, "the queue is back")
    finally:
        stop(watching)
        assert watching.stdout is not None
        watching.stdout.close()
    assert watching.returncode == 0


def test_an_event_comes_back_to_its_place_however_often_a_subscriber_dies(
    make: Callable[..., Integrator], vhost: str
) -> None:
    integrator = make()
    with channel_of(vhost) as channel:
        channel.confirm_delivery()
        for number in (b"1", b"2"):
            channel.basic_publish(topology.INTEGRATORS, integrator.queue, number)

    for _ in range(30):
        with channel_of(vhost) as channel:
            assert take_one(channel, integrator.queue, ack=False)[2] == b"1"

    with channel_of(vhost) as channel:
        assert take_one(channel, integrator.queue)[2] == b"1"
        assert take_one(channel, integrator.queue)[2] == b"2"
