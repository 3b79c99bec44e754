"""What an order costs with the history of years in the tables, and with many goods and stations.

Each stage has more finished orders (`benchmarks.history`), the last one variants and stations, in
the same system; then orders are placed as in `end_to_end`. Figures are compared with the same
system before any history. The statements that grew the most are shown as progress.

To fill five million orders takes ten minutes and 40 GB, so this stage is measured only when growth
is the only part: `python -m benchmarks --only growth`.
"""

import shutil
import time
from dataclasses import dataclass

from benchmarks import goods, history
from benchmarks.counts import STATEMENTS, Counting
from benchmarks.figures import Figure
from benchmarks.load import Sent
from benchmarks.placing import Buyers
from benchmarks.surroundings import Surroundings, System, processor_seconds
from tests.support.processes import SERVICES
from tests.support.servers import wait_until

PART = "growth"
#: At the beginning.
VARIANTS, STATIONS = 31, 5
#: Bytes of disk that a finished order takes in all databases; and of what sorts its indexes.
ORDER_BYTES, SORT_BYTES = 6_500, 500
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
QUICK, USUAL, ALONE = (100_000,), (10_000, 1_000_000), (10_000, 1_000_000, 5_000_000)
MANY = 10_000, 2_000


def measure(surroundings: Surroundings, *, quick: bool) -> list[Figure]:
    """Measure each stage, three phases each; one if `quick`, without many goods."""
    filled = QUICK if quick else ALONE if surroundings.alone else USUAL
    stages = [NOTHING, *map(Stage, filled)]
    if not quick:
        stages.append(Stage(filled[-1], *MANY))
    with surroundings.system(sample=False) as system:
        run = Run(surroundings, system)
        figures: list[Figure] = []
        for stage in stages:
            needed = (stage.orders - run.stage.orders) * ORDER_BYTES + stage.orders * SORT_BYTES
            if shutil.disk_usage(surroundings.postgres.folder).free < needed:
                surroundings.say(f"growth: the disk has no room for {stage}")
                break
            surroundings.say(f"growth: {stage}")
            run.grow(stage)
            figures += run.measure(stage, quick)
    return figures


class Run:
    """The system that grows."""

    def __init__(self, surroundings: Surroundings, system: System) -> None:
        self.surroundings, self.system = surroundings, system
        self.stage = Stage(0, 0, 0)
        self.buyers = Buyers(system, "", [])
        #: Milliseconds an order of each statement, at the first stage.
        self.at_first: dict[str, float] | None = None

    def grow(self, stage: Stage) -> None:
        """Bring the tables from the last stage to this one."""
        before, self.stage = self.stage, stage
        began = time.monotonic()
        if (before.variants, before.stations) != (stage.variants, stage.stations):
            centre = goods.open_sites(self.system, stage.stations)
            variants = goods.list_variants(self.system, stage.variants)
            self.buyers = Buyers(self.system, centre, variants, self.buyers.placed)
            self._wait_until_known(stage)
        if before.orders != stage.orders:
            past = self._past()
            # No process may look for a row while the indexes are built.
            self.system.stop_all()
            with self.surroundings.filling():
                history.fill(self.system.sql, past, stage.orders)
            self.system.start()
        self.surroundings.say(f"  filled in {time.monotonic() - began:.0f} s")

    def measure(self, stage: Stage, quick: bool) -> list[Figure]:
        """Return the figures of a stage."""
        seconds = 3 if quick else 5
        with self.buyers:
            self._place(seconds)  # connections and caches are warm afterwards
            # As autovacuum would soon: statistics of tables that had no open order mislead.
            for service in SERVICES:
                with self.system.sql(service) as sql:
                    sql.execute("ANALYZE")
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
        with self.buyers:
            ((sites,),) = self.buyers.rows("catalog", stations)
            ((producer,),) = self.buyers.rows("catalog", "SELECT id::text FROM enterprises")
        return history.Goods(
            variants=[variant["variant_id"] for variant in self.buyers.variants],
            sites=sites,
            centre=self.buyers.site_id,
            producer=producer,
        )

    def _wait_until_known(self, stage: Stage) -> None:
        """Wait until all services know the goods and the sites; events of history are not told."""
        asked = (
            ("orders", "price_copies", stage.variants),
            ("logistics", "variants", stage.variants),
            ("notifications", "variant_copies", stage.variants),
            ("orders", "site_copies", stage.stations),
            ("notifications", "site_copies", stage.stations),
        )
        with self.buyers:
            wait_until(
                lambda: all(
                    self.buyers.rows(service, f"SELECT count(*) >= {rows} FROM {table}")[0][0]
                    for service, table, rows in asked
                ),
                300,
                "all know the goods",
            )

    def _place(self, seconds: float) -> Sent:
        """Place orders for `seconds`, and wait until all are told."""
        sent = self.buyers.place(seconds)
        assert not sent.refused, sent.refused
        self.buyers.wait_until_told(sent)
        return sent

    def _read_by_scans(self) -> float:
        """Return how many rows sequential scans have read so far, in all databases."""
        total = "SELECT sum(seq_tup_read)::float8 FROM pg_stat_user_tables"
        return sum(float(self.buyers.rows(service, total)[0][0]) for service in SERVICES)

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
