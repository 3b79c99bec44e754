"""The published language: every event contract, in the order of an order's life.

A contract says once what happened, who may see it, and which fields it carries. The routing
key is the event's type, `<service>.<fact>.v<major>`; `subject` names the field by whose
aggregate the events are ordered. Fields are only ever added, and then optional; anything else
is a new major version beside the old one.

Quantities are integers in the variant's unit (grams or pieces), money is integer fen (CNY),
moments are UTC, dates are calendar dates in Asia/Shanghai. Public events carry ids, quantities
and money; names, phones and addresses of people travel only in events marked internal.
"""

from typing import Any, ClassVar

from marshmallow import EXCLUDE, Schema, fields, validate

UNITS = ("g", "piece")
CHANNELS = ("online", "station", "company", "cooperative")
PAYMENT_METHODS = ("cash_on_delivery", "cash_at_station", "prepaid")
SITE_LEVELS = ("centre", "county", "township", "village")
#: What happens at a counter and moves goods.
STATION_SALE_KINDS = ("sale", "void", "return")
#: Cash goes into the clerk's custody; what is paid by telephone does not.
COUNTER_PAYMENTS = ("cash", "mobile")


class Event(Schema):
    """One fact. The docstring's first line of each contract is its meaning in the catalogue."""

    class Meta:
        # A newer publisher of the same major version may send fields this reader does not know.
        unknown = EXCLUDE

    routing_key: ClassVar[str]
    subject: ClassVar[str]
    #: False: integrators can neither bind it nor read it in the feed.
    public: ClassVar[bool] = True
    #: True: no service listens and no stream keeps it, so it gets its position in the feed
    #: without being sent to the broker, which would return it.
    feed_only: ClassVar[bool] = False


class Names(Schema):
    """A name in the languages that are known; zh is always there."""

    class Meta:
        unknown = EXCLUDE

    zh = fields.String(required=True)
    bo = fields.String()
    en = fields.String()


def quantity(**metadata: Any) -> fields.Integer:
    """Return a required field for a quantity in the variant's unit, at least 1."""
    return fields.Integer(required=True, strict=True, validate=validate.Range(min=1), **metadata)


def fen() -> fields.Integer:
    """Return a required field for an amount of money in fen, not negative."""
    return fields.Integer(required=True, strict=True, validate=validate.Range(min=0))


# --- The place: sites, producers, goods, prices ----------------------------------------------


class SiteOpened(Event):
    """A site of the network (centre, county, township or village) takes part from now on."""

    routing_key = "logistics.site_opened.v1"
    subject = "site_id"

    site_id = fields.UUID(required=True)
    code = fields.String(required=True)
    level = fields.String(required=True, validate=validate.OneOf(SITE_LEVELS))
    parent_id = fields.UUID(required=True, allow_none=True)
    names = fields.Nested(Names, required=True)


class SiteClosed(Event):
    """A site takes no new orders, parcels or stock."""

    routing_key = "logistics.site_closed.v1"
    subject = "site_id"

    site_id = fields.UUID(required=True)


class EnterpriseRegistered(Event):
    """A producer, cooperative or company may bring lots."""

    routing_key = "catalog.enterprise_registered.v1"
    subject = "enterprise_id"
    feed_only = True

    enterprise_id = fields.UUID(required=True)
    roles = fields.List(fields.String(), required=True)


class EnterpriseContactGiven(Event):
    """An enterprise said how to reach it, and in which language."""

    routing_key = "catalog.enterprise_contact_given.v1"
    subject = "enterprise_id"
    public = False

    enterprise_id = fields.UUID(required=True)
    name = fields.String(required=True)
    phone = fields.String(required=True, allow_none=True)
    language = fields.String(required=True)


class ListedVariant(Schema):
    """One way in which a product is sold."""

    class Meta:
        unknown = EXCLUDE

    variant_id = fields.UUID(required=True)
    sku = fields.String(required=True)
    grade = fields.String(required=True)
    unit = fields.String(required=True, validate=validate.OneOf(UNITS))
    pack_quantity = quantity()
    storage = fields.String(required=True, allow_none=True)
    #: Days a lot must still keep when it reaches the buyer.
    min_life_days = fields.Integer(required=True)


