"""A station's days, in any order of steps: an honest till is never disputed, nothing is sold twice.

The till here keeps only what it heard and what it did; it sells by that alone.
"""

from collections import Counter as Multiset
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.catalog.batch import CatalogBatch
from services.catalog.rules import WrongLotState
from services.catalog.use_cases.stations import allotment_grants, overdrafts
from services.catalog.use_cases.stock import lots, reconciliation
from shared.events import OrderPlaced, StationSaleRecorded
from shared.messaging.batch import transaction
from shared.runtime.database import Database
from shared.runtime.errors import Conflict
from shared.runtime.ids import new_id
from tests.support.chance import examples


@dataclass
class Counter:
    """A till as it sees itself: what it heard of one lot, what it sold, what it did not send."""

    till: Any
    lot: UUID
    heard: dict[str, Any] | None = None
    sold: int = 0
    unsent: list[dict[str, Any]] = field(default_factory=list)
    sent: list[dict[str, Any]] = field(default_factory=list)
    #: What came back, by sale: only so much may.
    back: Multiset[UUID] = field(default_factory=Multiset)
    #: Given back to the centre, and not yet in what was heard.
    on_its_way: int = 0

    def left(self) -> int:
        """Return what it may still sell, by all it knows."""
        if self.heard is None:
            return 0
        kept = self.heard["granted"] - self.heard["returned"] - self.heard["written_off"]
        return int(kept) - self.sold - self.on_its_way

    def call(self) -> None:
        """Hear what it may sell."""
        heard = self.till.contact().json["allotments"]
        self.heard = next((a for a in heard if a["lot_id"] == str(self.lot)), None)
        self.on_its_way = 0

    def sell(self, quantity: int) -> None:
        """Sell over the counter, if it may and has that much."""
        may = self.heard is not None and self.heard["status"] == "active"
        if may and quantity <= self.left():
            self.sold += quantity
            self.unsent.append(self.till.a_sale((self.lot, quantity)))

    def undo(self, quantity: int) -> None:
        """Take back some of the last sale that is out, sent or not."""
        for sale in reversed([*self.sent, *self.unsent]):
            out = sale["lines"][0]["quantity"] - self.back[sale["sale_id"]]
            if sale["kind"] == "sale" and out:
                self.back[sale["sale_id"]] += min(out, quantity)
                self.unsent.append(self.till.undoing(sale, min(out, quantity)))
                return

    def give_back(self, quantity: int) -> None:
        """Give some back to the centre."""
        if self.heard is not None and 0 < quantity <= self.left():
            name = (new_id(), self.heard["allotment_id"], quantity)
            answers = self.till.give_back(name, name)
            assert [answer["status"] for answer in answers] == ["accepted", "duplicate"]
            self.on_its_way += quantity

    def upload(self, deliver: Any, count: int) -> None:
        """Send so many entries, the newest sales first, and some of them twice.

        Orders tells of what undoes a sale only after the sale.
        """
        now = [entry for entry in self.unsent if entry["kind"] == "sale"][::-1][:count]
        known = {entry["sale_id"] for entry in [*self.sent, *now]}
        now += [entry for entry in self.unsent if entry["of_sale_id"] in known][:count]
        if now:
            deliver(StationSaleRecorded, _many=[*now, *now[:2], *self.sent[-1:]])
        self.sent += now
        self.unsent = [entry for entry in self.unsent if entry not in now]


KINDS = ("grant", "call", "sell", "upload", "undo", "give_back", "order", "hold", "release")
STEPS = st.lists(
    # Selling is what a till mostly does.
    st.tuples(st.sampled_from((*KINDS, "sell", "sell")), st.integers(0, 1), st.integers(1, 120)),
    min_size=8,
    max_size=40,
)


@given(steps=STEPS)
@settings(
    max_examples=examples(15),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_an_honest_till_is_never_disputed_and_the_books_balance_after_every_step(
    shop: Any, enrol: Any, deliver: Any, database: Database, steps: list[tuple[str, int, int]]
) -> None:
    variant = shop.add_variant(f"V-{new_id().hex}")
    lot = shop.add_lot(f"L-{new_id().hex}", 1000, variant=variant)
    counters = [Counter(enrol(), lot), Counter(enrol(), lot)]
    for counter in counters:
        for step in ("grant", "call"):
            take_step(shop, deliver, database, counter, step, 150)

    for step, which, quantity in steps:
        take_step(shop, deliver, database, counters[which], step, quantity)
        check_lot(database, variant)

    for counter in counters:
        counter.upload(deliver, 1000)
        counter.call()
        with database.readers() as reader:
            found = reader.scalars(overdrafts.select_overdrafts(device_id=counter.till.device_id))
            assert found.all() == []
        if counter.heard is not None:
            # Everything is uploaded: both know the same.
            assert counter.heard["sold"] == counter.sold
            assert counter.left() >= 0
    check_lot(database, variant)


def check_lot(database: Database, variant: UUID) -> None:
    """Check that the books balance, and that no more of the variant went than came."""
    with database.readers() as reader:
        found = reconciliation.reconcile(reader)
        assert found.differences == []
        (sums,) = [each for each in found.variants if each.variant_id == variant]
    assert sums.balanced
    assert sums.flows["consumed"] - sums.flows["restocked"] <= sums.flows["received"]


def take_step(
    shop: Any, deliver: Any, database: Database, counter: Counter, step: str, quantity: int
) -> None:
    """Let something happen; what the present state forbids is refused."""
    match step:
        case "grant":
            with suppress(Conflict), transaction(database, CatalogBatch) as batch:
                allotment_grants.grant_lot(
                    batch, counter.till.device_id, counter.lot, quantity, "op"
                )
        case "call":
            counter.call()
        case "sell":
            counter.sell(quantity)
        case "upload":
            counter.upload(deliver, quantity // 20)
        case "undo":
            counter.undo(quantity)
        case "give_back":
            counter.give_back(quantity)
        case "order":
            with database.readers() as reader:
                variant = reader.get_one(lots.Lot, counter.lot).variant_id
            line = {"line_no": 1, "variant_id": variant, "quantity": quantity}
            deliver(OrderPlaced, **shop.an_order(lines=[line | {"line_total_fen": 1}]))
        case "hold" | "release":
            with suppress(WrongLotState), transaction(database, CatalogBatch) as batch:
                if step == "hold":
                    lots.hold_lot(batch, counter.lot, "霉", "op")
                else:
                    lots.release_lot(batch, counter.lot, "op")
