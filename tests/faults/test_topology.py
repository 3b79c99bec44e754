"""Whatever is deleted at the broker is there again by itself, and nothing stays lost."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pika
import pytest
from sqlalchemy import select

from farmgate.broker_inspector import ManagementInspector
from farmgate.subscriptions import ServiceSubscriptions
from shared.messaging import reconciler as reconciler_module
from shared.messaging import topology
from shared.messaging.dead_letters import REPLAY, drain
from shared.messaging.processing import Processor
from shared.messaging.reconciler import EVER, MARGIN, PATIENCE, TopologyReconciler
from shared.messaging.tables import Parked
from shared.runtime.clock import now
from shared.runtime.supervision import Stopping, supervise
from tests.faults.bench import DRAINED, ORDERS, PAID, TIMES, Bench, all_kept, bench_on
from tests.support import probe, servers
from tests.support.servers import RabbitMQ, stop, wait_until

pytestmark = [pytest.mark.broker, pytest.mark.postgres]

SERVICES = [probe.PUBLISHER, probe.SERVICE]
QUEUE = "notifications.events"


@contextmanager
def running(loop: Callable[[Stopping], None]) -> Iterator[None]:
    """Run a loop that may fail and is started again, as a worker's."""
    stopping = Stopping()
    thread = supervise("loop", lambda: loop(stopping), stopping)
    try:
        yield
    finally:
        stopping.set()
        thread.join(20)


@contextmanager
def reconciling(bench: Bench) -> Iterator[None]:
    """Keep the topology, and let the publisher's worker hear that it is to publish again."""
    publisher = Processor(probe.PUBLISHER, bench.sender)
    with (
        running(lambda stopping: TopologyReconciler(bench.url, SERVICES).run(0.5, stopping)),
        running(lambda stopping: drain(bench.url, publisher, stopping)),
    ):
        yield


@contextmanager
def broker_of(bench: Bench) -> Iterator[Any]:
    with pika.BlockingConnection(pika.URLParameters(bench.url)) as connection:
        yield connection


def is_whole(bench: Bench) -> bool:
    return topology.missing(bench.url, SERVICES) == []


def test_a_deleted_queue_comes_back_with_what_it_held(bench: Bench) -> None:
    """Slow: the keeper looks every 5 s, and learns it from two looks."""
    bench.pay_all()
    with bench.relaying():
        wait_until(lambda: bench.waiting() == 0, DRAINED, "all is in the queue")
    with bench.channel() as channel:
        channel.queue_delete(QUEUE)

    with reconciling(bench), bench.listening():
        wait_until(
            lambda: bench.verdict() == all_kept(ORDERS * TIMES),
            DRAINED,
            "all took effect after all",
        )
        assert is_whole(bench)

    with bench.sender.readers() as session:
        assert session.scalars(select(Parked)).all() == []


def test_everything_deleted_under_load_comes_back_and_nothing_is_lost(bench: Bench) -> None:
    with reconciling(bench), bench.relaying(), bench.listening():
        bench.pay_all(2)
        with bench.channel() as channel:
            for queue in (QUEUE, f"{QUEUE}.dead"):
                channel.queue_delete(queue)
            channel.exchange_delete(topology.EXCHANGE)
        bench.pay_all(2)
        wait_until(lambda: bench.verdict().kept == ORDERS * 4, DRAINED, "all took effect after all")
        assert is_whole(bench)
    found = bench.verdict()
    assert (found.lost, found.doubled, found.unexpected) == (0, 0, 0)


def test_deleted_bindings_are_made_again(bench: Bench) -> None:
    with bench.channel() as channel:
        channel.queue_unbind(QUEUE, topology.EXCHANGE, "orders.order_paid.v1")
    with reconciling(bench), bench.relaying(), bench.listening():
        bench.pay_all(2)
        wait_until(lambda: bench.verdict() == all_kept(ORDERS * 2), DRAINED, "all took effect")


@pytest.fixture
def inspector(bench: Bench, broker: RabbitMQ) -> ManagementInspector:
    return ManagementInspector(
        {"FARMGATE_BROKER_URL": bench.url, "FARMGATE_BROKER_MANAGEMENT_URL": broker.management_url}
    )


def unbind(bench: Bench) -> None:
    with bench.channel() as channel:
        channel.queue_unbind(QUEUE, topology.EXCHANGE, PAID)


def requests(bench: Bench) -> list[datetime]:
    """Return since when the publisher was asked to publish again, so often as it was."""
    found = []
    with bench.channel() as channel:
        while (body := channel.basic_get("orders.events.dead", auto_ack=True)[2]) is not None:
            found.append(datetime.fromisoformat(json.loads(body)["since"]))
    return found


