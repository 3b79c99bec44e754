"""The rows that finished orders of two years leave behind, in the databases of all four services.

Each order has one or two lines, was paid in cash and delivered. Its rows are those that the
services would have: outbox, inbox and stored answers only of as many days as they are kept. Each
thousand orders of a variant have emptied a lot of their own.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from benchmarks.surroundings import Connection

#: Ids are UUIDv7, as the services make them: they grow with time, and so do the indexes.
_ID_OF = """
CREATE FUNCTION pg_temp.id_of(kind int, number bigint, at timestamptz) RETURNS uuid
LANGUAGE sql STABLE AS $$
  SELECT encode(int8send(((date_part('epoch', at) * 1000)::bigint << 16) | 28672 | kind)
                || int8send((1::bigint << 63) | number), 'hex')::uuid
$$
"""
_LOT_OF = """
CREATE FUNCTION pg_temp.lot_id(number bigint) RETURNS uuid LANGUAGE sql STABLE AS $$
  SELECT pg_temp.id_of(5, number, timestamptz '2024-01-01 00:00+00')
$$
"""
#: The finished orders `first` to `last`, in even distances over the two years before `until`. With
#: OFFSET 0 an expression is evaluated once a row, not at each of its uses.
_ORDERS = """
  FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n,
  LATERAL (SELECT %(until)s::timestamptz - interval '730 days'
           * ((%(last)s - n + 1)::float8 / (%(last)s - %(first)s + 1)) AS at) AS moment,
  LATERAL (SELECT pg_temp.id_of(0, n, at) AS order_id,
           pg_temp.id_of(1, n, at) AS shipment_id,
           'BENCH-' || n AS order_ref,
           (%(sites)s::uuid[])[1 + n %% cardinality(%(sites)s::uuid[])] AS site_id OFFSET 0) AS o
"""
_LINES = (
    _ORDERS
    + """,
  generate_series(1, 1 + (n %% 2)::int) AS line_no,
  LATERAL (SELECT cardinality(%(variants)s::uuid[]) AS count) AS variants,
  LATERAL (SELECT n / (1000 * count) * count + (n + 7 * line_no) %% count AS lot_no) AS lots,
  LATERAL (SELECT pg_temp.lot_id(lot_no) AS lot_id,
           (%(variants)s::uuid[])[1 + lot_no %% count] AS variant_id OFFSET 0) AS l
