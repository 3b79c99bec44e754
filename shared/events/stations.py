"""Stations sell while disconnected: devices, their allotments and their sales."""

from uuid import UUID

from shared.events.base import (
    Amount,
    CounterPayment,
    Fact,
    Fen,
    Moment,
    Number,
    Part,
    Quantity,
    StationSaleKind,
)


class DeviceKeyGiven(Fact, frozen=True, kw_only=True):
    """A device's epoch has an API key with these scopes; a key without scopes is revoked."""

    routing_key = "catalog.device_key_given.v1"
    subject = "device_id"
    public = False

    device_id: UUID
    device_code: str
    site_id: UUID
    epoch: Number
    key_id: UUID
    #: SHA-256 of the key's secret, 64 hexadecimal digits.
    digest: str
    scopes: list[str]


class AllotmentGranted(Fact, frozen=True, kw_only=True):
    """A device may sell `quantity` more of a lot; no other order or device can take it."""

    routing_key = "catalog.allotment_granted.v1"
    subject = "allotment_id"

    allotment_id: UUID
    device_id: UUID
    epoch: Number
    site_id: UUID
    lot_id: UUID
    quantity: Quantity
    #: The total ever granted under this allotment.
    granted: Amount


class AllotmentReturned(Fact, frozen=True, kw_only=True):
    """A device returned part of its allotment; its stock is available to all again."""

    routing_key = "catalog.allotment_returned.v1"
    subject = "allotment_id"

    allotment_id: UUID
    device_id: UUID
    lot_id: UUID
    quantity: Quantity


class SoldLine(Part, frozen=True, kw_only=True):
    """One line of a sale or a return over the counter."""

    line_no: int
    variant_id: UUID
    lot_id: UUID
    quantity: Quantity
    #: The amount that the buyer paid or got back.
    line_total_fen: Fen
    #: Whether returned goods can be sold again; None for a sale.
    restock: bool | None


class StationSaleRecorded(Fact, frozen=True, kw_only=True):
    """A station sold over the counter, voided a sale or took goods back; recorded once.

    `sale_id` is derived from device, epoch and number.
    """

    routing_key = "orders.station_sale_recorded.v1"
    subject = "sale_id"

    sale_id: UUID
    kind: StationSaleKind
    device_id: UUID
    epoch: Number
    number: Number
    site_id: UUID
    #: The sale that is voided or whose goods were returned.
    of_sale_id: UUID | None
    lines: list[SoldLine]
    total_fen: Fen
    payment: CounterPayment
    #: By the device's own clock, which may be wrong.
    device_time: Moment


class StationSaleDisputed(Fact, frozen=True, kw_only=True):
    """A recorded sale cannot be correct, such as a second one with the same number.

    Orders stores the sale, and an operator decides. No balance contains its quantity until then.
    """

    routing_key = "orders.station_sale_disputed.v1"
    subject = "sale_id"

    sale_id: UUID
    kind: StationSaleKind
    device_id: UUID
    epoch: Number
    number: Number
    site_id: UUID
    #: `beyond_grant`, `other_content`, `beyond_sale`, `unreadable`, …
    reason: str
    lines: list[SoldLine]


class OverdrawnLine(Part, frozen=True, kw_only=True):
    """A line of a sale, and the quantity of the lot that the device still had."""

    line_no: int
    lot_id: UUID
    requested: Amount
    remaining: Amount


class AllotmentOverdrawn(Fact, frozen=True, kw_only=True):
    """A station sold more than its device's allotment; catalog books no line of the sale."""

    routing_key = "catalog.allotment_overdrawn.v1"
    subject = "sale_id"

    sale_id: UUID
    device_id: UUID
    epoch: Number
    number: Number
    #: `beyond_grant`, or `no_allotment` if this epoch of the device has none of the lot.
    reason: str
    lines: list[OverdrawnLine]


class OverdraftSettled(Fact, frozen=True, kw_only=True):
    """A disputed sale is settled: stock covers it, it is a loss, or the counter voided it."""

    routing_key = "catalog.overdraft_settled.v1"
    subject = "sale_id"

    sale_id: UUID
    #: `covered`, `lost`, or `voided` when the sale was voided at the counter.
    resolution: str


class ParcelHandedOver(Fact, frozen=True, kw_only=True):
    """A station's till handed over a waiting parcel, perhaps long before its upload."""

    routing_key = "orders.parcel_handed_over.v1"
    subject = "entry_id"
    public = False

    #: The entry of the till's journal; derived from device, epoch and number.
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
    """Logistics refused a hand-over by a till: the code is wrong, or the parcel was not there."""

    routing_key = "logistics.hand_over_refused.v1"
    subject = "shipment_id"

    shipment_id: UUID
    entry_id: UUID
    #: The problem's type, such as `wrong-code`.
    reason: str