def test_what_a_deleted_binding_would_have_carried_is_said_again(
    bench: Bench, inspector: ManagementInspector
) -> None:
    """Slow: the keeper looks every 5 s, and learns it from two looks."""
    publisher = Processor(probe.PUBLISHER, bench.sender)
    reconciler = TopologyReconciler(bench.url, SERVICES, inspector)
    with bench.relaying(), bench.listening(), broker_of(bench) as connection:
        assert reconciler.reconcile(connection) == []
        with bench.channel() as channel:
            channel.queue_declare("another", durable=True)
            channel.queue_bind("another", topology.EXCHANGE, PAID)
        unbind(bench)
        bench.pay_all(2)
        wait_until(lambda: bench.waiting() == 0, DRAINED, "another queue alone took all")

        assert reconciler.reconcile(connection) == [f"{QUEUE} < {PAID}"]
        assert bench.effects() == 0
        with running(lambda stopping: drain(bench.url, publisher, stopping)):
            wait_until(lambda: bench.verdict() == all_kept(ORDERS * 2), DRAINED, "all took effect")
        assert reconciler.reconcile(connection) == []
    assert requests(bench) == []


def test_a_keeper_that_was_away_knows_from_its_last_life_which_bindings_there_were(
    bench: Bench, inspector: ManagementInspector
) -> None:
    began = now()
    with broker_of(bench) as connection:
        TopologyReconciler(bench.url, SERVICES, inspector).reconcile(connection)
        unbind(bench)
        TopologyReconciler(bench.url, SERVICES, inspector).reconcile(connection)
    (since,) = requests(bench)
    assert began - MARGIN <= since <= now() - MARGIN


def test_the_binding_of_a_newer_version_asks_for_no_history(
    bench: Bench, inspector: ManagementInspector
) -> None:
    older = ServiceSubscriptions("notifications", {})
    with broker_of(bench) as connection:
        unbind(bench)
        assert (
            TopologyReconciler(bench.url, [probe.PUBLISHER, older], inspector).reconcile(connection)
            == []
        )
        newer = TopologyReconciler(bench.url, SERVICES, inspector)
        assert newer.reconcile(connection) == [f"{QUEUE} < {PAID}"]
        assert newer.reconcile(connection) == []
    assert requests(bench) == []


def test_while_bindings_cannot_be_seen_they_are_left_alone_for_a_while(
    bench: Bench, inspector: ManagementInspector, monkeypatch: pytest.MonkeyPatch
) -> None:
    reconciler = TopologyReconciler(bench.url, SERVICES, inspector)
    with broker_of(bench) as connection:
        assert reconciler.reconcile(connection) == []
        unbind(bench)
        with monkeypatch.context() as patch:
            # As while a broker starts, whose management API comes last.
            patch.setattr(inspector, "bindings", lambda: None)
            assert reconciler.reconcile(connection) == []
            assert PAID not in bound_now(inspector)
        assert reconciler.reconcile(connection) == [f"{QUEUE} < {PAID}"]
        assert len(requests(bench)) == 1

        unbind(bench)
        patient = now() + PATIENCE + timedelta(seconds=1)
        with monkeypatch.context() as patch:
            patch.setattr(inspector, "bindings", lambda: None)
            patch.setattr(reconciler_module, "now", lambda: patient)
            reconciler.reconcile(connection)
        assert PAID in bound_now(inspector)


def bound_now(inspector: ManagementInspector) -> frozenset[str]:
    """Return what is bound to the listener's queue."""
    bound = ManagementInspector(inspector.environment).bindings()
    assert bound is not None
    return bound.get(QUEUE, frozenset())


