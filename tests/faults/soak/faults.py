"""What can be done to the running system, and how it is healed again.

A fault is a function of bench and chance that does harm and returns what ends it. `area` names
what it needs for itself: of one round, no two faults share one.
"""

import json
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from random import Random
from typing import Any
from uuid import uuid4

import pika
import psycopg

from shared.messaging import topology
from shared.messaging.dead_letters import unreadable
from tests.faults.soak.bench import VHOST, Bench
from tests.faults.soak.process import WEB_POINTS, WORKER_POINTS
from tests.support.processes import SERVICES
from tests.support.servers import wait_until

Heal = Callable[[], None]
#: Seconds that a process is stopped, longer than a database waits for an idle transaction.
STOPPED = 13.0
#: Bytes of a message that nobody should have sent.
HUGE = 20_000_000
#: Events that are delivered again, and how often each.
AGAIN, TIMES = 200, 5
HOUR = 3600
#: Seconds within which the topology's keeper has made a binding again, whatever happened to it.
SEEN = 120.0


def nothing() -> None:
    """Heal what heals by itself."""


@dataclass(frozen=True)
class Fault:
    """One kind of fault."""

    name: str
    area: str
    harm: Callable[[Bench, Random], Heal]
    #: How often it is chosen, beside the others.
    weight: int
    #: Seconds it lasts, least and most.
    lasts: tuple[float, float] = (0.0, 1.0)


# --- Processes --------------------------------------------------------------------------------


def kill_web(bench: Bench, random: Random) -> Heal:
    bench.kill(random.choice(bench.webs))
    return nothing


def kill_worker(bench: Bench, random: Random) -> Heal:
    bench.kill(random.choice(bench.workers))
    return nothing


def kill_all(bench: Bench, random: Random) -> Heal:
    for name in list(bench.system.commands):
        bench.kill(name)
    return nothing


def kill_at(point: str, of: Callable[[Bench], list[str]]) -> Callable[[Bench, Random], Heal]:
    def harm(bench: Bench, random: Random) -> Heal:
        # Of two workers only the active one comes by; whichever it is.
        service = random.choice(SERVICES)
        names = [name for name in of(bench) if name.startswith(service)]
        for name in names:
            bench.harm(name, kill_at=point)
        with suppress(TimeoutError):
            wait_until(lambda: any(bench.died_at_point(name) for name in names), 6, point)
        bench.reached[point] += any(bench.died_at_point(name) for name in names)
        for name in names:
            bench.harm(name)
        return nothing

    return harm


def stop_web(bench: Bench, random: Random) -> Heal:
    name = random.choice(bench.webs)
    bench.signal(name, signal.SIGSTOP)
    return lambda: bench.signal(name, signal.SIGCONT)


def stop_worker(bench: Bench, random: Random) -> Heal:
    """Stop an active worker until its locks are gone, and let it go on beside its successor."""
    service = random.choice(SERVICES)
    names = [name for name in bench.workers if name.startswith(service)]
    for name in names[:1]:
        bench.signal(name, signal.SIGSTOP)
    with bench.database(service) as connection, suppress(psycopg.Error):
        # What a database does after it has waited long enough for a client that is silent.
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
    return lambda: [bench.signal(name, signal.SIGCONT) for name in names[:1]] and None


# --- Broker -----------------------------------------------------------------------------------


def kill_broker(bench: Bench, random: Random) -> Heal:
    bench.broker.kill()
    return bench.broker.start


def restart_broker(bench: Bench, random: Random) -> Heal:
    bench.broker.ctl("stop_app")

    def heal() -> None:
        bench.broker.ctl("start_app")
        bench.broker.ctl("await_startup")

    return heal


def close_connections(bench: Bench, random: Random) -> Heal:
    with suppress(Exception):  # one of them may close by itself meanwhile
        bench.broker.ctl("close_all_connections", "--vhost", VHOST, "soak")
    return nothing


def memory_alarm(bench: Bench, random: Random) -> Heal:
    bench.broker.ctl("set_vm_memory_high_watermark", "0.00001")
    return lambda: bench.broker.ctl("set_vm_memory_high_watermark", "0.6") and None


def disk_alarm(bench: Bench, random: Random) -> Heal:
    bench.broker.ctl("set_disk_free_limit", "1000GB")
    return lambda: bench.broker.ctl("set_disk_free_limit", "50MB") and None


def lose_broker(bench: Bench, random: Random) -> Heal:
    """Let the broker lose all that it had."""
    bench.lost_at = time.time()
    bench.broker.delete_vhost(VHOST)

    def heal() -> None:
        # As a deployment's definitions do at the broker's start; all else comes back by itself.
        bench.make_vhost()

    return heal


