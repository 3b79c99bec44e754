"""The goods' way, from packing to the hand-over or the return."""

from datetime import date
from typing import Literal
from uuid import UUID

from msgspec import UNSET, UnsetType

from shared.events.base import Fact, Fen, OrderFact, Part
from shared.events.placing import TakenLot

#: The place of a shipment when one of its lots is recalled.
RecalledWhere = Literal["here", "on_its_way", "with_buyer"]


class ShippedLine(Part, frozen=True, kw_only=True):
    """One line of a shipment, by lot."""

    line_no: int
    variant_id: UUID
    lots: list[TakenLot]


class ShipmentPlanned(Fact, frozen=True, kw_only=True):
    """Logistics planned the shipment of a confirmed order: its route and its promised date."""

    routing_key = "logistics.shipment_planned.v1"
    subject = "shipment_id"

    shipment_id: UUID
    shipment_ref: str
    order_id: UUID
    site_id: UUID
    promised_on: date


class ShipmentPacked(Fact, frozen=True, kw_only=True):
    """A site packed the goods of a shipment."""

    routing_key = "logistics.shipment_packed.v1"
    subject = "shipment_id"

    shipment_id: UUID
    order_id: UUID


class ShipmentDispatched(Fact, frozen=True, kw_only=True):
    """A shipment left the location of its goods; catalog takes them out of stock."""

    routing_key = "logistics.shipment_dispatched.v1"
    subject = "shipment_id"

    shipment_id: UUID
    shipment_ref: str
    order_id: UUID
    lines: list[ShippedLine]
    #: The day of arrival that `shipment_planned` promised; absent in older events.
    promised_on: date | UnsetType = UNSET


class ShipmentArrived(Fact, frozen=True, kw_only=True):
    """A shipment reached a site on its route; `final` is true at its destination."""

    routing_key = "logistics.shipment_arrived.v1"
    subject = "shipment_id"

    shipment_id: UUID
    order_id: UUID
    site_id: UUID
    final: bool
    collect: bool


class CollectionCodeIssued(Fact, frozen=True, kw_only=True):
    """A shipment waits at its site for the buyer, who collects it with this code."""

    routing_key = "logistics.collection_code_issued.v1"
    subject = "shipment_id"
    public = False

    shipment_id: UUID
    order_id: UUID
    site_id: UUID
    code: str


class ShipmentDelivered(Fact, frozen=True, kw_only=True):
    """A site delivered a shipment to its buyer and recorded the receiver."""

    routing_key = "logistics.shipment_delivered.v1"
    subject = "shipment_id"

    shipment_id: UUID
    order_id: UUID
    #: Cash that the buyer paid at delivery, in fen; 0 for an order that was paid before.
    collected_fen: Fen


class ShipmentCollected(Fact, frozen=True, kw_only=True):
    """The buyer collected the shipment at the site, with the code or by name."""

    routing_key = "logistics.shipment_collected.v1"
    subject = "shipment_id"

    shipment_id: UUID
    order_id: UUID
    collected_fen: Fen
    #: The buyer's proof: the code from the message, or the name; absent in older events.
    proof: Literal["code", "name"] | UnsetType = UNSET


class DeliveryFailed(Fact, frozen=True, kw_only=True):
    """The hand-over of a shipment failed, and the shipment goes back."""

    routing_key = "logistics.delivery_failed.v1"
    subject = "shipment_id"

    shipment_id: UUID
    order_id: UUID
    #: `absent`, `refused`, `address_unknown`, `unpaid`, `damaged`, `lost`, `other`; `lot_recalled`
    #: or `order_cancelled` when nobody refused it.
    reason: str


class ShipmentRecalled(Fact, frozen=True, kw_only=True):
    """A shipment contains goods of a recalled lot; `where` is its place at that moment."""

    routing_key = "logistics.shipment_recalled.v1"
    subject = "shipment_id"

    shipment_id: UUID
    order_id: UUID
    #: `here`: it has not left, and will not leave with these lots. `on_its_way`: it comes back
    #: (`delivery_failed` follows). `with_buyer`: the buyer has the goods.
    where: RecalledWhere
    #: Its goods of recalled lots.
    lots: list[TakenLot]


class ShipmentCancelled(Fact, frozen=True, kw_only=True):
    """A shipment was cancelled before it left; its goods stay at their location."""

    routing_key = "logistics.shipment_cancelled.v1"
    subject = "shipment_id"

    shipment_id: UUID
    order_id: UUID


class ShipmentReturned(Fact, frozen=True, kw_only=True):
    """A shipment's goods are back at their original location."""

    routing_key = "logistics.shipment_returned.v1"
    subject = "shipment_id"

    shipment_id: UUID
    order_id: UUID
    #: False: the goods are spoiled or lost and do not go back on sale.
    restock: bool
    lines: list[ShippedLine]


class OrderCompleted(OrderFact, frozen=True, kw_only=True):
    """The buyer has the goods and the money is accounted for."""

    routing_key = "orders.order_completed.v1"

    total_fen: Fen


class OrderReturned(OrderFact, frozen=True, kw_only=True):
    """The goods came back undelivered, and the order has ended."""

    routing_key = "orders.order_returned.v1"
