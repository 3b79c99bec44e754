"""An order is placed, its stock is set aside, and it stands or not."""

from marshmallow import EXCLUDE, Schema, fields, validate

from shared.events.base import CHANNELS, PAYMENT_METHODS, Event, fen, quantity


class PlacedLine(Schema):
    """One line as ordered; the price is what orders' own price list said."""

    class Meta:
        unknown = EXCLUDE

    line_no = fields.Integer(required=True)
    variant_id = fields.UUID(required=True)
    quantity = quantity()
    line_total_fen = fen()


class _AsOrdered:
    """What was ordered, and by whom."""

    order_id = fields.UUID(required=True)
    order_ref = fields.String(required=True)
    channel = fields.String(required=True, validate=validate.OneOf(CHANNELS))
    payment_method = fields.String(required=True, validate=validate.OneOf(PAYMENT_METHODS))
    buyer_id = fields.String(required=True, allow_none=True)
    #: The site that delivers or hands over the goods.
    site_id = fields.UUID(required=True)
    lines = fields.List(fields.Nested(PlacedLine), required=True)
    total_fen = fen()


class ApprovalRequested(_AsOrdered, Event):
    """A buyer ordered more than may be held unpaid: an operator approves it, or declines.

    Nothing is asked for in stock before `order_placed`; one that is declined, or withdrawn by its
    buyer, ends with `order_rejected`. `buyer_id` is as in `order_placed`.
    """

    routing_key = "orders.approval_requested.v1"
    subject = "order_id"

    reason = fields.String(required=True)


class OrderPlaced(_AsOrdered, Event):
    """A buyer ordered; stock is asked for, nothing is promised yet.

    `buyer_id` is opaque and says nothing of a person: orders refuses telephone numbers. That of
    a shop's own buyer begins with the shop's subject and a colon.
    """

    routing_key = "orders.order_placed.v1"
    subject = "order_id"


class ContactGiven(Event):
    """A buyer said how to reach them and where to deliver, for one order."""

    routing_key = "orders.contact_given.v1"
    subject = "order_id"
    public = False

    order_id = fields.UUID(required=True)
    order_ref = fields.String(required=True)
    #: Whose preferences apply; None for a guest.
    buyer_id = fields.String(required=True, allow_none=True)
    name = fields.String(required=True)
    phone = fields.String(required=True)
    address = fields.String(required=True, allow_none=True)
    language = fields.String(required=True)


class TakenLot(Schema):
    """What one line took from one lot at one location."""

    class Meta:
        unknown = EXCLUDE

    lot_id = fields.UUID(required=True)
    lot_code = fields.String(required=True)
    location_id = fields.UUID(required=True)
    producer_id = fields.UUID(required=True)
    quantity = quantity()


class ReservedLine(Schema):
    """One line with the lots that were reserved for it."""

    class Meta:
        unknown = EXCLUDE

    line_no = fields.Integer(required=True)
    variant_id = fields.UUID(required=True)
    lots = fields.List(fields.Nested(TakenLot), required=True)


class StockReserved(Event):
    """All lines of an order are set aside, each from the lots that expire first."""

    routing_key = "catalog.stock_reserved.v1"
    subject = "order_id"

    order_id = fields.UUID(required=True)
    lines = fields.List(fields.Nested(ReservedLine), required=True)


class Shortfall(Schema):
    """A line that could not be covered, and what there was."""

    class Meta:
        unknown = EXCLUDE

    line_no = fields.Integer(required=True)
    variant_id = fields.UUID(required=True)
    requested = fields.Integer(required=True)
    available = fields.Integer(required=True)


class StockRefused(Event):
    """Nothing of the order was reserved, because at least one line was short.

    An answer, not a failure: catalog does not try again.
    """

    routing_key = "catalog.stock_refused.v1"
    subject = "order_id"

    order_id = fields.UUID(required=True)
    shortfalls = fields.List(fields.Nested(Shortfall), required=True)


class ConfirmedLine(Schema):
    """One line that will be delivered."""

    class Meta:
        unknown = EXCLUDE

    line_no = fields.Integer(required=True)
    variant_id = fields.UUID(required=True)
    quantity = quantity()
    line_total_fen = fen()
    lots = fields.List(fields.Nested(TakenLot), required=True)


class OrderConfirmed(Event):
    """The order stands: its stock is reserved and nothing more is needed to deliver it."""

    routing_key = "orders.order_confirmed.v1"
    subject = "order_id"

    order_id = fields.UUID(required=True)
    order_ref = fields.String(required=True)
    channel = fields.String(required=True, validate=validate.OneOf(CHANNELS))
    payment_method = fields.String(required=True, validate=validate.OneOf(PAYMENT_METHODS))
    site_id = fields.UUID(required=True)
    #: True: the buyer comes to the site. False: the site brings it to the address.
    collect = fields.Boolean(required=True)
    lines = fields.List(fields.Nested(ConfirmedLine), required=True)
    total_fen = fen()
    #: What is still to be taken from the buyer on hand-over, in fen.
    due_fen = fen()


class OrderRejected(Event):
    """The order will not be delivered: its stock was refused, or an operator did not approve it."""

    routing_key = "orders.order_rejected.v1"
    subject = "order_id"

    order_id = fields.UUID(required=True)
    order_ref = fields.String(required=True)
    reason = fields.String(required=True)
    shortfalls = fields.List(fields.Nested(Shortfall), required=True)
