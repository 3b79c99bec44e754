"""Buyers of a running system: they place orders, and wait until these are planned and told.

An order is *planned* when its shipment is planned and its messages are queued, and *told* when
these are sent. Only a service's published tables are read, so any checkout can be measured.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any
from uuid import UUID

from benchmarks.load import Load, Sent
from benchmarks.surroundings import System
from tests.support.processes import SERVICES
from tests.support.servers import wait_until

CLIENTS = 16
#: Seconds until everything that was placed must be planned, and told.
PATIENCE = 600


class Buyers:
    """They order from `variants` to the site `site_id`; each order is of another buyer.

    A context manager: while it is entered, it is connected to the four databases.
    """

    def __init__(
        self, system: System, site_id: str, variants: Sequence[Mapping[str, Any]], placed: int = 0
    ) -> None:
        self.system, self.site_id, self.variants = system, site_id, variants
        #: Orders so far.
        self.placed = placed

    def __enter__(self) -> "Buyers":
        with ExitStack() as stack:
            self._databases = {
                service: stack.enter_context(self.system.sql(service)) for service in SERVICES
            }
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def place(self, seconds: float, rate: float | None = None) -> Sent:
        """Place orders for `seconds`, `rate` a second or as many as go; return when answered."""
        load = Load(
            url=self.system.urls["orders"],
            token=self.system.token,
            site_id=self.site_id,
            variants=self.variants,
            clients=CLIENTS,
            seconds=seconds,
            rate=rate,
            first_buyer=self.placed,
        )
        sent = load.send()
        self.placed += sent.accepted
        return sent

    def wait_until_planned(self, sent: Sent) -> None:
        """Wait for the shipments and messages of these orders."""
        wait_until(lambda: self._are_planned(sent), PATIENCE, "all orders are planned")

    def wait_until_told(self, sent: Sent) -> None:
        """Wait until these orders are planned and all messages are sent."""
        self.wait_until_planned(sent)
        waiting = "SELECT 1 FROM messages WHERE status IN ('queued', 'sending', 'retrying') LIMIT 1"
        wait_until(
            lambda: self.rows("notifications", waiting) == [], PATIENCE, "all orders are told"
        )

    def rows(self, service: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a statement in a service's database."""
        return self._databases[service].execute(statement.encode(), values).fetchall()

    def _are_planned(self, sent: Sent) -> bool:
        # Ids grow with time (UUIDv7), and indexes find the new ones: to count all rows of years
        # would cost more than the orders.
        began = UUID(int=int(sent.began * 1000) << 80 | 7 << 76 | 2 << 62)
        ((orders, planned),) = self.rows(
            "orders",
            "SELECT count(*) FILTER (WHERE decided_at IS NOT NULL"
            " AND (state <> 'confirmed' OR shipment_id IS NOT NULL)),"
            " count(*) FILTER (WHERE shipment_id IS NOT NULL) FROM orders WHERE id >= %s",
            began,
        )
        if orders < sent.accepted:
            return False
        shipments = "SELECT count(*) FROM shipments WHERE id >= %s"
        told = (
            "SELECT count(*) FROM messages WHERE id >= %s"
            " AND template IN ('order_confirmed', 'order_rejected')"
        )
        return self.rows("logistics", shipments, began) == [(planned,)] and self.rows(
            "notifications", told, began
        ) == [(orders,)]
