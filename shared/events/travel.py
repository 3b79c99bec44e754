"""The goods travel, from packing to the hand-over or the return."""

from datetime import date
from typing import Literal
from uuid import UUID

from msgspec import UNSET, UnsetType

from shared.events.base import Fact, Fen, Part
from shared.events.placing import TakenLot

#: Where a shipment is when a lot that it carries is recalled.
RecalledWhere = Literal["here", "on_its_way", "with_buyer"]


class ShippedLine(Part, frozen=True, kw_only=True):
    """What a shipment carries of one line, lot by lot."""

    line_no: int
    variant_id: UUID
    lots: list[TakenLot]


class ShipmentPlanned(Fact, frozen=True, kw_only=True):
    """A confirmed order has a shipment, a way to its site, and a day promised."""

    routing_key = "logistics.shipment_planned.v1"
    subject = "shipment_id"

    shipment_id: UUID
    shipment_ref: str
    order_id: UUID
    site_id: UUID
    promised_on: date


class ShipmentPacked(Fact, frozen=True, kw_only=True):
    """The goods of a shipment are packed."""

    routing_key = "logistics.shipment_packed.v1"
    subject = "shipment_id"

    shipment_id: UUID
    order_id: UUID


class ShipmentDispatched(Fact, frozen=True, kw_only=True):
    """A shipment left the place where its goods lay; they are out of stock from now on."""

    routing_key = "logistics.shipment_dispatched.v1"
    subject = "shipment_id"

    shipment_id: UUID
    shipment_ref: str
    order_id: UUID
    lines: list[ShippedLine]


class ShipmentArrived(Fact, frozen=True, kw_only=True):
    """A shipment reached a site on its way; `final` when it is the one it is meant for."""

    routing_key = "logistics.shipment_arrived.v1"
    subject = "shipment_id"

    shipment_id: UUID
    order_id: UUID
    site_id: UUID
    final: bool
    collect: bool


class CollectionCodeIssued(Fact, frozen=True, kw_only=True):
    """A shipment waits at its site for the buyer, who shows this code."""

    routing_key = "logistics.collection_code_issued.v1"
    subject = "shipment_id"
    public = False

    shipment_id: UUID
    order_id: UUID
    site_id: UUID
    code: str


class ShipmentDelivered(Fact, frozen=True, kw_only=True):
    """A shipment was brought to its buyer, who is on record as having taken it."""

    routing_key = "logistics.shipment_delivered.v1"
    subject = "shipment_id"

    shipment_id: UUID
    order_id: UUID
    #: Cash taken at the door or counter, in fen; 0 when the order was paid before.
    collected_fen: Fen


class ShipmentCollected(Fact, frozen=True, kw_only=True):
    """The buyer came to the site, proved who they are, and took the shipment."""

    routing_key = "logistics.shipment_collected.v1"
    subject = "shipment_id"

    shipment_id: UUID
    order_id: UUID
    collected_fen: Fen
    #: By what: the code that the buyer was sent, or a name; absent in older events.
    proof: Literal["code", "name"] | UnsetType = UNSET


class DeliveryFailed(Fact, frozen=True, kw_only=True):
    """A shipment could not be handed over and goes back."""

    routing_key = "logistics.delivery_failed.v1"
    subject = "shipment_id"

    shipment_id: UUID
    order_id: UUID
    reason: str


class ShipmentRecalled(Fact, frozen=True, kw_only=True):
    """A shipment carries goods of a recalled lot; `where` says what that means for it."""

    routing_key = "logistics.shipment_recalled.v1"
    subject = "shipment_id"

    shipment_id: UUID
    order_id: UUID
    #: `here`: it has not left, and does not leave with these lots. `on_its_way`: it comes back
    #: (`delivery_failed` follows). `with_buyer`: the buyer has the goods.
    where: RecalledWhere
    #: What it carries of recalled lots.
    lots: list[TakenLot]


class ShipmentCancelled(Fact, frozen=True, kw_only=True):
    """A shipment was stopped before its goods left; they lie where they lay."""

    routing_key = "logistics.shipment_cancelled.v1"
    subject = "shipment_id"

    shipment_id: UUID
    order_id: UUID


class ShipmentReturned(Fact, frozen=True, kw_only=True):
    """A shipment's goods are back at the location they came from."""

    routing_key = "logistics.shipment_returned.v1"
    subject = "shipment_id"

    shipment_id: UUID
    order_id: UUID
    #: False: the goods are spoiled or lost and do not go back on sale.
    restock: bool
    lines: list[ShippedLine]


class OrderCompleted(Fact, frozen=True, kw_only=True):
    """The buyer has the goods and the money is accounted for."""

    routing_key = "orders.order_completed.v1"
    subject = "order_id"

    order_id: UUID
    order_ref: str
    total_fen: Fen


class OrderReturned(Fact, frozen=True, kw_only=True):
    """The goods came back undelivered; the order is over."""

    routing_key = "orders.order_returned.v1"
    subject = "order_id"

    order_id: UUID
    order_ref: str
