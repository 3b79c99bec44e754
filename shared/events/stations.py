"""Stations sell while disconnected: devices, what they may sell, and what they sold."""

from uuid import UUID

from shared.events.base import CounterPayment, Fact, Fen, Moment, Part, Quantity, StationSaleKind


class DeviceKeyGiven(Fact, frozen=True, kw_only=True):
    """What the key of one epoch of a device may do from now on; without scopes it is revoked."""

    routing_key = "catalog.device_key_given.v1"
    subject = "device_id"
    public = False

    device_id: UUID
    device_code: str
    site_id: UUID
    epoch: Quantity
    key_id: UUID
    #: SHA-256 of the key's secret, 64 hexadecimal digits.
    digest: str
    scopes: list[str]


class AllotmentGranted(Fact, frozen=True, kw_only=True):
    """A device may sell `quantity` more of a lot; nobody else can reach it from now on."""

    routing_key = "catalog.allotment_granted.v1"
    subject = "allotment_id"
    feed_only = True

    allotment_id: UUID
    device_id: UUID
    epoch: Quantity
    site_id: UUID
    lot_id: UUID
    quantity: Quantity
    #: All that was ever granted under this allotment.
    granted: int


class AllotmentReturned(Fact, frozen=True, kw_only=True):
    """A device gave part of its allotment back; it is for everybody again."""

    routing_key = "catalog.allotment_returned.v1"
    subject = "allotment_id"
    feed_only = True

    allotment_id: UUID
    device_id: UUID
    lot_id: UUID
    quantity: Quantity


class SoldLine(Part, frozen=True, kw_only=True):
    """One line of what was sold, or came back, over a counter."""

    line_no: int
    variant_id: UUID
    lot_id: UUID
    quantity: Quantity
    #: Taken from the buyer, or given back.
    line_total_fen: Fen
    #: Of goods that came back: whether they can be sold again; None for a sale.
    restock: bool | None


class StationSaleRecorded(Fact, frozen=True, kw_only=True):
    """A station sold over the counter, voided a sale or took goods back; it counts once.

    `sale_id` is made from its name: device, epoch and number.
    """

    routing_key = "orders.station_sale_recorded.v1"
    subject = "sale_id"

    sale_id: UUID
    kind: StationSaleKind
    device_id: UUID
    epoch: Quantity
    number: Quantity
    site_id: UUID
    #: The sale that is voided, or whose goods came back.
    of_sale_id: UUID | None
    lines: list[SoldLine]
    total_fen: Fen
    payment: CounterPayment
    #: By the device's own clock, which proves nothing.
    device_time: Moment


class StationSaleDisputed(Fact, frozen=True, kw_only=True):
    """A sale that happened cannot be right, such as a second one with the name of another.

    It is kept, and an operator decides; its quantity is in no balance until then.
    """

    routing_key = "orders.station_sale_disputed.v1"
    subject = "sale_id"

    sale_id: UUID
    kind: StationSaleKind
    device_id: UUID
    epoch: Quantity
    number: Quantity
    site_id: UUID
    #: `beyond_grant`, `other_content`, `beyond_sale`, `unreadable`, …
    reason: str
    lines: list[SoldLine]


class OverdrawnLine(Part, frozen=True, kw_only=True):
    """A line of a sale, and what the device still had of the lot."""

    line_no: int
    lot_id: UUID
    requested: int
    remaining: int


class AllotmentOverdrawn(Fact, frozen=True, kw_only=True):
    """A station sale took more than its device had been granted; nothing of it is booked."""

    routing_key = "catalog.allotment_overdrawn.v1"
    subject = "sale_id"

    sale_id: UUID
    device_id: UUID
    epoch: Quantity
    number: Quantity
    #: `beyond_grant`, or `no_allotment` of that lot to that epoch of the device.
    reason: str
    lines: list[OverdrawnLine]


class OverdraftSettled(Fact, frozen=True, kw_only=True):
    """It is decided what covers a disputed sale: stock, or nothing but the loss."""

    routing_key = "catalog.overdraft_settled.v1"
    subject = "sale_id"

    sale_id: UUID
    #: `covered`, `lost`, or `voided` when the sale itself was undone at the counter.
    resolution: str


class ParcelHandedOver(Fact, frozen=True, kw_only=True):
    """A station's till gave a waiting parcel to whoever showed its code, perhaps long ago."""

    routing_key = "orders.parcel_handed_over.v1"
    subject = "entry_id"
    public = False

    #: Of the till's journal: device, epoch and number.
    entry_id: UUID
    shipment_id: UUID
    site_id: UUID
    device_code: str
    code: str | None
    received_by: str | None
    collected_fen: Fen
    difference_reason: str | None
    device_time: Moment


class HandOverRefused(Fact, frozen=True, kw_only=True):
    """A parcel that a till says it gave away was not there to give: wrong code, or gone before."""

    routing_key = "logistics.hand_over_refused.v1"
    subject = "shipment_id"

    shipment_id: UUID
    entry_id: UUID
    #: The problem's type, such as `wrong-code`.
    reason: str
