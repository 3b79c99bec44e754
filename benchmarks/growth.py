"""What an order costs with the history of years in the tables, and with many goods and stations.

Each stage adds finished orders (`benchmarks.history`), the last one variants and stations, to the
same system; then orders are placed as in `end_to_end`. Figures are compared with the same system
before any history. The statements that grew the most are shown as progress.

To fill five million orders takes ten minutes and 40 GB, so this stage is measured only when growth
is the only part: `python -m benchmarks --only growth`.
"""

import shutil
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from benchmarks import goods, history
from benchmarks.counts import STATEMENTS, Counting
from benchmarks.figures import Figure
from benchmarks.load import Load, Sent
from benchmarks.surroundings import Surroundings, System, processor_seconds
from services.orders.models.orders import UNPLANNED
from tests.support.processes import SERVICES
from tests.support.servers import wait_until

PART = "growth"
CLIENTS = 16
#: At the beginning.
VARIANTS, STATIONS = 31, 5
#: Seconds until everything that was placed must be planned and told.
PATIENCE = 600
#: Bytes of disk that a finished order takes in all databases.
ORDER_BYTES = 8_000
#: Statements that are shown, of those that grew the most.
SHOWN = 5


@dataclass(frozen=True)
class Stage:
    """What is in the tables; orders are finished ones."""

    orders: int
    variants: int = VARIANTS
    stations: int = STATIONS

    def __str__(self) -> str:
        """Return it as the figures' names have it."""
        if (self.variants, self.stations) == (VARIANTS, STATIONS):
            return f"{self.orders:,} orders"
        return f"{self.orders:,} orders, {self.variants:,} variants, {self.stations:,} stations"


NOTHING = Stage(0)
#: Finished orders of each stage; variants and stations of the last one.
QUICK, USUAL, ALONE = (10_000, 100_000), (10_000, 1_000_000), (10_000, 1_000_000, 5_000_000)
MANY = 10_000, 2_000


def measure(surroundings: Surroundings, *, quick: bool) -> list[Figure]:
    """Measure each stage, three phases each; one if `quick`, without many goods."""
    filled = QUICK if quick else ALONE if surroundings.alone else USUAL
    stages = [NOTHING, *map(Stage, filled)]
    if not quick:
        stages.append(Stage(filled[-1], *MANY))
    with surroundings.system(sample=False) as system, ExitStack() as stack:
        run = Run(surroundings, system, stack)
        figures: list[Figure] = []
        for stage in stages:
            if shutil.disk_usage(surroundings.postgres.folder).free < stage.orders * ORDER_BYTES:
                surroundings.say(f"growth: the disk has no room for {stage}")
                break
            surroundings.say(f"growth: {stage}")
            run.grow(stage)
            figures += run.measure(stage, quick)
    return figures


