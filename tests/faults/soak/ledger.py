"""What was acknowledged against what is there, read from the four databases.

In Jepsen's manner each acknowledged operation is kept, lost or doubled, and what is there
without anybody's asking is unexpected. Every event is compared with the effects that its
consumers noted in the transaction of the effect.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from farmgate.services import service_of
from tests.faults.soak.bench import Bench
from tests.faults.soak.load import Load, Said
from tests.support.processes import SERVICES

#: Differences of one kind that are told in words.
TOLD = 5
#: States of orders that have no goods.
WITHOUT_GOODS = ("placed", "rejected", "expired", "cancelled")


@dataclass
class Tally:
    """How many of one kind of operation were kept, and what became of the others."""

    kept: int = 0
    lost: int = 0
    doubled: int = 0
    unexpected: int = 0


@dataclass
class Ledger:
    """What the bench found in the end."""

    operations: dict[str, Tally] = field(default_factory=dict)
    #: Event effects: subjects whose events took effect in another order.
    out_of_order: int = 0
    #: The same, where the broker had lost what it had confirmed and it was said again later.
    late_after_loss: int = 0
    oversold: int = 0
    #: Holes in the numbers of published events.
    gaps: int = 0
    #: In words, a few of each.
    wrong: list[str] = field(default_factory=list)
    verified: dict[str, Any] = field(default_factory=dict)

    @property
    def is_clean(self) -> bool:
        """Whether everything that was promised was kept."""
        whole = all(
            not (each.lost or each.doubled or each.unexpected) for each in self.operations.values()
        )
        return whole and not (self.out_of_order or self.oversold or self.gaps or self.wrong)

    def of(self, kind: str) -> Tally:
        """Return the tally of one kind of operation."""
        return self.operations.setdefault(kind, Tally())


def read(bench: Bench, load: Load, scarce_variant: str) -> Ledger:
    """Compare everything; the faults are healed and the system has nothing left to do."""
    ledger = Ledger()
    _orders(bench, load.said, ledger)
    _payments(bench, load.said, ledger)
    _stations(bench, load, ledger)
    _events(bench, ledger)
    _oversold(bench, scarce_variant, ledger)
    ledger.wrong += _few(load.said.wrong)
    return ledger


def _few(sentences: list[str]) -> list[str]:
    more = len(sentences) - TOLD
    return sentences[:TOLD] + ([f"… and {more} more like these"] if more > 0 else [])


def _orders(bench: Bench, said: Said, ledger: Ledger) -> None:
    with bench.database("orders") as connection:
        rows = connection.execute(
            "SELECT buyer_id, id::text, state FROM orders WHERE buyer_id LIKE 'soak-%'"
        ).fetchall()
    found: defaultdict[str, list[str]] = defaultdict(list)
    states = {}
    for buyer, order_id, state in rows:
        found[buyer].append(order_id)
        states[order_id] = state
    tally, wrong = ledger.of("orders"), []
    for buyer, order_id in said.orders.items():
        there = found.pop(buyer, [])
        tally.kept += order_id in there
        if order_id is not None and order_id not in there:
            tally.lost += 1
            wrong.append(f"order {order_id} was acknowledged and is not there")
        if len(there) > 1:
            tally.doubled += 1
            wrong.append(f"{buyer} ordered once and has {len(there)} orders")
    tally.unexpected += len(found)
    wrong += [f"order {each} is not decided" for each in states if states[each] == "placed"]
    cancels = ledger.of("cancellations")
    for order_id in said.cancelled:
        if states.get(order_id) in ("cancelled", "rejected", "expired"):
            cancels.kept += 1
        else:
            cancels.lost += 1
            wrong.append(f"order {order_id} was cancelled and is {states.get(order_id)}")
    ledger.wrong += _few(wrong)


def _payments(bench: Bench, said: Said, ledger: Ledger) -> None:
    with bench.database("orders") as connection:
        rows = connection.execute(
            "SELECT payment_ref, order_id::text, status FROM payments "
            "WHERE payment_ref LIKE 'soak-%'"
        ).fetchall()
        wrong_sums = connection.execute(
            "SELECT o.order_ref FROM orders o WHERE o.payment_method = 'prepaid' AND "
            "o.paid_fen <> (SELECT coalesce(sum(amount_fen), 0) FROM payments p "
            "WHERE p.order_id = o.id AND p.status = 'paid')"
        ).fetchall()
    there = Counter(reference for reference, *_ in rows)
    facts = {reference: (order_id, status) for reference, order_id, status in rows}
    tally = ledger.of("payments")
    for reference, fact in said.payments.items():
        tally.kept += facts.get(reference) == fact
        tally.lost += facts.get(reference) != fact
        tally.doubled += there[reference] > 1
    tally.unexpected += len(there.keys() - said.payments.keys() - said.unsure_payments)
    ledger.wrong += _few([f"{ref}: paid is not the sum of its payments" for (ref,) in wrong_sums])


def _stations(bench: Bench, load: Load, ledger: Ledger) -> None:
    with bench.database("orders") as connection:
        rows = connection.execute(
            "SELECT device_id::text, epoch, number, count(*), max(copy) FROM till_entries "
            "GROUP BY 1, 2, 3"
        ).fetchall()
    there = {(device, epoch, number): (count, copy) for device, epoch, number, count, copy in rows}
    tally = ledger.of("station entries")
    for clerk in load.clerks:
        store = clerk.till.store
        for number in store.journal:
            count, _ = there.pop((clerk.desk.device_id, store.epoch, number), (0, 0))
            tally.kept += count == 1
            tally.lost += count == 0
            tally.doubled += count > 1
    tally.unexpected += len(there)


def _events(bench: Bench, ledger: Ledger) -> None:
    """Every event of every service: published, and once and in order at each of its consumers."""
    handlers = {
        name: {contract.routing_key for contract in service_of(name).subscriptions}
        for name in SERVICES
    }
    said: dict[str, list[tuple[str, str, str, int]]] = {}
    done: dict[str, list[tuple[str, str, str, int, float]]] = {}
    apart: dict[str, set[str]] = {}
    for name in SERVICES:
        with bench.database(name) as connection:
            said[name] = connection.execute(
                "SELECT event_id::text, type, subject, sequence FROM outbox ORDER BY id"
            ).fetchall()  # type: ignore[assignment]
            done[name] = connection.execute(
                "SELECT event_id::text, type, subject, sequence, at FROM soak_effects ORDER BY id"
            ).fetchall()  # type: ignore[assignment]
            count, last, waiting = connection.execute(
                "SELECT count(position), coalesce(max(position), 0), "
                "count(*) FILTER (WHERE position IS NULL) FROM outbox"
            ).fetchone() or (0, 0, 0)
            apart[name] = {
                row[0] for row in connection.execute("SELECT event_id::text FROM parked_events")
            }
        ledger.gaps += last - count
        if waiting:
            ledger.wrong.append(f"{name} has {waiting} events that were not published")
    with bench.database("orders") as connection:
        orders = {row[0] for row in connection.execute("SELECT id::text FROM orders")}
    tally, wrong = ledger.of("effects of events"), []
    told = [row for name in SERVICES for row in said[name]]
    known = {event_id for event_id, *_ in told}
    for consumer in SERVICES:
        effects = Counter(event_id for event_id, *_ in done[consumer])
        for event_id, type_, subject, sequence in told:
            if type_ not in handlers[consumer]:
                continue
            count = effects.pop(event_id, 0)
            tally.kept += count == 1
            tally.doubled += count > 1
            if count == 0:
                tally.lost += 1
                place = "is parked" if event_id in apart[consumer] else "is nowhere"
                wrong.append(f"{type_} of {subject} ({sequence}) at {consumer}: {place}")
            elif count > 1:
                wrong.append(f"{type_} of {subject} ({sequence}) at {consumer}: {count} times")
        tally.unexpected += sum(event_id not in known for event_id in effects)
        for (publisher, subject), moments in _disorders(done[consumer]).items():
            if all(any(a <= at <= b for a, b in bench.losses) for at in moments):
                ledger.late_after_loss += 1
            else:
                ledger.out_of_order += 1
                wrong.append(
                    f"{consumer}: {publisher}'s {subject} out of order at {moments}; what was lost "
                    f"was said again by {[round(end, 1) for _, end in bench.losses]}"
                )
    ghosts = [
        subject for _, _, subject, _ in said["orders"]
        if subject.startswith("order/") and subject.removeprefix("order/") not in orders
    ]  # fmt: skip
    tally.unexpected += len(ghosts)
    wrong += [f"{subject} has events and does not exist" for subject in ghosts]
    ledger.wrong += _few(wrong)


def _disorders(
    effects: list[tuple[str, str, str, int, float]],
) -> dict[tuple[str, str], list[float]]:
    """Return, per subject of one publisher that was out of order, when a late event came."""
    highest: dict[tuple[str, str], int] = {}
    late: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    seen = set()
    for event_id, type_, subject, sequence, at in effects:
        if event_id in seen:
            continue
        seen.add(event_id)
        of = type_.partition(".")[0], subject
        if sequence < highest.get(of, 0):
            late[of].append(at)
        highest[of] = max(sequence, highest.get(of, 0))
    return dict(late)


def _oversold(bench: Bench, variant_id: str, ledger: Ledger) -> None:
    """Of what was scarce: orders that have goods against goods that ever came."""
    with bench.database("catalog") as connection:
        (came,) = connection.execute(
            "SELECT coalesce(sum(quantity), 0) FROM stock_movements WHERE "
            "from_bucket IN ('received', 'found') AND "
            "lot_id IN (SELECT id FROM lots WHERE variant_id = %s)",
            (variant_id,),
        ).fetchone() or (0,)
        below = connection.execute("SELECT count(*) FROM stock_levels WHERE available < 0")
        ledger.oversold += (below.fetchone() or (0,))[0]
    with bench.database("orders") as connection:
        (sold,) = connection.execute(
            "SELECT coalesce(sum(l.quantity), 0) FROM order_lines l JOIN orders o "
            "ON o.id = l.order_id WHERE l.variant_id = %s AND o.state <> ALL(%s)",
            (variant_id, list(WITHOUT_GOODS)),
        ).fetchone() or (0,)
    if sold > came:
        ledger.oversold += 1
        ledger.wrong.append(f"of the scarce goods {came} came and {sold} are sold")