class ProductListed(Event):
    """A product with its variants is on sale; sent again, with all variants, when they change."""

    routing_key = "catalog.product_listed.v1"
    subject = "product_id"

    product_id = fields.UUID(required=True)
    code = fields.String(required=True)
    names = fields.Nested(Names, required=True)
    perishable = fields.Boolean(required=True)
    variants = fields.List(fields.Nested(ListedVariant), required=True)


class ProductWithdrawn(Event):
    """A product and all its variants are no longer on sale."""

    routing_key = "catalog.product_withdrawn.v1"
    subject = "product_id"

    product_id = fields.UUID(required=True)


class PriceChanged(Event):
    """From `valid_from` on a variant costs `price_fen` per `price_unit` in one channel."""

    routing_key = "catalog.price_changed.v1"
    subject = "variant_id"

    variant_id = fields.UUID(required=True)
    channel = fields.String(required=True, validate=validate.OneOf(CHANNELS))
    price_fen = fen()
    #: How many grams or pieces `price_fen` buys.
    price_unit = quantity()
    valid_from = fields.AwareDateTime(required=True)
    valid_to = fields.AwareDateTime(required=True, allow_none=True)


class LotReleased(Event):
    """A lot passed inspection, or is free again after a hold, and may be sold."""

    routing_key = "catalog.lot_released.v1"
    subject = "lot_id"
    feed_only = True

    lot_id = fields.UUID(required=True)
    lot_code = fields.String(required=True)
    variant_id = fields.UUID(required=True)
    producer_id = fields.UUID(required=True)
    best_before = fields.Date(required=True, allow_none=True)


class LotHeld(Event):
    """A lot must not be sold until it is released again."""

    routing_key = "catalog.lot_held.v1"
    subject = "lot_id"
    feed_only = True

    lot_id = fields.UUID(required=True)
    reason = fields.String(required=True)


class LotRecalled(Event):
    """A lot must not be sold any more and comes back from wherever it is."""

    routing_key = "catalog.lot_recalled.v1"
    subject = "lot_id"
    feed_only = True

    lot_id = fields.UUID(required=True)
    reason = fields.String(required=True)


class StockReceived(Event):
    """Goods of a lot arrived at a location and are in its stock."""

    routing_key = "catalog.stock_received.v1"
    subject = "lot_id"
    feed_only = True

    lot_id = fields.UUID(required=True)
    location_id = fields.UUID(required=True)
    variant_id = fields.UUID(required=True)
    quantity = quantity()


class StockAdjusted(Event):
    """A count, drying, spoilage or find changed a lot's stock by `difference`."""

    routing_key = "catalog.stock_adjusted.v1"
    subject = "lot_id"
    feed_only = True

    lot_id = fields.UUID(required=True)
    location_id = fields.UUID(required=True)
    difference = fields.Integer(required=True, strict=True)
    reason = fields.String(required=True)


# --- An order is placed and decided -----------------------------------------------------------


class PlacedLine(Schema):
    """One line as ordered; the price is what orders' own price list said."""

    class Meta:
        unknown = EXCLUDE

    line_no = fields.Integer(required=True)
    variant_id = fields.UUID(required=True)
    quantity = quantity()
    line_total_fen = fen()


class OrderPlaced(Event):
    """A buyer ordered; stock is asked for, nothing is promised yet."""

    routing_key = "orders.order_placed.v1"
    subject = "order_id"

    order_id = fields.UUID(required=True)
    order_ref = fields.String(required=True)
    channel = fields.String(required=True, validate=validate.OneOf(CHANNELS))
    payment_method = fields.String(required=True, validate=validate.OneOf(PAYMENT_METHODS))
    buyer_id = fields.String(required=True, allow_none=True)
    #: The site that delivers or hands over the goods.
    site_id = fields.UUID(required=True)
    lines = fields.List(fields.Nested(PlacedLine), required=True)
    total_fen = fen()


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
    """The order will not be delivered, because its stock was refused."""

    routing_key = "orders.order_rejected.v1"
    subject = "order_id"

    order_id = fields.UUID(required=True)
    order_ref = fields.String(required=True)
    reason = fields.String(required=True)
    shortfalls = fields.List(fields.Nested(Shortfall), required=True)


