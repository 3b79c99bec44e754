"""Stations sell while disconnected, whatever happens: a model plays against the real services.

Real applications and handlers of catalog, orders and logistics, on SQLite, with simulated tills
and a bus in the test's hand. After every step the books balance (domain.md, section 4) and are
what `Ought` says. When everything has been sent and handled, the disputed sales are exactly the
forged ones: those of a restored or cloned device, and those of goods that an operator had taken
from the device before it heard of it.

    make soak-stations ROUNDS=2000 SEED=7      more of it, and elsewhere
"""

import os
from collections import Counter
from functools import partial
from typing import Any

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test

from tests.stations.books import check_books
from tests.stations.model.chance import CHANCES, Chance
from tests.stations.model.home import ComingHome
from tests.stations.model.machines import WithMachines
from tests.stations.model.online import Online
from tests.stations.model.story import Machine
from tests.stations.ought import Quota, plain
from tests.support.chance import examples

#: Stories, and steps of each; where chance begins. Fewer stories would not tell of all that the
#: test wants to have happened.
ROUNDS = int(os.environ.get("SOAK_ROUNDS", max(6, examples(10))))
STEPS = int(os.environ.get("SOAK_STEPS", "30"))
SEED = int(os.environ.get("SOAK_SEED", "1"))

#: A failure is made smaller before it is shown, which takes minutes; SOAK_SHRINK=0 leaves that.
PHASES = [Phase.generate, *([Phase.shrink] * (os.environ.get("SOAK_SHRINK", "1") == "1"))]

#: What happens beside each step.
MEANWHILE = (
    *("work",) * 4,
    *("reach",) * 3,
    *("pass_on", "pass_on", "operate", "operate", "buy", "change_machines"),
)


class Stories(WithMachines, Online, ComingHome):
    """Stories of stations that sell while disconnected, in any order of what can happen."""

    @initialize()
    def begin(self) -> None:
        self.centre.reset()
        self.clock.ahead *= 0
        self.machines = [Machine(self._till(store)) for store in self.shop.stores]
        for lot_id in self.shop.lot_ids:
            self._receive(lot_id, self.shop.centre_id, 100)
        for machine, lot_id in zip(self.machines, self.shop.lot_ids, strict=True):
            self._grant(machine, lot_id, 30)
            self._try(machine, "none", machine.till.contact)
            self._try(machine, "none", lambda m=machine: m.till.open_shift(0, "营业员"))

    @rule(chance=CHANCES)
    def at_the_counter(self, chance: Chance) -> None:
        self._happens("work", chance)

    @rule(chance=CHANCES)
    def to_the_centre(self, chance: Chance) -> None:
        self._happens("reach", chance)

    @rule(chance=CHANCES)
    def on_the_bus(self, chance: Chance) -> None:
        self._happens("pass_on", chance)

    @rule(chance=CHANCES)
    def at_the_desk(self, chance: Chance) -> None:
        self._happens("operate", chance)

    @rule(chance=CHANCES)
    def to_machines(self, chance: Chance) -> None:
        self._happens("change_machines", chance)

    @rule(chance=CHANCES)
    def online(self, chance: Chance) -> None:
        self._happens("buy", chance)

    @rule(chance=CHANCES)
    def all_come_home(self, chance: Chance) -> None:
        if chance.random() < 0.3:
            self._come_home()

    def _happens(self, what: str, chance: Chance) -> None:
        """Let something happen, and something else beside it.

        Hypothesis tells many stories of few rules; with this all of them are told of.
        """
        for each in (what, *chance.some(MEANWHILE, 0, 2)):
            getattr(self, f"_{each}")(chance)

    # --- What holds after every step ----------------------------------------------------------

    @invariant()
    def the_books_balance(self) -> None:
        self.steps += 1
        lots = [plain(lot_id) for lot_id in self.shop.lot_ids]
        check_books(self.centre, lots, self.ought.flows)

    @invariant()
    def quotas_are_what_they_ought_to_be(self) -> None:
        rows = self.centre.rows(
            "catalog",
            "SELECT device_id, epoch, lot_id, granted, sold, returned, written_off, "
            "remaining FROM allotments",
        )
        held = {
            (row.device_id, row.epoch, row.lot_id): (
                Quota(row.granted, row.sold, row.returned, row.written_off),
                row.remaining,
            )
            for row in rows
        }
        ought = {which: (q, q.remaining) for which, q in self.ought.quotas.items()}
        assert held == ought

    @invariant()
    def an_honest_device_never_thinks_it_has_more_than_the_centre(self) -> None:
        for machine in self.machines:
            for allotment_id, here in machine.till.store.remaining().items():
                allotment = machine.till.store.allotments[allotment_id]
                which = (*machine.key, plain(allotment.lot_id))
                if machine.key not in self.forged | self.taken_away:
                    assert here <= self.ought.quotas[which].remaining

    @invariant()
    def nothing_is_parked(self) -> None:
        for service in self.centre.apps:
            rows = self.centre.rows(service, "SELECT type, reason, error FROM parked_events")
            assert not rows, rows

    # --- And when all have come home ----------------------------------------------------------

    def teardown(self) -> None:
        if self.machines:
            self._come_home()
            self._count()

    def _count(self) -> None:
        """Note what this story was about."""
        self.told["stories"] += 1
        self.told["steps"] += self.steps
        for copies in self.ought.copies.values():
            self.told["entries"] += len(copies)
            for copy in copies:
                self.told[f"{copy.kind} {copy.status} {copy.reason or ''}".strip()] += 1
        for sale in self.ought.sales.values():
            self.told[f"sale disputed: {sale.reason}"] += sale.reason is not None
        for quota in self.ought.quotas.values():
            for name, quantity in vars(quota).items():
                self.told[name] += quantity
        for row in self.centre.rows(
            "catalog", "SELECT status, count(*) AS n FROM reservations GROUP BY status"
        ):
            self.told[f"reservation {row.status}"] += row.n
        self.told["forged epochs"] += len(self.forged)


def test_no_gram_is_sold_twice_whatever_happens_to_stations(
    centre: Any, shop: Any, movable_clock: Any
) -> None:
    """Slow: random stories, each step checked on a real database."""
    told: Counter[str] = Counter()

    run_state_machine_as_test(
        seed(SEED)(partial(Stories, centre, shop, movable_clock, told)),
        settings=settings(
            max_examples=ROUNDS,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            report_multiple_bugs=False,
            phases=PHASES,
            suppress_health_check=list(HealthCheck),
        ),
    )
    # A model that tells of nothing proves nothing.
    for happened in ("sale disputed: beyond_grant", "sale disputed: other_content"):
        assert told[happened] > 0, told
    assert told["sold"] > 0 < told["void accepted"] + told["return accepted"], told
