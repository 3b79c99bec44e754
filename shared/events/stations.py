"""Stations sell while disconnected: devices, what they may sell, and what they sold."""

from marshmallow import EXCLUDE, Schema, fields, validate

from shared.events.base import COUNTER_PAYMENTS, STATION_SALE_KINDS, Event, fen, quantity


class DeviceKeyGiven(Event):
    """What the key of one epoch of a device may do from now on; without scopes it is revoked."""

    routing_key = "catalog.device_key_given.v1"
    subject = "device_id"
    public = False

    device_id = fields.UUID(required=True)
    device_code = fields.String(required=True)
    site_id = fields.UUID(required=True)
    #: Grows with each enrolment: sales are numbered within it.
    epoch = quantity()
    key_id = fields.UUID(required=True)
    #: SHA-256 of the key's secret, 64 hexadecimal digits.
    digest = fields.String(required=True)
    scopes = fields.List(fields.String(), required=True)


class AllotmentGranted(Event):
    """A device may sell `quantity` more of a lot; nobody else can reach it from now on."""

    routing_key = "catalog.allotment_granted.v1"
    subject = "allotment_id"
    feed_only = True

    allotment_id = fields.UUID(required=True)
    device_id = fields.UUID(required=True)
    epoch = quantity()
    site_id = fields.UUID(required=True)
    lot_id = fields.UUID(required=True)
    quantity = quantity()
    #: All that was ever granted under this allotment.
    granted = fields.Integer(required=True, strict=True)


class AllotmentReturned(Event):
    """A device gave part of its allotment back; it is for everybody again."""

    routing_key = "catalog.allotment_returned.v1"
    subject = "allotment_id"
    feed_only = True

    allotment_id = fields.UUID(required=True)
    device_id = fields.UUID(required=True)
    lot_id = fields.UUID(required=True)
    quantity = quantity()


class SoldLine(Schema):
    """One line of what was sold, or came back, over a counter."""

    class Meta:
        unknown = EXCLUDE

    line_no = fields.Integer(required=True)
    variant_id = fields.UUID(required=True)
    lot_id = fields.UUID(required=True)
    quantity = quantity()
    #: Taken from the buyer, or given back.
    line_total_fen = fen()
    #: Of goods that came back: whether they can be sold again; None for a sale.
    restock = fields.Boolean(required=True, allow_none=True)


class StationSaleRecorded(Event):
    """A station sold over the counter, voided a sale or took goods back; it counts once.

    `sale_id` is made from its name: device, epoch and number.
    """

    routing_key = "orders.station_sale_recorded.v1"
    subject = "sale_id"

    sale_id = fields.UUID(required=True)
    kind = fields.String(required=True, validate=validate.OneOf(STATION_SALE_KINDS))
    device_id = fields.UUID(required=True)
    epoch = quantity()
    number = quantity()
    site_id = fields.UUID(required=True)
    #: The sale that is voided, or whose goods came back.
    of_sale_id = fields.UUID(required=True, allow_none=True)
    lines = fields.List(fields.Nested(SoldLine), required=True)
    total_fen = fen()
    payment = fields.String(required=True, validate=validate.OneOf(COUNTER_PAYMENTS))
    #: By the device's own clock, which proves nothing.
    device_time = fields.AwareDateTime(required=True)


class StationSaleDisputed(Event):
    """A sale that happened cannot be right, such as a second one with the name of another.

    It is kept, and an operator decides; its quantity is in no balance until then.
    """

    routing_key = "orders.station_sale_disputed.v1"
    subject = "sale_id"

    sale_id = fields.UUID(required=True)
    kind = fields.String(required=True, validate=validate.OneOf(STATION_SALE_KINDS))
    device_id = fields.UUID(required=True)
    epoch = quantity()
    number = quantity()
    site_id = fields.UUID(required=True)
    #: `beyond_grant`, `other_content`, `beyond_sale`, `unreadable`, …
    reason = fields.String(required=True)
    lines = fields.List(fields.Nested(SoldLine), required=True)


class OverdrawnLine(Schema):
    """A line of a sale, and what the device still had of the lot."""

    class Meta:
        unknown = EXCLUDE

    line_no = fields.Integer(required=True)
    lot_id = fields.UUID(required=True)
    requested = fields.Integer(required=True)
    remaining = fields.Integer(required=True)


class AllotmentOverdrawn(Event):
    """A station sale took more than its device had been granted; nothing of it is booked."""

    routing_key = "catalog.allotment_overdrawn.v1"
    subject = "sale_id"

    sale_id = fields.UUID(required=True)
    device_id = fields.UUID(required=True)
    epoch = quantity()
    number = quantity()
    #: `beyond_grant`, or `no_allotment` of that lot to that epoch of the device.
    reason = fields.String(required=True)
    lines = fields.List(fields.Nested(OverdrawnLine), required=True)


class OverdraftSettled(Event):
    """It is decided what covers a disputed sale: stock, or nothing but the loss."""

    routing_key = "catalog.overdraft_settled.v1"
    subject = "sale_id"

    sale_id = fields.UUID(required=True)
    #: `covered`, `lost`, or `voided` when the sale itself was undone at the counter.
    resolution = fields.String(required=True)


class ParcelHandedOver(Event):
    """A station's till gave a waiting parcel to whoever showed its code, perhaps long ago."""

    routing_key = "orders.parcel_handed_over.v1"
    subject = "entry_id"
    public = False

    #: Of the till's journal: device, epoch and number.
    entry_id = fields.UUID(required=True)
    shipment_id = fields.UUID(required=True)
    site_id = fields.UUID(required=True)
    device_code = fields.String(required=True)
    code = fields.String(required=True, allow_none=True)
    received_by = fields.String(required=True, allow_none=True)
    collected_fen = fen()
    difference_reason = fields.String(required=True, allow_none=True)
    device_time = fields.AwareDateTime(required=True)


class HandOverRefused(Event):
    """A parcel that a till says it gave away was not there to give: wrong code, or gone before."""

    routing_key = "logistics.hand_over_refused.v1"
    subject = "shipment_id"

    shipment_id = fields.UUID(required=True)
    entry_id = fields.UUID(required=True)
    #: The problem's type, such as `wrong-code`.
    reason = fields.String(required=True)
