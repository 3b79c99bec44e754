"""An order ends early, and its reserved stock is free again."""

from uuid import UUID

from shared.events.base import Fact, OrderFact
from shared.events.placing import PlacedLine


class OrderExpired(OrderFact, frozen=True, kw_only=True):
    """The buyer did not pay a prepaid order in time; its stock is free again."""

    routing_key = "orders.order_expired.v1"


class OrderReinstated(OrderFact, frozen=True, kw_only=True):
    """Orders requests an order's stock again: the buyer paid after all, or a lot was recalled."""

    routing_key = "orders.order_reinstated.v1"

    lines: list[PlacedLine]


class OrderCancelled(OrderFact, frozen=True, kw_only=True):
    """The order was cancelled; catalog releases its stock, and logistics cancels its shipment."""

    routing_key = "orders.order_cancelled.v1"

    #: The code that the caller gave, such as `changed_mind`; else `not_given`.
    reason: str


class StockReleased(Fact, frozen=True, kw_only=True):
    """The stock reserved for an order is available again."""

    routing_key = "catalog.stock_released.v1"
    subject = "order_id"

    order_id: UUID
    #: `expired`, `cancelled` or `recalled`.
    reason: str
