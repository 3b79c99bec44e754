"""Orders from HTTP until they are reserved, confirmed, planned and told, on the real thing.

PostgreSQL (fsync on), RabbitMQ, the eight processes and the buyers share this machine. An order
is *planned* when its shipment is planned and its messages are queued, and *told* when these are
sent. Processor time is that of all processes, the buyers' too, from the first order of a phase
until its last one is planned or told.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Any

from benchmarks.counts import Counting
from benchmarks.figures import Figure
from benchmarks.load import Sent
from benchmarks.placing import Buyers
from benchmarks.surroundings import Surroundings, System, memory_mib, processor_seconds

PART = "end_to_end"
#: Orders a second at which a county's busiest hour would be quiet.
CALM = 50
#: Packs that each variant gets besides its own stock, so that no order is refused.
PACKS = 1_000_000

BARE_TIME, BARE_RATE = "limits: bare pipeline, processor time", "limits: bare pipeline, orders"
TOLD, PLANNED = "processor time per order until told", "processor time per order until planned"
#: Beginning of the names of the parts of `TOLD`, which add up to it.
OF = "… of "


@dataclass(frozen=True)
class Kind:
    """What is known of a figure before it is measured."""

    unit: str
    limit: str | None = None
    aim: str | None = None


KINDS = {
    "orders placed over HTTP": Kind("/s"),
    "orders planned": Kind("/s", BARE_RATE, "≥ 350"),
    PLANNED: Kind("ms", BARE_TIME),
    TOLD: Kind("ms", BARE_TIME, "≤ 5.5; ≤ 2 ×"),
    "place → confirmed at full load, p50": Kind("ms"),
    "place → confirmed at full load, p99": Kind("ms"),
    "place → confirmed at half load, p50": Kind("ms"),
    "place → confirmed at half load, p99": Kind("ms"),
    f"place → confirmed at {CALM}/s, p50": Kind("ms", aim="< 60"),
    f"place → confirmed at {CALM}/s, p99": Kind("ms", aim="< 150"),
    f"processor time per order at {CALM}/s, until told": Kind("ms", TOLD, "≤ 12"),
    "processor time at rest": Kind("ms/s"),
    "memory of the eight processes at rest": Kind("MiB", aim="< 450"),
    "memory of the eight processes after full load": Kind("MiB"),
}


def measure(surroundings: Surroundings, *, quick: bool) -> list[Figure]:
    """Measure this checkout, and in alternation with it the one to compare with."""
    checkouts: dict[str, Path | None] = {PART: None}
    if surroundings.against is not None:
        checkouts[f"{PART} of {surroundings.against.name}"] = surroundings.against
    found: dict[tuple[str, str], list[float]] = {}
    for run in range(1 if quick else 3):
        for part, checkout in checkouts.items():
            surroundings.say(f"{part}, run {run + 1}: starting")
            with surroundings.system(checkout) as system:
                values = Run(surroundings, system, quick).measure()
            for name, value in values.items():
                found.setdefault((part, name), []).append(value)
    figures = []
    for (part, name), each in found.items():
        kind = KINDS.get(name) or Kind("ms" if name.startswith(OF) else "per order")
        figures.append(Figure(part, name, kind.unit, tuple(each), kind.limit, kind.aim))
    return figures


@dataclass(frozen=True)
class Phase:
    """Orders that were placed in one go, and the processor seconds of each process until then."""

    sent: Sent
    planned_seconds: float
    planned: Mapping[str, float]
    told: Mapping[str, float]

    @property
    def planned_rate(self) -> float:
        """Orders a second, from the first one placed to the last one planned."""
        return self.sent.accepted / self.planned_seconds

    def per_order(self, seconds: Mapping[str, float]) -> float:
        """Return processor time per order in milliseconds."""
        return sum(seconds.values()) / self.sent.accepted * 1000


class Run:
    """One run on a new system with the sample."""

    def __init__(self, surroundings: Surroundings, system: System, quick: bool) -> None:
        self.surroundings, self.system, self.quick = surroundings, system, quick
        self.say = surroundings.say
        self.pids = system.pids() | surroundings.pids()
        # Prices, sites and contacts have reached the services that keep a copy of them.
        system.wait_until_quiet()
        self.buyers = Buyers(system, *_goods(system))
        system.wait_until_quiet()

    def measure(self) -> dict[str, float]:
        """Return all figures by name, in the order of the table."""
        found: dict[str, float] = {}
        with self.buyers:
            at_rest = self._at_rest()
            self.phase("warm up", 3)  # connections, plans and caches are warm afterwards
            full = self.phase("full load", 20 if self.quick else 60)
            found["orders placed over HTTP"] = full.sent.accepted / full.sent.seconds
            found["orders planned"] = full.planned_rate
            found[PLANNED], found[TOLD] = full.per_order(full.planned), full.per_order(full.told)
            found |= {
                f"{OF}{name}": seconds / full.sent.accepted * 1000
                for name, seconds in full.told.items()
            }
            found |= self._decided("full load", full)
            memory = memory_mib(self.system.pids())
            found["memory of the eight processes after full load"] = sum(memory.values())
            half = self.phase("half load", 10 if self.quick else 20, full.planned_rate / 2)
            found |= self._decided("half load", half)
            calm = self.phase(f"{CALM}/s", 10 if self.quick else 20, CALM)
            found |= self._decided(f"{CALM}/s", calm)
            found[f"processor time per order at {CALM}/s, until told"] = calm.per_order(calm.told)
            found |= self._counts()
            found |= self._messages()
        return found | at_rest

    def phase(self, name: str, seconds: float, rate: float | None = None) -> Phase:
        """Place orders for `seconds`, and wait until all are told."""
        before = processor_seconds(self.pids)
        sent = self.buyers.place(seconds, rate)
        self.buyers.wait_until_planned(sent)
        planned_seconds, planned = time.time() - sent.began, self._since(before, sent)
        self.buyers.wait_until_told(sent)
        done = Phase(sent, planned_seconds, planned, self._since(before, sent))
        self.say(
            f"  {name}: {sent.accepted / sent.seconds:.0f} orders/s placed, "
            f"{done.planned_rate:.0f}/s planned, {done.per_order(done.told):.2f} ms an order"
            + (f", refused {dict(sent.refused)}" if sent.refused else "")
        )
        return done

    def _since(self, before: Mapping[str, float], sent: Sent) -> dict[str, float]:
        now = processor_seconds(self.pids)
        used = {name: now[name] - before[name] for name in now}
        return used | {"buyers": sent.processor_seconds}

    def _at_rest(self) -> dict[str, float]:
        seconds = 3 if self.quick else 10
        before = sum(processor_seconds(self.pids).values())
        time.sleep(seconds)
        used = sum(processor_seconds(self.pids).values()) - before
        return {
            "processor time at rest": used / seconds * 1000,
            "memory of the eight processes at rest": sum(memory_mib(self.system.pids()).values()),
        }

    def _decided(self, name: str, phase: Phase) -> dict[str, float]:
        """Return how long catalog's answer took, by the clocks of the rows."""
        rows = self.buyers.rows(
            "orders",
            "SELECT extract(epoch FROM decided_at - placed_at)::float8 * 1000 FROM orders "
            "WHERE placed_at >= to_timestamp(%s)",
            phase.sent.began,
        )
        cuts = quantiles((row[0] for row in rows), n=100)
        return {
            f"place → confirmed at {name}, p50": cuts[49],
            f"place → confirmed at {name}, p99": cuts[98],
        }

    def _counts(self) -> dict[str, float]:
        """Return what an order needs of the database, at full load.

        In a phase of its own, because counting has its own cost.
        """
        with Counting(self.surroundings, self.system) as counting:
            phase = self.phase("counted", 5)
            return {name: count / phase.sent.accepted for name, count in counting.counts().items()}

    def _messages(self) -> dict[str, float]:
        """Return how many messages people got: none may be suppressed by a limit."""
        rows = self.buyers.rows(
            "notifications",
            "SELECT status, reason, count(*) FROM messages GROUP BY 1, 2 ORDER BY 3 DESC",
        )
        by_state = {(status, reason): int(count) for status, reason, count in rows}
        states = (
            f"{count} {status}{f' ({reason})' if reason else ''}"
            for (status, reason), count in by_state.items()
        )
        self.say(f"  messages: {', '.join(states)}")
        sent = sum(count for (status, _), count in by_state.items() if status == "sent")
        return {
            "messages sent": sent / self.buyers.placed,
            "messages not sent": (sum(by_state.values()) - sent) / self.buyers.placed,
        }


def _goods(system: System) -> tuple[str, list[dict[str, Any]]]:
    """Return the centre's id and the variants that keep, each with more stock than is ordered."""
    operator = system.operator
    centre: str = next(
        site["site_id"]
        for site in operator.pages("logistics", "/sites")
        if site["level"] == "centre"
    )
    lots = {lot["variant_id"]: lot for lot in operator.pages("catalog", "/lots", status="released")}
    variants = [
        {name: variant[name] for name in ("variant_id", "pack_quantity")}
        for product in operator.pages("catalog", "/products", status="listed")
        for variant in product["variants"]
        if not product["perishable"] and variant["variant_id"] in lots
    ]
    for variant in variants:
        operator.post(
            "catalog",
            "/stock/receipts",
            {
                "lot_id": lots[variant["variant_id"]]["lot_id"],
                "location_id": centre,
                "quantity": PACKS * variant["pack_quantity"],
            },
        )
    return centre, variants
