"""An order ends early, and what was set aside for it is free again."""

from marshmallow import fields

from shared.events.base import Event
from shared.events.placing import PlacedLine


class OrderExpired(Event):
    """A prepaid order was not paid in time; its stock is free again."""

    routing_key = "orders.order_expired.v1"
    subject = "order_id"

    order_id = fields.UUID(required=True)
    order_ref = fields.String(required=True)


class OrderReinstated(Event):
    """An order's stock is asked for once more: it was paid after all, or a lot is recalled."""

    routing_key = "orders.order_reinstated.v1"
    subject = "order_id"

    order_id = fields.UUID(required=True)
    order_ref = fields.String(required=True)
    lines = fields.List(fields.Nested(PlacedLine), required=True)


class OrderCancelled(Event):
    """The order is not wanted any more; whatever was set aside or planned for it is undone."""

    routing_key = "orders.order_cancelled.v1"
    subject = "order_id"

    order_id = fields.UUID(required=True)
    order_ref = fields.String(required=True)
    reason = fields.String(required=True)


class StockReleased(Event):
    """What was set aside for an order is available again."""

    routing_key = "catalog.stock_released.v1"
    subject = "order_id"
    feed_only = True

    order_id = fields.UUID(required=True)
    #: `expired`, `cancelled` or `recalled`.
    reason = fields.String(required=True)
