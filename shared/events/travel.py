"""The goods travel, from packing to the hand-over or the return."""

from marshmallow import EXCLUDE, Schema, fields, validate

from shared.events.base import Event, fen
from shared.events.placing import TakenLot

#: Where a shipment is when a lot that it carries is recalled.
RECALLED_WHERE = ("here", "on_its_way", "with_buyer")


class ShippedLine(Schema):
    """What a shipment carries of one line, lot by lot."""

    class Meta:
        unknown = EXCLUDE

    line_no = fields.Integer(required=True)
    variant_id = fields.UUID(required=True)
    lots = fields.List(fields.Nested(TakenLot), required=True)


class ShipmentPlanned(Event):
    """A confirmed order has a shipment, a way to its site, and a day promised."""

    routing_key = "logistics.shipment_planned.v1"
    subject = "shipment_id"

    shipment_id = fields.UUID(required=True)
    shipment_ref = fields.String(required=True)
    order_id = fields.UUID(required=True)
    site_id = fields.UUID(required=True)
    promised_on = fields.Date(required=True)


class ShipmentPacked(Event):
    """The goods of a shipment are packed."""

    routing_key = "logistics.shipment_packed.v1"
    subject = "shipment_id"

    shipment_id = fields.UUID(required=True)
    order_id = fields.UUID(required=True)


class ShipmentDispatched(Event):
    """A shipment left the place where its goods lay; they are out of stock from now on."""

    routing_key = "logistics.shipment_dispatched.v1"
    subject = "shipment_id"

    shipment_id = fields.UUID(required=True)
    shipment_ref = fields.String(required=True)
    order_id = fields.UUID(required=True)
    lines = fields.List(fields.Nested(ShippedLine), required=True)


class ShipmentArrived(Event):
    """A shipment reached a site on its way; `final` when it is the one it is meant for."""

    routing_key = "logistics.shipment_arrived.v1"
    subject = "shipment_id"

    shipment_id = fields.UUID(required=True)
    order_id = fields.UUID(required=True)
    site_id = fields.UUID(required=True)
    final = fields.Boolean(required=True)
    collect = fields.Boolean(required=True)


class CollectionCodeIssued(Event):
    """A shipment waits at its site for the buyer, who shows this code."""

    routing_key = "logistics.collection_code_issued.v1"
    subject = "shipment_id"
    public = False

    shipment_id = fields.UUID(required=True)
    order_id = fields.UUID(required=True)
    site_id = fields.UUID(required=True)
    code = fields.String(required=True)


class ShipmentDelivered(Event):
    """A shipment was brought to its buyer, who is on record as having taken it."""

    routing_key = "logistics.shipment_delivered.v1"
    subject = "shipment_id"

    shipment_id = fields.UUID(required=True)
    order_id = fields.UUID(required=True)
    #: Cash taken at the door or counter, in fen; 0 when the order was paid before.
    collected_fen = fen()


class ShipmentCollected(Event):
    """The buyer came to the site, proved who they are, and took the shipment."""

    routing_key = "logistics.shipment_collected.v1"
    subject = "shipment_id"

    shipment_id = fields.UUID(required=True)
    order_id = fields.UUID(required=True)
    collected_fen = fen()
    #: By what: the code that the buyer was sent, or a name; absent in older events.
    proof = fields.String(validate=validate.OneOf(("code", "name")))


class DeliveryFailed(Event):
    """A shipment could not be handed over and goes back."""

    routing_key = "logistics.delivery_failed.v1"
    subject = "shipment_id"

    shipment_id = fields.UUID(required=True)
    order_id = fields.UUID(required=True)
    reason = fields.String(required=True)


class ShipmentRecalled(Event):
    """A shipment carries goods of a recalled lot; `where` says what that means for it."""

    routing_key = "logistics.shipment_recalled.v1"
    subject = "shipment_id"

    shipment_id = fields.UUID(required=True)
    order_id = fields.UUID(required=True)
    #: `here`: it has not left, and does not leave with these lots. `on_its_way`: it comes back
    #: (`delivery_failed` follows). `with_buyer`: the buyer has the goods.
    where = fields.String(required=True, validate=validate.OneOf(RECALLED_WHERE))
    #: What it carries of recalled lots.
    lots = fields.List(fields.Nested(TakenLot), required=True)


class ShipmentCancelled(Event):
    """A shipment was stopped before its goods left; they lie where they lay."""

    routing_key = "logistics.shipment_cancelled.v1"
    subject = "shipment_id"

    shipment_id = fields.UUID(required=True)
    order_id = fields.UUID(required=True)


class ShipmentReturned(Event):
    """A shipment's goods are back at the location they came from."""

    routing_key = "logistics.shipment_returned.v1"
    subject = "shipment_id"

    shipment_id = fields.UUID(required=True)
    order_id = fields.UUID(required=True)
    #: False: the goods are spoiled or lost and do not go back on sale.
    restock = fields.Boolean(required=True)
    lines = fields.List(fields.Nested(ShippedLine), required=True)


class OrderCompleted(Event):
    """The buyer has the goods and the money is accounted for."""

    routing_key = "orders.order_completed.v1"
    subject = "order_id"

    order_id = fields.UUID(required=True)
    order_ref = fields.String(required=True)
    total_fen = fen()


class OrderReturned(Event):
    """The goods came back undelivered; the order is over."""

    routing_key = "orders.order_returned.v1"
    subject = "order_id"

    order_id = fields.UUID(required=True)
    order_ref = fields.String(required=True)