# --- Money -------------------------------------------------------------------------------------


class OrderPaid(Event):
    """The full amount of the order was received."""

    routing_key = "orders.order_paid.v1"
    subject = "order_id"

    order_id = fields.UUID(required=True)
    order_ref = fields.String(required=True)
    amount_fen = fen()
    method = fields.String(required=True, validate=validate.OneOf(PAYMENT_METHODS))


class PaymentFailed(Event):
    """The provider said that a payment attempt did not succeed; the order still waits."""

    routing_key = "orders.payment_failed.v1"
    subject = "order_id"

    order_id = fields.UUID(required=True)
    order_ref = fields.String(required=True)
    reason = fields.String(required=True)


class PaymentRefunded(Event):
    """Money goes back to the buyer: the order was paid and will not be delivered."""

    routing_key = "orders.payment_refunded.v1"
    subject = "order_id"

    order_id = fields.UUID(required=True)
    order_ref = fields.String(required=True)
    amount_fen = fen()
    cause = fields.String(required=True)


# --- The order ends early ------------------------------------------------------------------------


class OrderExpired(Event):
    """A prepaid order was not paid in time; its stock is free again."""

    routing_key = "orders.order_expired.v1"
    subject = "order_id"

    order_id = fields.UUID(required=True)
    order_ref = fields.String(required=True)


class OrderReinstated(Event):
    """Money came after the order had expired: its stock is asked for once more."""

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


# --- The goods travel ----------------------------------------------------------------------


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
    """The buyer came to the site, proved it with the code, and took the shipment."""

    routing_key = "logistics.shipment_collected.v1"
    subject = "shipment_id"

    shipment_id = fields.UUID(required=True)
    order_id = fields.UUID(required=True)
    collected_fen = fen()


class DeliveryFailed(Event):
    """A shipment could not be handed over and goes back."""

    routing_key = "logistics.delivery_failed.v1"
    subject = "shipment_id"

    shipment_id = fields.UUID(required=True)
    order_id = fields.UUID(required=True)
    reason = fields.String(required=True)


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


# --- Stations sell while disconnected ---------------------------------------------------------


class DeviceEnrolled(Event):
    """A device at a site may sell; with a higher epoch it replaces the one that was there."""

    routing_key = "catalog.device_enrolled.v1"
    subject = "device_id"
    feed_only = True

    device_id = fields.UUID(required=True)
    device_code = fields.String(required=True)
    site_id = fields.UUID(required=True)
    #: Grows with each enrolment: sales are numbered within it.
    epoch = quantity()


class DeviceKeyGiven(Event):
    """What the key of one epoch of a device may do from now on; without scopes it is revoked."""

    routing_key = "catalog.device_key_given.v1"
    subject = "device_id"
    public = False

    device_id = fields.UUID(required=True)
    device_code = fields.String(required=True)
    site_id = fields.UUID(required=True)
    epoch = quantity()
    key_id = fields.UUID(required=True)
    #: SHA-256 of the key's secret, 64 hexadecimal digits.
    digest = fields.String(required=True)
    scopes = fields.List(fields.String(), required=True)


class DeviceRevoked(Event):
    """A device may neither sell nor upload any more; what it holds waits for a count."""

    routing_key = "catalog.device_revoked.v1"
    subject = "device_id"
    feed_only = True

    device_id = fields.UUID(required=True)


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


class AllotmentSuspended(Event):
    """A device must stop selling from an allotment as soon as it hears of it."""

    routing_key = "catalog.allotment_suspended.v1"
    subject = "allotment_id"
    feed_only = True

    allotment_id = fields.UUID(required=True)
    device_id = fields.UUID(required=True)
    lot_id = fields.UUID(required=True)
    #: `lot_held`, `lot_recalled` or `operator`.
    reason = fields.String(required=True)


