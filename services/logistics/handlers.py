"""What logistics does with the facts of the other services."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from services.logistics.batch import LogisticsBatch
from services.logistics.models import Shipment, StoppedLot, VariantReadModel
from services.logistics.use_cases import contacts, goods, planning, recalls, till
from shared.events import (
    ContactGiven,
    DeviceKeyGiven,
    LotHeld,
    LotRecalled,
    LotReleased,
    OrderCancelled,
    OrderConfirmed,
    OrderRejected,
    ParcelHandedOver,
    ProductListed,
)
from shared.messaging.device_keys import apply_device_key
from shared.messaging.envelope import Event
from shared.messaging.service import Subscriptions


def on_product_listed(batch: LogisticsBatch, event: Event[ProductListed]) -> None:
    """Copy how the product's variants are stored."""
    goods.copy_variants(batch, event.data, event.sequence)


def on_contact_given(batch: LogisticsBatch, event: Event[ContactGiven]) -> None:
    """Keep where to deliver, until it is no longer needed."""
    contacts.keep_contact(batch, event.data)


def on_order_confirmed(batch: LogisticsBatch, event: Event[OrderConfirmed]) -> None:
    """Plan the order's shipment."""
    planning.plan_shipment(batch, event.data)


def on_order_cancelled(batch: LogisticsBatch, event: Event[OrderCancelled]) -> None:
    """Cancel the order's shipment, or call it back."""
    planning.stop_shipment(batch, event.data.order_id)


def on_order_rejected(batch: LogisticsBatch, event: Event[OrderRejected]) -> None:
    """Erase the contact of an order that is never delivered, and cancel its shipment.

    Most rejected orders have no shipment. One has if its lot was recalled after it was confirmed,
    and no other lot could replace it.
    """
    planning.stop_shipment(batch, event.data.order_id)


def on_lot_held(batch: LogisticsBatch, event: Event[LotHeld]) -> None:
    """Stop all shipments that carry the lot."""
    recalls.hold_lot(batch, event.data.lot_id)


def on_lot_released(batch: LogisticsBatch, event: Event[LotReleased]) -> None:
    """Resume the shipments that the lot has stopped."""
    recalls.release_lot(batch, event.data.lot_id)


def on_lot_recalled(batch: LogisticsBatch, event: Event[LotRecalled]) -> None:
    """Stop or call back all shipments that carry the lot."""
    recalls.recall_lot(batch, event.data.lot_id)


def on_device_key_given(batch: LogisticsBatch, event: Event[DeviceKeyGiven]) -> None:
    """Store whether a station's till may ask for its parcels."""
    apply_device_key(batch.session, event.data, event.sequence)


def on_parcel_handed_over(batch: LogisticsBatch, event: Event[ParcelHandedOver]) -> None:
    """Mark the parcel that a till handed over as collected, or publish why that cannot be."""
    till.apply_hand_over(batch, event.data)


def load(batch: LogisticsBatch, events: Sequence[Event[Any]]) -> None:
    """Lock the rows that the events change and read those that they need, a statement a kind.

    It reads no contacts: the batch replaces or erases them by their orders.
    """
    listed: set[UUID] = set()
    sites: set[UUID] = set()
    variants: set[UUID] = set()
    orders: set[UUID] = set()
    lots: set[UUID] = set()
    parcels: set[UUID] = set()
    for event in events:
        match event.data:
            case ProductListed() as product:
                listed.update(variant.variant_id for variant in product.variants)
            case OrderConfirmed() as order:
                orders.add(order.order_id)
                sites.add(order.site_id)
                variants.update(line.variant_id for line in order.lines)
                lots.update(lot.lot_id for line in order.lines for lot in line.lots)
            case (OrderCancelled() | OrderRejected()) as order:
                orders.add(order.order_id)
            case (LotHeld() | LotReleased() | LotRecalled()) as lot:
                lots.add(lot.lot_id)
            case ParcelHandedOver() as parcel:
                parcels.add(parcel.shipment_id)
    batch.load_for_update(VariantReadModel.id, listed)
    batch.load_sites(sites)
    batch.load_variants(variants)
    batch.load_for_update(Shipment.order_id, orders)
    batch.load_for_update(Shipment.id, parcels)
    batch.load_for_update(StoppedLot.lot_id, lots)


SUBSCRIPTIONS: Subscriptions = {
    ProductListed: on_product_listed,
    ContactGiven: on_contact_given,
    OrderConfirmed: on_order_confirmed,
    OrderCancelled: on_order_cancelled,
    OrderRejected: on_order_rejected,
    LotHeld: on_lot_held,
    LotReleased: on_lot_released,
    LotRecalled: on_lot_recalled,
    DeviceKeyGiven: on_device_key_given,
    ParcelHandedOver: on_parcel_handed_over,
}
