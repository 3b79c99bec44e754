"""An order ends early, and what was set aside for it is free again."""

from uuid import UUID

from shared.events.base import Fact
from shared.events.placing import PlacedLine


class OrderExpired(Fact, frozen=True, kw_only=True):
    """A prepaid order was not paid in time; its stock is free again."""

    routing_key = "orders.order_expired.v1"
    subject = "order_id"

    order_id: UUID
    order_ref: str


class OrderReinstated(Fact, frozen=True, kw_only=True):
    """An order's stock is asked for once more: it was paid after all, or a lot is recalled."""

    routing_key = "orders.order_reinstated.v1"
    subject = "order_id"

    order_id: UUID
    order_ref: str
    lines: list[PlacedLine]


class OrderCancelled(Fact, frozen=True, kw_only=True):
    """The order is not wanted any more; whatever was set aside or planned for it is undone."""

    routing_key = "orders.order_cancelled.v1"
    subject = "order_id"

    order_id: UUID
    order_ref: str
    reason: str


class StockReleased(Fact, frozen=True, kw_only=True):
    """What was set aside for an order is available again."""

    routing_key = "catalog.stock_released.v1"
    subject = "order_id"
    feed_only = True

    order_id: UUID
    #: `expired`, `cancelled` or `recalled`.
    reason: str
