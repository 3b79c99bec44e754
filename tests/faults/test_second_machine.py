"""More machines than one: a server is lost for good, and what it confirmed is elsewhere."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from farmgate.backup.programs import address_of
from shared.messaging import topology
from tests.faults.bench import DRAINED, ORDERS, TIMES, all_kept, bench_on, through
from tests.faults.proxy import Proxy
from tests.support import probe, servers
from tests.support.servers import Postgres, wait_until

pytestmark = [pytest.mark.broker, pytest.mark.postgres]

SERVICES = [probe.PUBLISHER, probe.SERVICE]


def either(first: Postgres, second: Postgres, database: str) -> str:
    """Return the address of whichever of two servers can be written to."""
    hosts = "&".join(f"host=127.0.0.1:{server.port}" for server in (first, second))
    return f"postgresql+psycopg://farmgate@/{database}?{hosts}&target_session_attrs=read-write"


def test_a_database_server_that_is_lost_for_good_has_lost_nothing_its_standby_does_not_have(
    vhost: str, tmp_path: Path
) -> None:
    with servers.postgres() as primary:
        names = ("sender", "receiver")
        for name in names:
            primary.create(name)
        with servers.standby(primary) as spare:
            primary.wait_for("standby")
            urls = [either(primary, spare, name) for name in names]
            with (
                bench_on(vhost, *urls, tmp_path) as bench,
                bench.relaying(),
                bench.listening(),
            ):
                bench.pay_all()
                # Under way: some published, some not, some without effect yet.
                primary.kill()
                spare.promote()
                bench.pay_all()
                expected = all_kept(2 * ORDERS * TIMES)
                wait_until(lambda: bench.verdict() == expected, DRAINED, "all is kept")
                positions = bench.positions()
            assert positions == list(range(1, 2 * ORDERS * TIMES + 1))

            # What PostgreSQL's own programs are given finds the survivor, too.
            with psycopg.connect(address_of(urls[0])) as connection:
                assert connection.info.port == spare.port


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("postgresql+psycopg://me:secret@one:5433/db", "user=me dbname=db host=one port=5433"),
        ("postgresql+psycopg://me@one/db", "user=me dbname=db host=one"),
        (
            "postgresql+psycopg://me@/db?host=one:5433&host=two&target_session_attrs=read-write",
            "user=me dbname=db host=one,two port=5433,5432 target_session_attrs=read-write",
        ),
    ],
)
def test_programs_are_given_the_servers_of_an_address(url: str, address: str) -> None:
    given = psycopg.conninfo.conninfo_to_dict(address_of(url))
    assert given == psycopg.conninfo.conninfo_to_dict(address)


@pytest.mark.rest
def test_a_node_of_a_broker_of_three_that_is_lost_for_good_has_lost_nothing(
    postgres: Callable[[str], str], tmp_path: Path
) -> None:
    """Services reach the cluster by one name, here a proxy that somebody points elsewhere.

    Slow: three brokers start and find each other.
    """
    with ExitStack() as stack:
        first = stack.enter_context(servers.rabbitmq())
        others = [stack.enter_context(servers.rabbitmq(cluster=first)) for _ in range(2)]
        topology.declare(first.url(), SERVICES)
        name = stack.enter_context(Proxy(("127.0.0.1", first.port)))
        urls = (postgres("three_sender"), postgres("three_receiver"))
        bench = stack.enter_context(bench_on(through(name, first.url()), *urls, tmp_path))
        bench.pay_all()
        with bench.relaying():
            wait_until(lambda: bench.waiting() == 0, DRAINED, "all is in the queue")

        first.kill()
        name.target = ("127.0.0.1", others[0].port)
        bench.pay_all()
        with bench.relaying(), bench.listening():
            expected = all_kept(2 * ORDERS * TIMES)
            wait_until(lambda: bench.verdict() == expected, DRAINED, "all is kept")
