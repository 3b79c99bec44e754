"""Read what the services hold, page by page, into small tuples.

Memory grows by some hundred bytes per order or sale: lots and states repeat, and are kept once.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from farmgate.client import Client
from farmgate.verify.rules import Lots, ServiceRecord

#: Facts of one page, and ids of one question; what the services allow (`shared.runtime.verify`).
PAGE, MOST_IDS = 1000, 100


class Kind(NamedTuple):
    """Facts of one sort, and the service that has them."""

    service: str
    name: str


ORDERS = Kind("orders", "orders")
RESERVATIONS = Kind("catalog", "reservations")
SHIPMENTS = Kind("logistics", "shipments")
NOTICES = Kind("notifications", "orders")
SALES = Kind("orders", "station_sales")
BOOKINGS = Kind("catalog", "station_sales")
#: In the order in which an order comes by them.
KINDS = (ORDERS, RESERVATIONS, SHIPMENTS, NOTICES, SALES, BOOKINGS)


class Reader:
    """Reads facts; equal values are kept once."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._kept: dict[ServiceRecord | Lots, Any] = {}

    def read_all(self, kind: Kind, seen: Callable[[int], None]) -> dict[str, ServiceRecord]:
        """Return all facts of a kind by id; `seen` is told how many came with each page."""
        facts: dict[str, ServiceRecord] = {}
        cursor: str | None = None
        while True:
            page = self._page(kind, limit=PAGE, cursor=cursor)
            facts.update(self._facts(page["items"]))
            seen(len(page["items"]))
            cursor = page["next"]
            if cursor is None:
                return facts

    def read_some(self, kind: Kind, ids: Iterable[str]) -> dict[str, ServiceRecord]:
        """Return the facts of a kind that have these ids; those that are not there are left out."""
        wanted = sorted(ids)
        facts: dict[str, ServiceRecord] = {}
        for begin in range(0, len(wanted), MOST_IDS):
            page = self._page(kind, id=wanted[begin : begin + MOST_IDS])
            facts.update(self._facts(page["items"]))
        return facts

    def _page(self, kind: Kind, **query: Any) -> Any:
        return self._client.get(kind.service, "/verify/facts", kind=kind.name, **query)

    def _facts(self, items: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, ServiceRecord]]:
        for item in items:
            held = record_of(item["value"])
            kept = self._kept.get(held)
            if kept is None:
                kept = held._replace(lots=self._kept.setdefault(held.lots, held.lots))
                self._kept[kept] = kept
            yield item["id"], kept


def record_of(value: Mapping[str, Any]) -> ServiceRecord:
    """Return a fact's value as the rules take it; services call the state `state` or `status`."""
    marks = list(value.get("told", ()))
    if value.get("voided"):
        marks.append("voided")
    return ServiceRecord(
        state=value.get("state") or value["status"],
        lots=tuple(sorted(value.get("lots", {}).items())),
        marks=tuple(marks),
        kind=value.get("kind", ""),
    )
