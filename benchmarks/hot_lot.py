"""Reservations of one lot: from events that wait in catalog's queue, and from orders over HTTP.

The limit is PostgreSQL by itself, which `limits` measures: clients that change one row.
"""

import time
from typing import Any
from uuid import UUID

import pika

from benchmarks import goods, toy
from benchmarks.figures import Figure
from benchmarks.load import Load
from benchmarks.surroundings import Connection, Surroundings, System, processor_seconds
from shared.events import OrderPlaced
from shared.events.placing import PlacedLine
from shared.messaging import topology
from shared.runtime.ids import new_id
from tests.support.servers import wait_until

PART = "hot_lot"
CLIENTS = 16
LIMIT = "limits: pgbench, one hot row"


def measure(surroundings: Surroundings, *, quick: bool) -> list[Figure]:
    """Measure each way three times, once if `quick`."""
    runs = 1 if quick else 3
    events, seconds = (6_000, 5.0) if quick else (30_000, 10.0)
    queued, costs, ordered = [], [], []
    with surroundings.system(sample=False) as system:
        centre_id = goods.open_sites(system, 1)
        (variant,) = goods.list_variants(system, 1)
        system.wait_until_quiet()
        for run in range(runs):
            surroundings.say(f"{PART}, run {run + 1}: orders over HTTP")
            load = Load(
                url=system.urls["orders"],
                token=system.token,
                site_id=centre_id,
                variants=[variant],
                clients=CLIENTS,
                seconds=seconds,
                first_buyer=run * 1_000_000,
            )
            ordered.append(_over_http(system, load))
        system.wait_until_quiet()
        # From here on there are events whose orders nobody placed: orders must not hear of them.
        system.stop_all()
        for run in range(runs):
            surroundings.say(f"{PART}, run {run + 1}: {events:,} queued events")
            rate, milliseconds = _from_queue(
                surroundings, system, centre_id, variant["variant_id"], events
            )
            queued.append(rate)
            costs.append(milliseconds)
    return [
        Figure(PART, "from queued events", "/s", tuple(queued), LIMIT, "≥ 3,000"),
        Figure(
            PART,
            "from queued events, processor time",
            "ms",
            tuple(costs),
            "limits: pgbench, processor time of a change",
        ),
        Figure(PART, f"orders over HTTP from {CLIENTS} clients", "/s", tuple(ordered), LIMIT),
    ]


def _over_http(system: System, load: Load) -> float:
    """Place orders; return how many a second were reserved, until orders knew of the last."""
    with system.sql("orders") as sql:
        sent = load.send()
        undecided = "SELECT 1 FROM orders WHERE state = 'placed' LIMIT 1"
        wait_until(lambda: sql.execute(undecided).fetchone() is None, 300, "all is reserved")
        latest = _number(sql, "SELECT extract(epoch FROM max(decided_at)) FROM orders")
    assert not sent.refused, sent.refused
    return sent.accepted / (latest - sent.began)


def _from_queue(
    surroundings: Surroundings, system: System, site_id: str, variant_id: str, events: int
) -> tuple[float, float]:
    """Fill catalog's queue, then start its worker; return reservations a second, and ms of each.

    The worker publishes `stock_reserved` of each meanwhile. Both figures begin with the first
    batch, since the process has to start before it.
    """
    parameters = pika.URLParameters(system.environment["FARMGATE_BROKER_URL"])
    queue, reserved = topology.queue_of("catalog"), "SELECT count(*) FROM reservations"
    with (
        system.sql("catalog") as sql,
        pika.BlockingConnection(parameters) as connection,
    ):
        channel = connection.channel()
        for _ in range(events):
            body = _placed(UUID(site_id), UUID(variant_id))
            channel.basic_publish("", queue, body, pika.BasicProperties(delivery_mode=2))
        before, spawned = _number(sql, reserved), time.time()
        system.spawn("catalog-worker")
        pids = {**surroundings.pids(), **system.pids()}
        wait_until(lambda: _number(sql, reserved) > before, 60, "catalog's worker reserves")
        already, used = _number(sql, reserved) - before, sum(processor_seconds(pids).values())
        # To count rows all the time would cost what is measured.
        wait_until(lambda: not _depth(channel, queue), 300, "catalog has all events")
        wait_until(lambda: _number(sql, reserved) == before + events, 60, "all is reserved")
        waiting = "SELECT count(*) FROM outbox WHERE position IS NULL"
        wait_until(lambda: not _number(sql, waiting), 60, "all events are published")
        used = sum(processor_seconds(pids).values()) - used
        # All events of a batch have the moment of its beginning; nothing says when the last ended.
        rate = _number(
            sql,
            "SELECT count(*) FILTER (WHERE handled_at < last) / extract(epoch FROM last - first)"
            " FROM inbox, (SELECT min(handled_at) AS first, max(handled_at) AS last FROM inbox"
            " WHERE handled_at > to_timestamp(%s)) AS ends"
            " WHERE handled_at >= first GROUP BY first, last",
            spawned,
        )
        system.stop("catalog-worker")
    return rate, used / (events - already) * 1000


def _number(sql: Connection, statement: str, *values: float) -> float:
    row = sql.execute(statement.encode(), values).fetchone()
    assert row is not None
    return float(row[0])


def _depth(channel: Any, queue: str) -> int:
    return int(channel.queue_declare(queue, passive=True).method.message_count)


def _placed(site_id: UUID, variant_id: UUID) -> bytes:
    line = PlacedLine(line_no=1, variant_id=variant_id, quantity=goods.PACK, line_total_fen=1000)
    order_id = new_id()
    return toy.event_of(
        OrderPlaced(
            order_id=order_id,
            order_ref=f"ORD-{order_id.hex[-8:].upper()}",
            channel="online",
            payment_method="cash_on_delivery",
            buyer_id=None,
            site_id=site_id,
            lines=[line],
            total_fen=1000,
        )
    )
