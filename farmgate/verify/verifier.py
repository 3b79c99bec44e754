"""Compare the services' data; compare differences again until none is left or the time is over."""

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from time import monotonic
from typing import Any

from farmgate.client import Client
from farmgate.services import NAMES
from farmgate.verify import reader
from farmgate.verify.reader import KINDS, Kind, Reader
from farmgate.verify.rules import (
    Difference,
    OrderSides,
    SaleSides,
    ServiceRecord,
    merge_reports,
    order_differences,
    sale_differences,
)
from shared.runtime.backoff import pause_after

#: Seconds between comparisons of differences: the first time, and at most.
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 4.0
#: Seconds a service may take to compare its own rows: it reads them all.
OWN_SECONDS = 600
#: What to do about a difference between a service's own rows.
OWN_TODO = (
    "Its rows disagree with each other: find out whether they were changed by hand, or a backup "
    "was partly restored. Nothing repairs them automatically."
)

Facts = Mapping[Kind, Mapping[str, ServiceRecord]]


@dataclass
class Result:
    """The result of a comparison."""

    #: Kind of record, such as `orders: station sales`, → number of compared records.
    checked: dict[str, int] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    #: Differences that were gone at a later comparison.
    vanished: int = 0
    #: Service → its waiting events from its readiness report; filled if there are differences.
    waiting: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def agrees(self) -> bool:
        """Whether nothing differs."""
        return not self.differences

    def as_json(self) -> dict[str, Any]:
        """Return the result as the JSON of `farmgate verify --json`."""
        return {"agrees": self.agrees} | asdict(self)


class Verifier:
    """Compares the services behind one client."""

    def __init__(
        self, client: Client, progress: Callable[[str, int], None] = lambda what, count: None
    ) -> None:
        self._client = client
        self._progress = progress
        self._reader = Reader(client)
        #: Service → its own report, as it last answered.
        self._reports: dict[str, dict[str, Any]] = {}

    def run(self, patience: float) -> Result:
        """Compare everything; compare differences again for up to `patience` seconds."""
        result = Result()
        orders, sales = self._compare_all(result.checked)
        own = self._ask_services(NAMES)
        first = {*orders, *sales}
        deadline, repeats = monotonic() + patience, 0
        while (orders or sales or any(own.values())) and monotonic() < deadline:
            self._progress("comparing again", 0)
            repeats += 1
            pause = pause_after(repeats, FIRST_PAUSE, LONGEST_PAUSE)
            threading.Event().wait(min(pause, max(0.0, deadline - monotonic())))
            orders, sales = self._orders_again(orders), self._sales_again(sales)
            # All services, since an event may have arrived that opened a dispute.
            own = self._ask_services(NAMES)
        result.differences = [
            *(
                difference
                for found in (orders, sales)
                for each in found.values()
                for difference in each
            ),
            *merge_reports(difference for found in own.values() for difference in found),
        ]
        result.vanished = len(first - {*orders, *sales})
        for name in NAMES:
            report = self._reports[name]
            for what, count in report["checked"].items():
                result.checked[f"{name}: own {what.replace('_', ' ')}"] = count
            result.notes += [f"{name}: {note}" for note in report["notes"]]
        if result.differences:
            result.waiting = {name: self._waiting(name) for name in NAMES}
        return result

    def _compare_all(
        self, checked: dict[str, int]
    ) -> tuple[dict[str, list[Difference]], dict[str, list[Difference]]]:
        """Return the differences of all orders and sales; the records are freed afterwards."""
        facts: dict[Kind, dict[str, ServiceRecord]] = {}
        for kind in KINDS:
            what = f"{kind.service}: {kind.name.replace('_', ' ')}"
            facts[kind] = self._reader.read_all(kind, partial(self._progress, what))
            checked[what] = len(facts[kind])
        return (
            _differing(
                _order_ids(facts), lambda each: order_differences(each, _order(facts, each))
            ),
            _differing(_sale_ids(facts), lambda each: sale_differences(each, _sale(facts, each))),
        )

    def _orders_again(self, ids: Iterable[str]) -> dict[str, list[Difference]]:
        return self._again(
            ids,
            (reader.ORDERS, reader.RESERVATIONS, reader.SHIPMENTS, reader.NOTICES),
            lambda facts, order_id: order_differences(order_id, _order(facts, order_id)),
        )

    def _sales_again(self, ids: Iterable[str]) -> dict[str, list[Difference]]:
        return self._again(
            ids,
            (reader.SALES, reader.BOOKINGS),
            lambda facts, sale_id: sale_differences(sale_id, _sale(facts, sale_id)),
        )

    def _again(
        self,
        ids: Iterable[str],
        kinds: Iterable[Kind],
        compare: Callable[[Facts, str], list[Difference]],
    ) -> dict[str, list[Difference]]:
        wanted = list(ids)
        if not wanted:
            return {}
        facts = {kind: self._reader.read_some(kind, wanted) for kind in kinds}
        return _differing(wanted, lambda each: compare(facts, each))

    def _ask_services(self, names: Iterable[str]) -> dict[str, list[Difference]]:
        """Make the services compare their own rows; return the differences of each."""
        found = {}
        for name in names:
            self._progress(f"{name}: its own rows", 0)
            report = self._reports[name] = self._client.call(
                "GET", name, "/verify", seconds=OWN_SECONDS
            )
            found[name] = [
                Difference(**difference, todo=OWN_TODO, service=name)
                for difference in report["differences"]
            ]
        return found

    def _waiting(self, name: str) -> dict[str, Any]:
        answer = self._client.ready(name) or {}
        return {
            "oldest_unpublished_seconds": answer.get("oldest_unpublished_seconds"),
            "parked": answer.get("parked", {}),
        }


def _differing(
    ids: Iterable[str], compare: Callable[[str], list[Difference]]
) -> dict[str, list[Difference]]:
    return {each: found for each in sorted(ids) if (found := compare(each))}


def _order_ids(facts: Facts) -> set[str]:
    kinds = (reader.ORDERS, reader.RESERVATIONS, reader.SHIPMENTS, reader.NOTICES)
    return set().union(*(facts[kind] for kind in kinds))


def _sale_ids(facts: Facts) -> set[str]:
    return set(facts[reader.SALES]) | set(facts[reader.BOOKINGS])


def _order(facts: Facts, order_id: str) -> OrderSides:
    return OrderSides(
        facts[reader.ORDERS].get(order_id),
        facts[reader.RESERVATIONS].get(order_id),
        facts[reader.SHIPMENTS].get(order_id),
        facts[reader.NOTICES].get(order_id),
    )


def _sale(facts: Facts, sale_id: str) -> SaleSides:
    return SaleSides(facts[reader.SALES].get(sale_id), facts[reader.BOOKINGS].get(sale_id))