# --- Topology ---------------------------------------------------------------------------------


def channel(bench: Bench) -> Any:
    """Open a connection of the bench's own to the broker."""
    connection = pika.BlockingConnection(pika.URLParameters(bench.broker_url))
    return closing(connection), connection.channel()


def delete_binding(bench: Bench, random: Random) -> Heal:
    queue = topology.queue_of(random.choice(SERVICES))

    def bound() -> set[str]:
        lines = bench.broker.ctl(
            "list_bindings", "-p", VHOST, "source_name", "destination_name", "routing_key"
        ).splitlines()
        bindings = [line.split("\t") for line in lines]
        return {key for source, to, key in bindings if source == "events" and to == queue}

    bench.lost_at = time.time()
    keys = sorted(bound())
    gone = random.sample(keys, min(3, len(keys)))
    opened, there = channel(bench)
    with opened:
        for key in gone:
            there.queue_unbind(queue, "events", key)
    # An order may go all the way before anybody sees that it is gone.
    return lambda: wait_until(lambda: bound().issuperset(gone), SEEN, "the bindings are back")


def delete_exchange(bench: Bench, random: Random) -> Heal:
    bench.lost_at = time.time()
    opened, there = channel(bench)
    with opened:
        there.exchange_delete("events")
    return nothing


def delete_queue(bench: Bench, random: Random) -> Heal:
    bench.lost_at = time.time()
    opened, there = channel(bench)
    with opened:
        there.queue_delete(topology.queue_of(random.choice(SERVICES)))
    return nothing


# --- Messages ---------------------------------------------------------------------------------


def deliver_again(bench: Bench, random: Random) -> Heal:
    """Put copies of the last events into the exchange, in any order."""
    with bench.database(random.choice(SERVICES)) as connection:
        rows = connection.execute(
            "SELECT type, body, event_id FROM outbox WHERE position IS NOT NULL "
            "ORDER BY id DESC LIMIT %s",
            (AGAIN,),
        ).fetchall()
    copies = rows * TIMES
    random.shuffle(copies)
    opened, there = channel(bench)
    with opened:
        for key, body, event_id in copies:
            properties = pika.BasicProperties(delivery_mode=2, message_id=str(event_id))
            there.basic_publish("events", key, bytes(body), properties)
    return nothing


def poison(bench: Bench, random: Random) -> Heal:
    """Put bytes into a service's queue that are no event, or not one that it can read."""
    event = {
        "specversion": "1.0",
        "id": str(uuid4()),
        "source": f"/farmgate/orders/order/{uuid4()}",
        "type": "orders.order_placed.v1",
        "subject": f"order/{uuid4()}",
        "time": "2026-01-02T03:04:05Z",
        "datacontenttype": "application/json",
        "sequence": "0000000001",
        "correlationid": str(uuid4()),
        "data": {},
    }
    mark = uuid4().bytes  # the same bytes twice are one parked message
    kinds: dict[str, tuple[bytes, dict[str, Any]]] = {
        "no JSON": (b"\x00\x01 soak" + mark, {}),
        "wrong schema": (json.dumps(event).encode(), {}),
        "unknown type": (json.dumps(event | {"type": "orders.soaked.v1"}).encode(), {}),
        "newer version": (json.dumps(event | {"type": "orders.order_placed.v2"}).encode(), {}),
        "pickle": (b"\x80\x04N." + mark, {"content_type": "application/x-python-serialize"}),
        "compressed": (b"soak" + mark, {"headers": {"compression": "application/x-soak"}}),
        "20 MB": (mark + bytes(HUGE), {}),
    }
    kind = random.choice(list(kinds))
    body, properties = kinds[kind]
    service = random.choice(SERVICES)
    if kind == "wrong schema":
        # Who does not listen to a fact ignores it, whatever is in it.
        service = "catalog"
    opened, there = channel(bench)
    with opened:
        there.confirm_delivery()
        there.basic_publish(
            "",
            topology.queue_of(service),
            body,
            pika.BasicProperties(delivery_mode=2, **properties),
        )
    is_event = kind in ("wrong schema", "unknown type", "newer version")
    event_id = event["id"] if is_event else str(unreadable(body).event_id)
    bench.poisoned[event_id] = f"{kind}, to {service}"
    return nothing


# --- Handlers and clocks ----------------------------------------------------------------------


