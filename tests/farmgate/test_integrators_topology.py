"""What the topology's keeper and the relay make of integrators' queues."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
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
from tests.faults.bench import ORDERS, PAID, Bench, bench_on
from tests.support import probe
from tests.support.servers import RabbitMQ, stop, wait_until

pytestmark = [pytest.mark.broker, pytest.mark.postgres]

SERVICES = [probe.PUBLISHER, probe.SERVICE]
COMPLETED = "orders.order_completed.v1"
#: Seconds in which everything must have happened, also on a machine that does much else.
SOON = 120


@pytest.fixture
def bench(vhost: str, postgres: Callable[[str], str], tmp_path: Path) -> Iterator[Bench]:
    with bench_on(vhost, postgres("partner_sender"), postgres("partner_receiver"), tmp_path) as it:
        yield it


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

    def new(*patterns: str, max_bytes: int = topology.INTEGRATOR_BYTES) -> Integrator:
        integrator = Integrator(f"shop-{uuid4().hex[:8]}", patterns or ("orders.*",), max_bytes)
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


def gets(url: str, queue: str, type_: str = PAID) -> bool:
    """Tell whether an event of a type reaches a queue; what is in the queue goes."""
    with channel_of(url) as channel:
        channel.queue_purge(queue)
        channel.confirm_delivery()
        channel.basic_publish(topology.EXCHANGE, type_, b"{}")
        return channel.basic_get(queue, auto_ack=True)[0] is not None


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
        channel.basic_publish(topology.EXCHANGE, PAID, b"{}")

    assert mend(vhost, environment) == []

    with channel_of(vhost) as channel:
        assert channel.basic_get(integrator.queue)[2] == b"{}"


def test_the_keeper_restores_the_queue_and_what_it_was_bound_to(
    make: Callable[..., Integrator], vhost: str, environment: dict[str, str]
) -> None:
    integrator = make(PAID)
    with channel_of(vhost) as channel:
        channel.queue_delete(integrator.queue)

    assert mend(vhost, environment) == [integrator.queue]

    assert gets(vhost, integrator.queue)
    assert not gets(vhost, integrator.queue, COMPLETED)
    # Nobody is asked to publish anew: all other integrators would get everything twice.
    with channel_of(vhost) as channel:
        assert channel.basic_get("orders.events.dead") == (None, None, None)


def test_the_keeper_binds_integrators_again_when_the_exchange_was_deleted(
    make: Callable[..., Integrator], vhost: str, environment: dict[str, str]
) -> None:
    integrator = make()
    with channel_of(vhost) as channel:
        channel.exchange_delete(topology.EXCHANGE)

    assert mend(vhost, environment) == [topology.EXCHANGE]

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


def test_pruning_takes_from_integrators_only_what_they_did_not_ask_for(
    make: Callable[..., Integrator], vhost: str, environment: dict[str, str]
) -> None:
    integrator = make(PAID)
    with channel_of(vhost) as channel:
        channel.queue_bind(integrator.queue, topology.EXCHANGE, "orders.contact_given.v1")

    output, _ = farmgate(environment, "--prune").communicate(timeout=SOON)

    assert f"{integrator.queue}: 1 bindings" in output.decode()
    assert gets(vhost, integrator.queue)
    assert not gets(vhost, integrator.queue, "orders.contact_given.v1")


def test_pruning_without_the_management_api_leaves_integrators_as_they_are_and_says_so(
    make: Callable[..., Integrator], vhost: str, environment: dict[str, str]
) -> None:
    integrator = make(PAID)
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


def seconds_to_publish(bench: Bench, times: int) -> float:
    """Return how long the relay takes for all events of all orders; nothing may be refused."""
    bench.pay_all(times)
    began = monotonic()
    with bench.relaying() as failures:
        wait_until(lambda: bench.waiting() == 0, SOON, "everything is published")
    assert failures == []
    return monotonic() - began


def test_a_full_queue_that_nobody_reads_holds_up_nobody(
    bench: Bench, make: Callable[..., Integrator]
) -> None:
    with_room = make()
    before = seconds_to_publish(bench, 30)
    full = make(max_bytes=10_000)
    seconds_to_publish(bench, 10)

    after = seconds_to_publish(bench, 30)

    published = ORDERS * 70
    assert bench.positions() == list(range(1, published + 1))
    assert bench.depth("notifications.events") == published
    assert bench.depth(with_room.queue) == published
    # Long full, and with the newest: the oldest went.
    assert 0 < bench.depth(full.queue) < 40
    assert bench.depth("orders.events.dead") == bench.depth("notifications.events.dead") == 0
    # Of another order it would be if confirms had to be waited for: 20 s each.
    assert after < 3 * before + 5


def test_a_full_queue_does_not_touch_what_services_receive(
    bench: Bench, make: Callable[..., Integrator]
) -> None:
    make(max_bytes=1_000)

    with bench.relaying() as failures, bench.listening():
        bench.pay_all(10)
        wait_until(lambda: bench.verdict().kept == ORDERS * 10, SOON, "all took effect")

    assert failures == []
    found = bench.verdict()
    assert (found.lost, found.doubled, found.out_of_order) == (0, 0, 0)


def test_an_event_comes_back_to_its_place_however_often_a_subscriber_dies(
    make: Callable[..., Integrator], vhost: str
) -> None:
    integrator = make()
    with channel_of(vhost) as channel:
        channel.confirm_delivery()
        for number in (b"1", b"2"):
            channel.basic_publish(topology.EXCHANGE, PAID, number)

    for _ in range(30):
        with channel_of(vhost) as channel:
            assert channel.basic_get(integrator.queue)[2] == b"1"

    with channel_of(vhost) as channel:
        assert channel.basic_get(integrator.queue, auto_ack=True)[2] == b"1"
        assert channel.basic_get(integrator.queue, auto_ack=True)[2] == b"2"
