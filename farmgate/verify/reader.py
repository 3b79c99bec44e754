"""Read the services' records, page by page, into small tuples.

Equal records share one tuple, so that an order or sale takes some hundred bytes of memory.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from farmgate.client import Client
from farmgate.verify.rules import Lots, ServiceRecord

#: Facts per page, and ids per request; the services' limits.
PAGE, MOST_IDS = 1000, 100


class Kind(NamedTuple):
    """A kind of facts, and the service that has them."""

    service: str
    name: str


ORDERS = Kind("orders", "orders")
RESERVATIONS = Kind("catalog", "reservations")
SHIPMENTS = Kind("logistics", "shipments")
NOTICES = Kind("notifications", "orders")
SALES = Kind("orders", "station_sales")
BOOKINGS = Kind("catalog", "station_sales")
#: In the order of an order's path.
KINDS = (ORDERS, RESERVATIONS, SHIPMENTS, NOTICES, SALES, BOOKINGS)


class Reader:
    """Reads records; equal ones share one object."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._interned: dict[ServiceRecord | Lots, Any] = {}

    def read_all(self, kind: Kind, on_page: Callable[[int], None]) -> dict[str, ServiceRecord]:
        """Return all records of a kind by id; `on_page` is called with the length of each page."""
        facts: dict[str, ServiceRecord] = {}
        cursor: str | None = None
        while True:
            page = self._page(kind, limit=PAGE, cursor=cursor)
            facts.update(self._facts(page["items"]))
            on_page(len(page["items"]))
            cursor = page["next"]
            if cursor is None:
                return facts

    def read_some(self, kind: Kind, ids: Iterable[str]) -> dict[str, ServiceRecord]:
        """Return the records of a kind with these ids; missing ones are left out."""
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
            record = record_of(item["value"])
            shared = self._interned.get(record)
            if shared is None:
                lots = self._interned.setdefault(record.lots, record.lots)
                shared = record._replace(lots=lots)
                self._interned[shared] = shared
            yield item["id"], shared


def record_of(value: Mapping[str, Any]) -> ServiceRecord:
    """Return a fact's value as a record; services name the state `state` or `status`."""
    marks = list(value.get("told", ()))
    if value.get("voided"):
        marks.append("voided")
    return ServiceRecord(
        state=value.get("state") or value["status"],
        lots=tuple(sorted(value.get("lots", {}).items())),
        marks=tuple(marks),
        kind=value.get("kind", ""),
    )
