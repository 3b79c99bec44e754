"""A slow, silent or broken network between a service and its broker or its database."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from time import monotonic

import pytest
import requests

from shared.messaging.consumer import consume
from shared.messaging.processing import Processor
from shared.messaging.relay import Relay
from shared.runtime import keys, migrations
from shared.runtime.database import Database
from tests.faults.bench import DRAINED, ORDERS, Bench, all_kept, running, target_of, through
from tests.faults.proxy import Proxy
from tests.support import probe, processes
from tests.support.servers import RabbitMQ, free_port, wait_until

pytestmark = [pytest.mark.broker, pytest.mark.postgres]

#: Seconds after which either side takes a silent connection to the broker for dead.
HEARTBEAT = 2
BEATS = f"?heartbeat={HEARTBEAT}"
#: Bytes in the middle of the batch that the faults meet.
IN_A_BATCH = 6000


@pytest.fixture
def proxies() -> Iterator[Callable[[str], Proxy]]:
    """Make a proxy to the server of an address."""
    with ExitStack() as stack:
        yield lambda url: stack.enter_context(Proxy(target_of(url)))


def slow(proxy: Proxy) -> None:
    proxy.latency(0.5)


def silent(proxy: Proxy) -> None:
    proxy.black_hole()


def broken(proxy: Proxy) -> None:
    proxy.reset()


def cut(proxy: Proxy) -> None:
    proxy.cut_after(IN_A_BATCH)


FAULTS = [slow, silent, broken, cut]


def met(fault: Callable[[Proxy], None], bench: Bench, *proxies: Proxy) -> None:
    """Let what is under way meet the fault before that is healed."""
    if fault is slow:
        wait_until(lambda: bench.effects() == ORDERS * 4, DRAINED, "all comes, late")
    if fault is cut:
        wait_until(lambda: any(proxy.cuts for proxy in proxies), DRAINED, "a batch was cut")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_network_to_the_broker_loses_nothing_and_all_goes_on_by_itself(
    bench: Bench, proxies: Callable[[str], Proxy], fault: Callable[[Proxy], None]
) -> None:
    relays, listens = proxies(bench.url), proxies(bench.url)
    with (
        bench.relaying(through(relays, bench.url, BEATS)),
        bench.listening(through(listens, bench.url, BEATS)),
    ):
        bench.pay_all(1)
        wait_until(lambda: bench.effects() == ORDERS, DRAINED, "all is well before the fault")
        for proxy in (relays, listens):
            fault(proxy)
        bench.pay_all(3)
        if fault is silent:
            # Beyond two heartbeats both sides have given the connections up.
            wait_until(lambda: bench.consumers() == 0, DRAINED, "the broker gave them up")
            assert bench.waiting() == ORDERS * 3
        met(fault, bench, relays, listens)
        for proxy in (relays, listens):
            proxy.heal()
        bench.pay_all(1)
        wait_until(lambda: bench.effects() == ORDERS * 5, DRAINED, "all goes on by itself")

    bench.drain()
    assert bench.verdict() == all_kept(ORDERS * 5 + 1)
    assert bench.parked() == []


@pytest.mark.parametrize("fault", [slow, broken, cut])
def test_a_bad_network_to_the_databases_loses_nothing_and_all_goes_on_by_itself(
    bench: Bench, proxies: Callable[[str], Proxy], fault: Callable[[Proxy], None]
) -> None:
    """Slow: a bad network is slow."""
    to_sender, to_receiver = proxies(bench.sender.url), proxies(bench.receiver.url)
    sender = Database(through(to_sender, bench.sender.url))
    receiver = Database(through(to_receiver, bench.receiver.url))
    processor = Processor(probe.SERVICE, receiver)
    with (
        running(lambda stopping: Relay("orders", sender, bench.url, stopping).run()),
        running(lambda stopping: consume(bench.url, processor, stopping)),
    ):
        bench.pay_all(1)
        wait_until(lambda: bench.effects() == ORDERS, DRAINED, "all is well before the fault")
        for proxy in (to_sender, to_receiver):
            fault(proxy)
        bench.pay_all(3)
        met(fault, bench, to_sender, to_receiver)
        for proxy in (to_sender, to_receiver):
            proxy.heal()
        bench.pay_all(1)
        wait_until(lambda: bench.effects() == ORDERS * 5, DRAINED, "all goes on by itself")
    sender.close()
    receiver.close()

    bench.drain()
    assert bench.verdict() == all_kept(ORDERS * 5 + 1)
    assert bench.parked() == []


@pytest.mark.parametrize("service", ["orders", "notifications"])
def test_a_worker_whose_database_never_answers_ends_and_the_next_one_goes_on(
    bench: Bench, proxies: Callable[[str], Proxy], service: str
) -> None:
    url = bench.sender.url if service == "orders" else bench.receiver.url
    proxy = proxies(url)
    settings = {
        f"FARMGATE_{service.upper()}_DATABASE_URL": through(proxy, url),
        "FARMGATE_HANG_SECONDS": "2",
    }
    beside = bench.listening if service == "orders" else bench.relaying
    with beside():
        with bench.worker(service, **settings) as worker:
            bench.pay_all(1)
            wait_until(lambda: bench.effects() == ORDERS, DRAINED, "all is well before the fault")
            proxy.black_hole()
            bench.pay_all(1)
            wait_until(lambda: worker.process.poll() == 70, DRAINED, "it ends, as one that hangs")
            assert "work hangs, the process ends" in worker.log()
        proxy.heal()
        with bench.worker(service, **settings):
            wait_until(lambda: bench.effects() == ORDERS * 2, DRAINED, "the next one goes on")

    bench.drain()
    assert bench.verdict() == all_kept(ORDERS * 2 + 1)
    assert bench.parked() == []


@pytest.mark.rest
def test_a_web_process_whose_database_never_answers_says_so_and_ends(
    proxies: Callable[[str], Proxy], postgres: Callable[[str], str], tmp_path: Path
) -> None:
    url = postgres("silent_orders")
    migrations.upgrade("orders", url)
    keys.ensure(tmp_path)
    proxy = proxies(url)
    # More than the 5 s that a connection may take.
    system = processes.embedded(tmp_path, FARMGATE_HANG_SECONDS="8", FARMGATE_DATA=str(tmp_path))
    address = f"http://127.0.0.1:{free_port()}"
    system.urls = {"orders": address}
    system.commands = {"orders-web": ["web", "orders", "--port", address.rpartition(":")[2]]}
    system.environment["FARMGATE_ORDERS_DATABASE_URL"] = through(proxy, url)

    def ready() -> int:
        try:
            return requests.get(f"{address}/api/orders/health/ready", timeout=30).status_code
        except requests.ConnectionError:
            return 0

    with system:
        system.start()
        assert ready() == 200
        proxy.black_hole()
        assert ready() == 0  # its process ended over it
        wait_until(lambda: system.running["orders-web"].poll() == 70, DRAINED, "it ends")
        assert "work hangs, the process ends" in system.log("orders-web")
        system.spawn("orders-web")  # as its supervisor does
        # The next one is told at once that nobody answers.
        wait_until(lambda: ready() == 503, DRAINED, "it answers that its database is away")
        proxy.heal()
        wait_until(lambda: ready() == 200, DRAINED, "it goes on by itself")
        assert system.running["orders-web"].poll() is None


def test_a_half_open_consumer_gives_way_within_two_heartbeats(
    bench: Bench, proxies: Callable[[str], Proxy], broker: RabbitMQ
) -> None:
    proxy = proxies(bench.url)
    with bench.relaying(), bench.listening(through(proxy, bench.url, BEATS)):
        bench.pay_all(1)
        wait_until(lambda: bench.effects() == ORDERS, DRAINED, "the first consumer is active")
        with bench.listening():
            place = bench.url.rpartition("/")[2]
            wait_until(
                lambda: (
                    broker.ctl("list_consumers", "-p", place).count("notifications.events") == 2
                ),
                DRAINED,
                "another stands by",
            )
            proxy.black_hole()
            fallen = monotonic()
            bench.pay_all(1)
            wait_until(lambda: bench.effects() == ORDERS * 2, DRAINED, "the other took over")
            # The broker looks twice a heartbeat, and the handling takes its time as well.
            assert monotonic() - fallen < 2 * HEARTBEAT + 5
            proxy.heal()
            bench.pay_all(1)
            wait_until(lambda: bench.effects() == ORDERS * 3, DRAINED, "and goes on")

    bench.drain()
    assert bench.verdict() == all_kept(ORDERS * 3 + 1)