class Run:
    """The system that grows."""

    def __init__(self, surroundings: Surroundings, system: System, stack: ExitStack) -> None:
        self.surroundings, self.system = surroundings, system
        self.databases = {s: stack.enter_context(system.sql(s)) for s in SERVICES}
        self.stage = Stage(0, 0, 0)
        self.placed = 0
        #: Milliseconds an order of each statement, at the first stage.
        self.at_first: dict[str, float] | None = None

    def grow(self, stage: Stage) -> None:
        """Bring the tables from the last stage to this one."""
        before, self.stage = self.stage, stage
        began = time.monotonic()
        if (before.variants, before.stations) != (stage.variants, stage.stations):
            self.centre = goods.open_sites(self.system, stage.stations)
            self.variants = goods.list_variants(self.system, stage.variants)
            self._wait_until_known(stage)
        if before.orders != stage.orders:
            # No process may look for a row while the indexes are built.
            self.system.stop_all()
            history.fill(self.system.sql, self._past(), before.orders + 1, stage.orders)
            self.system.start()
        self.surroundings.say(f"  filled in {time.monotonic() - began:.0f} s")

    def measure(self, stage: Stage, quick: bool) -> list[Figure]:
        """Return the figures of a stage."""
        seconds = 3 if quick else 5
        self._place(seconds)  # connections, plans and caches are warm afterwards
        costs = []
        for _ in range(1 if quick else 3):
            pids = {**self.system.pids(), **self.surroundings.pids()}
            used = sum(processor_seconds(pids).values())
            sent = self._place(seconds)
            used = sum(processor_seconds(pids).values()) - used + sent.processor_seconds
            costs.append(used / sent.accepted * 1000)
        read = self._read_by_scans()
        with Counting(self.surroundings, self.system):
            sent = self._place(seconds)
            statements = self._statements(sent.accepted)
        scanned = (self._read_by_scans() - read) / sent.accepted
        figures = [
            self._figure("processor time per order until told", "ms", tuple(costs), "≤ 1.1 ×"),
            self._figure("rows read by sequential scans", "per order", (scanned,)),
        ]
        if statements:
            total = sum(statements.values())
            figures.append(self._figure("time of statements per order", "ms", (total,)))
            if self.at_first is None:
                self.at_first = statements
            else:
                self._say_what_grew(statements, self.at_first)
        return figures

    def _figure(
        self, name: str, unit: str, values: tuple[float, ...], aim: str | None = None
    ) -> Figure:
        if self.stage == NOTHING:
            return Figure(PART, f"{name}, {self.stage}", unit, values)
        return Figure(PART, f"{name}, {self.stage}", unit, values, f"{name}, {NOTHING}", aim)

    def _past(self) -> history.Goods:
        stations = "SELECT array_agg(id::text) FROM locations WHERE level = 'township'"
        return history.Goods(
            variants=[variant["variant_id"] for variant in self.variants],
            sites=self._one("catalog", stations),
            centre=self.centre,
            producer=self._one("catalog", "SELECT id::text FROM enterprises"),
        )

    def _wait_until_known(self, stage: Stage) -> None:
        """Wait until all services know the goods and the sites; the history is not counted."""
        asked = (
            ("orders", f"SELECT count(*) >= {stage.variants} FROM price_copies"),
            ("logistics", f"SELECT count(*) >= {stage.variants} FROM variants"),
            ("notifications", f"SELECT count(*) >= {stage.variants} FROM variant_copies"),
            ("orders", f"SELECT count(*) >= {stage.stations} FROM site_copies"),
            ("notifications", f"SELECT count(*) >= {stage.stations} FROM site_copies"),
        )
        wait_until(lambda: all(self._one(*each) for each in asked), 300, "all know the goods")

    def _place(self, seconds: float) -> Sent:
        """Place orders for `seconds`, and wait until all are told."""
        load = Load(
            url=self.system.urls["orders"],
            token=self.system.token,
            site_id=self.centre,
            variants=self.variants,
            clients=CLIENTS,
            seconds=seconds,
            first_buyer=self.placed,
        )
        sent = load.send()
        assert not sent.refused, sent.refused
        self.placed += sent.accepted
        # Ids grow with time (UUIDv7), and indexes find the new ones; to count all rows would cost
        # more than the orders.
        began = UUID(int=int(sent.began * 1000) << 80 | 7 << 76 | 2 << 62)
        shipments = f"SELECT count(*) = {sent.accepted} FROM shipments WHERE id >= '{began}'"
        messages = (
            f"SELECT count(*) = {sent.accepted} FROM messages"
            f" WHERE id >= '{began}' AND template IN ('order_confirmed', 'order_rejected')"
        )
        asked = (
            ("orders", f"SELECT NOT EXISTS (SELECT FROM orders WHERE {UNPLANNED})"),
            ("notifications", "SELECT NOT EXISTS (SELECT FROM messages WHERE due_at IS NOT NULL)"),
            ("logistics", shipments),
            ("notifications", messages),
        )
        wait_until(lambda: all(self._one(*each) for each in asked), PATIENCE, "all is told")
        return sent

    def _one(self, service: str, statement: str) -> Any:
        row = self.databases[service].execute(statement.encode()).fetchone()
        return row and row[0]

    def _read_by_scans(self) -> float:
        """Return how many rows sequential scans have read so far, in all databases."""
        total = "SELECT sum(seq_tup_read) FROM pg_stat_user_tables"
        return float(sum(self._one(service, total) for service in SERVICES))

    def _statements(self, orders: int) -> dict[str, float]:
        """Return milliseconds an order of each statement, if the server counts them."""
        with self.surroundings.sql() as sql:
            counted = sql.execute(
                "SELECT FROM pg_extension WHERE extname = %s", [STATEMENTS]
            ).fetchone()
            if counted is None:
                return {}
            rows = sql.execute(
                "SELECT query, sum(total_exec_time) FROM pg_stat_statements GROUP BY query"
            ).fetchall()
        return {str(query): float(milliseconds) / orders for query, milliseconds in rows}

    def _say_what_grew(self, statements: dict[str, float], before: dict[str, float]) -> None:
        grown = {query: ms - before.get(query, 0.0) for query, ms in statements.items()}
        for query in sorted(grown, key=lambda query: -grown[query])[:SHOWN]:
            said = " ".join(query.split())[:120]
            self.surroundings.say(f"  {grown[query]:+.3f} ms an order: {said}")