def bad_handler(how: str) -> Callable[[Bench, Random], Heal]:
    def harm(bench: Bench, random: Random) -> Heal:
        service = random.choice(SERVICES)
        names = [name for name in bench.workers if name.startswith(service)]
        for name in names:
            bench.harm(name, handler=how)
        return lambda: [bench.harm(name) for name in names] and None

    return harm


def wrong_clock(bench: Bench, random: Random) -> Heal:
    name = random.choice([*bench.webs, *bench.workers])
    bench.harm(name, clock=random.choice((-HOUR, HOUR)))
    return lambda: bench.harm(name)


# --- Database ---------------------------------------------------------------------------------


def kill_database(bench: Bench, random: Random) -> Heal:
    bench.postgres.kill()
    return bench.postgres.start


def restart_database(bench: Bench, random: Random) -> Heal:
    server = bench.postgres.process
    assert server is not None
    server.send_signal(random.choice((signal.SIGINT, signal.SIGQUIT)))
    server.wait(30)
    return bench.postgres.start


def no_connection_left(bench: Bench, random: Random) -> Heal:
    """Take every connection that the database has, and end those that services had."""
    stack = ExitStack()
    address = f"postgresql://farmgate@127.0.0.1:{bench.postgres.port}/postgres"
    with psycopg.connect(address, autocommit=True) as own:
        own.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname LIKE 'soak_%' AND pid <> pg_backend_pid()"
        )
        with suppress(psycopg.OperationalError):
            for _ in range(400):
                stack.enter_context(psycopg.connect(address, connect_timeout=5))
    return stack.close


# --- Network ----------------------------------------------------------------------------------


def network(how: str) -> Callable[[Bench, Random], Heal]:
    def harm(bench: Bench, random: Random) -> Heal:
        link = bench.links[random.choice(list(bench.links))]
        match how:
            case "slow":
                link.latency(random.uniform(0.05, 0.5))
            case "black hole":
                link.black_hole()
            case "reset":
                link.reset()
            case "cut":
                link.cut_after(random.randint(1, 60_000))
            case "refused":
                link.reset()
                link.refuse()
        return link.heal

    return harm


FAULTS = [
    Fault("kill -9 of a web process", "processes", kill_web, 20),
    Fault("kill -9 of a worker", "processes", kill_worker, 30),
    Fault("kill -9 of every process", "processes", kill_all, 3),
    *(
        Fault(f"web killed at {point}", "processes", kill_at(point, lambda b: b.webs), 5)
        for point in WEB_POINTS
    ),
    *(
        Fault(f"worker killed at {point}", "processes", kill_at(point, lambda b: b.workers), 6)
        for point in WORKER_POINTS
    ),
    Fault("web process stopped (SIGSTOP)", "processes", stop_web, 4, (1, 4)),
    Fault("worker stopped past its lock (SIGSTOP)", "processes", stop_worker, 6, (3, 8)),
    Fault("broker killed", "broker", kill_broker, 6, (0, 4)),
    Fault("broker restarted", "broker", restart_broker, 4, (0, 3)),
    Fault("all connections to the broker closed", "broker", close_connections, 10),
    Fault("memory alarm", "broker", memory_alarm, 4, (1, 5)),
    Fault("disk alarm", "broker", disk_alarm, 4, (1, 5)),
    Fault("broker's data lost", "broker", lose_broker, 2, (0, 3)),
    Fault("bindings deleted", "broker", delete_binding, 5),
    Fault("exchange deleted", "broker", delete_exchange, 4),
    Fault("queue deleted", "broker", delete_queue, 4),
    Fault("200 events delivered five times more, shuffled", "broker", deliver_again, 12),
    Fault("poison", "broker", poison, 12),
    Fault("handler fails for some subjects", "handlers", bad_handler("fails"), 8, (1, 6)),
    Fault("handler crashes the worker", "handlers", bad_handler("crashes"), 5, (1, 6)),
    Fault("handler hangs", "handlers", bad_handler("hangs"), 4, (1, 4)),
    Fault("clock an hour wrong", "clock", wrong_clock, 10, (1, 5)),
    Fault("database killed", "database", kill_database, 6, (0, 3)),
    Fault("database restarted", "database", restart_database, 5, (0, 3)),
    Fault("no connection left at the database", "database", no_connection_left, 4, (1, 3)),
    Fault("slow network", "network", network("slow"), 8, (1, 5)),
    Fault("network black hole", "network", network("black hole"), 8, (1, 6)),
    Fault("network connections reset", "network", network("reset"), 10),
    Fault("network cut in the middle", "network", network("cut"), 10, (1, 5)),
    Fault("network refuses connections", "network", network("refused"), 6, (1, 5)),
]