"""
)


def _events(publisher: str, facts: Sequence[str], days: int) -> tuple[str, str]:
    """Return the INSERTs of published events, and of events that were consumed."""
    listed = ", ".join(f"({number}, '{fact}')" for number, fact in enumerate(facts, start=1))
    recent = f"""{_ORDERS}, (VALUES {listed}) AS facts (sequence, type)
      WHERE at > %(until)s::timestamptz - interval '{days} days'"""
    outbox = f"""
    INSERT INTO outbox (event_id, type, subject, sequence, body, correlation_id, recorded_at,
                        position, published_at)
    SELECT pg_temp.id_of(100 + sequence, n, at), type, '{publisher}/' || order_id, sequence,
           convert_to('{{"specversion":"1.0","id":"' || order_id || '"' || repeat(' ', 600) || '}}',
                      'UTF8'),
           order_id::text, at,
           (SELECT position FROM relay_state) + row_number() OVER (ORDER BY n, sequence), at
    {recent}"""
    inbox = f"""
    INSERT INTO inbox (event_id, type, subject, sequence, recorded_at, handled_at)
    SELECT pg_temp.id_of(200 + sequence, n, at), type, 'order/' || order_id, sequence, at, at
    {recent}"""
    return outbox, inbox


def _outbox(publisher: str, *facts: str) -> dict[str, str]:
    return {"outbox": _events(publisher, facts, days=30)[0]}


def _inbox(*facts: str) -> dict[str, str]:
    return {"inbox": _events("", facts, days=90)[1]}


_OF_ORDERS = {
    "orders": f"""
    INSERT INTO orders (id, arrival, order_ref, channel, buyer_id, placed_by, site_id, collect,
        masked_phone, payment_method, state, payment_state, fulfilment_state, total_fen, paid_fen,
        refunded_fen, hold_seconds, shipment_id, shipment_ref, promised_on, placed_at, decided_at,
        changed_at, version)
    SELECT order_id, order_id, order_ref, 'online', 'history-' || n %% 100000, 'bench', site_id,
        false, '138****' || n %% 10000, 'cash_on_delivery', 'completed', 'cod_collected',
        'delivered', 2000, 2000, 0, 900, shipment_id, 'S' || order_ref,
        (at + interval '2 days')::date, at, at, at + interval '2 days', 6
    {_ORDERS}""",
    "order_lines": f"""
    INSERT INTO order_lines (order_id, line_no, variant_id, quantity, price_fen, price_unit,
        line_total_fen, lots)
    SELECT order_id, line_no, variant_id, 100, 1000, 100, 1000,
        json_build_array(json_build_object('lot_id', lot_id, 'lot_code', 'BENCH-' || lot_no,
            'location_id', %(centre)s::uuid, 'producer_id', %(producer)s::uuid, 'quantity', 100))
    {_LINES}""",
    "idempotency_keys": f"""
    INSERT INTO idempotency_keys (client, key, fingerprint, status, body, answered_at)
    SELECT 'bench', order_id::text, md5(n::text) || md5(n::text), 202,
        decode(repeat(md5(n::text), 40), 'hex'), at
    {_ORDERS} WHERE at > %(until)s::timestamptz - interval '1 day'""",
    **_outbox(
        "order",
        "orders.contact_given.v1",
        "orders.order_placed.v1",
        "orders.order_confirmed.v1",
        "orders.order_paid.v1",
        "orders.order_completed.v1",
    ),
    **_inbox(
        "catalog.stock_reserved.v1",
        "logistics.shipment_planned.v1",
        "logistics.shipment_packed.v1",
        "logistics.shipment_dispatched.v1",
        "logistics.shipment_delivered.v1",
    ),
}
_OF_CATALOG = {
    "reservations": f"""
    INSERT INTO reservations (order_id, channel, site_id, status, changed_at, version)
    SELECT order_id, 'online', site_id, 'consumed', at, 1 {_ORDERS}""",
    "reservation_lines": f"""
    INSERT INTO reservation_lines (order_id, line_no, lot_id, location_id, variant_id, quantity)
    SELECT order_id, line_no, lot_id, %(centre)s::uuid, variant_id, 100 {_LINES}""",
    "stock_movements": f"""
    INSERT INTO stock_movements (id, lot_id, location_id, from_bucket, to_bucket, quantity, reason,
        order_id, cause, actor, at)
    SELECT pg_temp.id_of(3, n * 8 + line_no * 3 + step, at), lot_id, %(centre)s::uuid,
        from_bucket, to_bucket, 100, reason, order_id, order_id::text, 'orders', at
    {_LINES}, (VALUES (0, 'available', 'reserved', 'reserved'),
                      (1, 'reserved', 'committed', 'committed'),
                      (2, 'committed', 'consumed', 'consumed'))
              AS moves (step, from_bucket, to_bucket, reason)""",
    **_outbox("order", "catalog.stock_reserved.v1"),
    **_inbox(
        "orders.order_placed.v1", "orders.order_confirmed.v1", "logistics.shipment_dispatched.v1"
    ),
}
_OF_LOGISTICS = {
    "shipments": f"""
    INSERT INTO shipments (id, shipment_ref, order_id, order_ref, site_id, collect, state,
        promised_on, cold, cold_gap, due_fen, collected_fen, planned_at, packed_at, handed_over_at,
        arrived_at, ended_at, version)
    SELECT shipment_id, 'S' || order_ref, order_id, order_ref, site_id, false, 'delivered',
        (at + interval '2 days')::date, false, false, 2000, 2000, at, at + interval '1 hour',
        at + interval '1 day', at + interval '2 days', at + interval '2 days', 5
    {_ORDERS}""",
    "shipment_lines": f"""
    INSERT INTO shipment_lines (shipment_id, line_no, lot_id, location_id, variant_id, lot_code,
        producer_id, quantity)
    SELECT shipment_id, line_no, lot_id, %(centre)s::uuid, variant_id, 'BENCH-' || lot_no,
        %(producer)s::uuid, 100
    {_LINES}""",
    **_outbox(
        "shipment",
        "logistics.shipment_planned.v1",
        "logistics.shipment_packed.v1",
        "logistics.shipment_dispatched.v1",
        "logistics.shipment_arrived.v1",
        "logistics.shipment_delivered.v1",
    ),
    **_inbox("orders.contact_given.v1", "orders.order_confirmed.v1"),
}
_MESSAGES = """, (VALUES (1, 'order_placed', 'buyer', 0), (2, 'order_confirmed', 'buyer', 1),
                         (3, 'goods_sold', 'producer', 1), (4, 'shipment_dispatched', 'buyer', 1))
                 AS templates (step, template, audience, attempts)"""
_OF_NOTIFICATIONS = {
    "messages": f"""
    INSERT INTO messages (id, cause_id, recipient, template, person, order_id, facts, status,
        happened_at, attempts, taken_by, sent_at)
    SELECT pg_temp.id_of(2, n * 8 + step, at), pg_temp.id_of(200 + step, n, at),
        CASE audience WHEN 'buyer' THEN 'order:' || order_id
                      ELSE 'enterprise:' || %(producer)s::uuid END, template,
        CASE audience WHEN 'buyer' THEN 'buyer:history-' || n %% 100000
                      ELSE 'enterprise:' || %(producer)s::uuid END,
        order_id, '{{}}', 'sent', at, attempts, '["file"]', at
    {_ORDERS}{_MESSAGES}""",
    "order_copies": f"""
    INSERT INTO order_copies (order_id, person, order_ref, site_id, collect, total_fen, due_fen,
        lines, sales, settled)
    SELECT order_id, 'buyer:history-' || n %% 100000, order_ref, site_id, false, 2000, 2000,
        lines, lines, true
    {_ORDERS}, LATERAL (SELECT json_build_array(json_build_object(
        'variant_id', (%(variants)s::uuid[])[1 + n %% cardinality(%(variants)s::uuid[])],
        'producer_id', %(producer)s::uuid, 'quantity', 100)) AS lines) AS sold""",
    "contacts": f"""
    INSERT INTO contacts (key, phone, language, given_at)
    SELECT 'order:' || order_id, '+86138' || lpad((n %% 100000000)::text, 8, '0'), 'zh', at
    {_ORDERS} WHERE at > %(until)s::timestamptz - interval '30 days'""",
    **_inbox(
        "orders.contact_given.v1",
        "orders.order_placed.v1",
        "catalog.stock_reserved.v1",
        "orders.order_confirmed.v1",
        "logistics.shipment_planned.v1",
        "logistics.shipment_dispatched.v1",
        "logistics.shipment_delivered.v1",
        "orders.order_completed.v1",
    ),
}
TABLES: Mapping[str, Mapping[str, str]] = {
    "orders": _OF_ORDERS,
    "catalog": _OF_CATALOG,
    "logistics": _OF_LOGISTICS,
    "notifications": _OF_NOTIFICATIONS,
}
#: The emptied lots: few, and two fills share some, so their indexes stay in use.
_LOTS = (
    """
    INSERT INTO lots (id, code, variant_id, producer_id, harvest_date, best_before, status, version)
    SELECT pg_temp.lot_id(lot_no), 'BENCH-' || lot_no,
        (%(variants)s::uuid[])[1 + lot_no %% cardinality(%(variants)s::uuid[])],
        %(producer)s::uuid, current_date - 30, current_date + 700, 'released', 1
    FROM generate_series(%(first)s / 1000, %(last)s / 1000 + cardinality(%(variants)s::uuid[]))
        AS lot_no
    ON CONFLICT DO NOTHING""",
    """
    INSERT INTO stock_levels (id, lot_id, location_id, available, reserved, committed, allotted,
        held, damaged)
    SELECT id, id, %(centre)s::uuid, 0, 0, 0, 0, 0, 0 FROM lots WHERE code LIKE 'BENCH-%%'
    ON CONFLICT DO NOTHING""",
)


@dataclass(frozen=True)
class Goods:
    """What the orders of the past were of, and where they went."""

    variants: Sequence[str]
    sites: Sequence[str]
    centre: str
    producer: str


def fill(connect: Callable[[str], Connection], goods: Goods, orders: int) -> None:
    """Replace what orders left in the tables by so many finished orders; no process may run.

    `connect` opens the database of a service.
    """
    values = {**vars(goods), "first": 1, "last": orders, "until": datetime.now(UTC)}
    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(lambda service: _fill(connect, service, values), TABLES):
            pass


def _fill(connect: Callable[[str], Connection], service: str, values: Mapping[str, Any]) -> None:
    tables = TABLES[service]
    with connect(service) as sql:
        # No check of foreign keys, no trigger.
        sql.execute("SET session_replication_role = replica")
        sql.execute(_ID_OF)
        sql.execute(_LOT_OF)
        if service == "catalog":
            for statement in _LOTS:
                sql.execute(statement.encode(), values)
        # In one transaction with TRUNCATE: see `Surroundings.filling`.
        with sql.transaction():
            sql.execute(f"TRUNCATE {', '.join(tables)} CASCADE".encode())
            for table, statement in tables.items():
                _insert(sql, table, statement, values)
            sql.execute(
                "UPDATE relay_state SET position = greatest(position,"
                " (SELECT max(position) FROM outbox))"
            )
        for table in tables:
            sql.execute(f"VACUUM (ANALYZE) {table}".encode())


def _insert(sql: Connection, table: str, statement: str, values: Mapping[str, Any]) -> None:
    # To build an index anew is ten times as fast as to add millions of entries to it.
    sql.execute(
        "UPDATE pg_index SET indisready = false, indisvalid = false WHERE indrelid = %s::regclass",
        [table],
    )
    sql.execute(statement.encode(), values)
    sql.execute(f"REINDEX TABLE {table}".encode())