class AllotmentResumed(Event):
    """A device may sell from a suspended allotment again."""

    routing_key = "catalog.allotment_resumed.v1"
    subject = "allotment_id"
    feed_only = True

    allotment_id = fields.UUID(required=True)
    device_id = fields.UUID(required=True)
    lot_id = fields.UUID(required=True)


class AllotmentReturned(Event):
    """A device gave part of its allotment back; it is for everybody again."""

    routing_key = "catalog.allotment_returned.v1"
    subject = "allotment_id"
    feed_only = True

    allotment_id = fields.UUID(required=True)
    device_id = fields.UUID(required=True)
    lot_id = fields.UUID(required=True)
    quantity = quantity()


class AllotmentWrittenOff(Event):
    """An operator counted what an allotment should still have; `quantity` was not there."""

    routing_key = "catalog.allotment_written_off.v1"
    subject = "allotment_id"
    feed_only = True

    allotment_id = fields.UUID(required=True)
    device_id = fields.UUID(required=True)
    lot_id = fields.UUID(required=True)
    quantity = quantity()
    reason = fields.String(required=True)


class AllotmentClosed(Event):
    """An allotment is over: all of it is sold, returned or written off."""

    routing_key = "catalog.allotment_closed.v1"
    subject = "allotment_id"
    feed_only = True

    allotment_id = fields.UUID(required=True)
    device_id = fields.UUID(required=True)
    lot_id = fields.UUID(required=True)


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


class CashRemitted(Event):
    """A station handed cash on to the centre, counted by who sent and by who received it."""

    routing_key = "orders.cash_remitted.v1"
    subject = "remittance_id"
    feed_only = True

    remittance_id = fields.UUID(required=True)
    site_id = fields.UUID(required=True)
    sent_fen = fen()
    counted_fen = fen()


# --- People are told -----------------------------------------------------------------------------


class MessageSent(Event):
    """A message about a fact was handed to its channel."""

    routing_key = "notifications.message_sent.v1"
    subject = "message_id"
    feed_only = True

    message_id = fields.UUID(required=True)
    template = fields.String(required=True)
    cause_id = fields.UUID(required=True)


class MessageFailed(Event):
    """A message could not be handed to any channel and will not be tried again."""

    routing_key = "notifications.message_failed.v1"
    subject = "message_id"
    feed_only = True

    message_id = fields.UUID(required=True)
    template = fields.String(required=True)
    cause_id = fields.UUID(required=True)
    reason = fields.String(required=True)


#: The catalogue, in reading order. A contract that is not here is not published.
EVENTS: tuple[type[Event], ...] = (
    SiteOpened,
    SiteClosed,
    EnterpriseRegistered,
    EnterpriseContactGiven,
    ProductListed,
    ProductWithdrawn,
    PriceChanged,
    LotReleased,
    LotHeld,
    LotRecalled,
    StockReceived,
    StockAdjusted,
    OrderPlaced,
    ContactGiven,
    StockReserved,
    StockRefused,
    OrderConfirmed,
    OrderRejected,
    OrderPaid,
    PaymentFailed,
    PaymentRefunded,
    OrderExpired,
    OrderReinstated,
    OrderCancelled,
    StockReleased,
    ShipmentPlanned,
    ShipmentPacked,
    ShipmentDispatched,
    ShipmentArrived,
    CollectionCodeIssued,
    ShipmentDelivered,
    ShipmentCollected,
    DeliveryFailed,
    ShipmentCancelled,
    ShipmentReturned,
    OrderCompleted,
    OrderReturned,
    DeviceEnrolled,
    DeviceKeyGiven,
    DeviceRevoked,
    AllotmentGranted,
    AllotmentSuspended,
    AllotmentResumed,
    AllotmentReturned,
    AllotmentWrittenOff,
    AllotmentClosed,
    StationSaleRecorded,
    StationSaleDisputed,
    AllotmentOverdrawn,
    OverdraftSettled,
    ParcelHandedOver,
    HandOverRefused,
    CashRemitted,
    MessageSent,
    MessageFailed,
)

BY_TYPE: dict[str, type[Event]] = {contract.routing_key: contract for contract in EVENTS}