def test_a_binding_that_is_deleted_after_the_look_is_told_by_the_next_one(
    bench: Bench, inspector: ManagementInspector, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = topology.look

    def meanwhile(connection: Any, services: Any) -> Any:
        found = look(connection, services)
        unbind(bench)
        return found

    reconciler = TopologyReconciler(bench.url, SERVICES, inspector)
    with broker_of(bench) as connection:
        with monkeypatch.context() as patch:
            patch.setattr(topology, "look", meanwhile)
            assert reconciler.reconcile(connection) == []
        assert reconciler.reconcile(connection) == [f"{QUEUE} < {PAID}"]
    assert len(requests(bench)) == 1


def test_the_request_is_there_before_the_queue_is(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*arguments: Any, **options: Any) -> list[str]:
        raise InterruptedError

    with bench.channel() as channel:
        channel.queue_delete(QUEUE)
    monkeypatch.setattr(topology, "declare_on", die)
    with broker_of(bench) as connection, pytest.raises(InterruptedError):
        TopologyReconciler(bench.url, SERVICES).reconcile(connection)

    assert topology.missing(bench.url, SERVICES) == [QUEUE]
    with bench.channel() as channel:
        _, properties, body = channel.basic_get("orders.events.dead", auto_ack=True)
    assert properties.type == REPLAY
    assert EVER.isoformat()[:19] in body.decode()


def test_what_meets_the_new_exchange_before_its_last_binding_is_said_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow: the keeper looks every 5 s, and learns it from two looks."""
    declare_on = topology.declare_on

    def slowly(channel: Any, services: Any) -> list[str]:
        channel.exchange_declare(topology.EXCHANGE, "topic", durable=True)
        channel.queue_declare("first", durable=True)
        channel.queue_bind("first", topology.EXCHANGE, PAID)
        wait_until(lambda: bench.waiting() == 0, DRAINED, "the first queue alone took all")
        return declare_on(channel, services)

    with bench.channel() as channel:
        channel.exchange_delete(topology.EXCHANGE)
    bench.pay_all(2)
    publisher = Processor(probe.PUBLISHER, bench.sender)
    with bench.relaying(), bench.listening(), broker_of(bench) as connection:
        monkeypatch.setattr(topology, "declare_on", slowly)
        TopologyReconciler(bench.url, SERVICES).reconcile(connection)
        assert bench.effects() == 0
        with running(lambda stopping: drain(bench.url, publisher, stopping)):
            wait_until(lambda: bench.verdict() == all_kept(ORDERS * 2), DRAINED, "all took effect")


def test_what_is_whole_is_left_alone(bench: Bench) -> None:
    reconciler = TopologyReconciler(bench.url, SERVICES)
    with broker_of(bench) as connection:
        assert reconciler.reconcile(connection) == []
    assert bench.depth("orders.events.dead") == 0


def test_the_command_restores_a_queue_and_ends_when_it_is_told_to(
    bench: Bench, tmp_path: Path
) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FARMGATE_")}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "farmgate", "topology", "--watch", "--every", "0.5"],
            env={**kept, "FARMGATE_TOPOLOGY_BROKER_URL": bench.url},
            stderr=log,
        )
    try:
        # Of the four services the bench knows two: the first look restores the others.
        wait_until(lambda: has(bench, "catalog.events"), DRAINED, "it declares what is missing")
        with bench.channel() as channel:
            channel.queue_delete("catalog.events")
        wait_until(lambda: has(bench, "catalog.events"), DRAINED, "it restores what was deleted")
    finally:
        stop(process)
    assert process.returncode == 0
    assert "topology restored" in (tmp_path / "log").read_text(encoding="utf-8")


def has(bench: Bench, queue: str) -> bool:
    with suppress(pika.exceptions.ChannelClosedByBroker):
        bench.depth(queue)
        return True
    return False


#: What docs/operations.md says to type about a queue that stands still.
ELECT = "ra:trigger_election({{'%2F_{queue}', node()}})."


@pytest.mark.rest
def test_a_broker_killed_right_after_its_first_declaration_goes_on_after_what_operators_type(
    postgres: Callable[[str], str], tmp_path: Path
) -> None:
    """Mostly a queue is left without a leader, not always."""
    with (
        servers.rabbitmq() as broker,
        bench_on(
            broker.url(), postgres("first_sender"), postgres("first_receiver"), tmp_path
        ) as it,
    ):
        topology.declare(it.url, SERVICES)
        broker.kill()
        broker.start()
        it.pay_all()

        queues = [topology.queue_of(service.name) for service in SERVICES]
        for queue in [*queues, *(f"{queue}{topology.DEAD}" for queue in queues)]:
            broker.ctl("eval", ELECT.format(queue=queue))
        with broker_of(it) as connection:
            TopologyReconciler(it.url, SERVICES).reconcile(connection)
        with it.relaying(), it.listening():
            wait_until(lambda: it.verdict() == all_kept(ORDERS * TIMES), DRAINED, "all is kept")


def test_a_queue_that_is_down_is_told_once_and_the_services_go_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    down = {QUEUE: topology.QueueInfo(is_down=True)}
    look = topology.look
    monkeypatch.setattr(topology, "look", lambda *given: look(*given) | down)
    reconciler = TopologyReconciler(bench.url, SERVICES)
    with broker_of(bench) as connection:
        assert reconciler.reconcile(connection) == []
        assert reconciler.reconcile(connection) == []
    assert capsys.readouterr().err.count("queue is down") == 1
    assert requests(bench) == []
