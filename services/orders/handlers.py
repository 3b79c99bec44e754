"""What orders does with the facts of catalog and logistics."""

from collections.abc import Sequence
from uuid import UUID

from services.orders.batch import OrdersBatch
from services.orders.models import Order, PriceReadModel, ProductReadModel, SiteReadModel, TillEntry
from services.orders.rules.order_status import FulfilmentState
from services.orders.rules.prices import price_id
from services.orders.use_cases import decide, entries, follow, read_models, recalls
from shared.events import (
    AllotmentOverdrawn,
    DeliveryFailed,
    DeviceKeyGiven,
    Fact,
    HandOverRefused,
    LotRecalled,
    OverdraftSettled,
    PriceChanged,
    ProductListed,
    ProductWithdrawn,
    ShipmentCancelled,
    ShipmentCollected,
    ShipmentDelivered,
    ShipmentDispatched,
    ShipmentPacked,
    ShipmentPlanned,
    ShipmentRecalled,
    ShipmentReturned,
    SiteClosed,
    SiteOpened,
    StockRefused,
    StockReserved,
)
from shared.messaging.device_keys import apply_device_key
from shared.messaging.envelope import Event
from shared.messaging.service import Subscriptions
from shared.runtime.tables import ApiKey

# --- What may be ordered, and for how much --------------------------------------------------------


def on_product_listed(batch: OrdersBatch, event: Event[ProductListed]) -> None:
    """Put the product's variants on sale."""
    read_models.apply_product_listed(batch, event.data, event.sequence)


def on_product_withdrawn(batch: OrdersBatch, event: Event[ProductWithdrawn]) -> None:
    """Take the product's variants off sale."""
    read_models.apply_product_withdrawn(batch, event.data.product_id, event.sequence)


def on_price_changed(batch: OrdersBatch, event: Event[PriceChanged]) -> None:
    """Add the price to the list."""
    read_models.apply_price_changed(batch, event.data, event.sequence)


def on_site_opened(batch: OrdersBatch, event: Event[SiteOpened]) -> None:
    """Open the site for orders."""
    read_models.apply_site_opened(batch, event.data, event.sequence)


def on_site_closed(batch: OrdersBatch, event: Event[SiteClosed]) -> None:
    """Close the site for new orders."""
    read_models.apply_site_closed(batch, event.data.site_id, event.sequence)


# --- Whether an order stands ---------------------------------------------------------------------


def on_stock_reserved(batch: OrdersBatch, event: Event[StockReserved]) -> None:
    """Confirm the order, or hold it for its money."""
    decide.apply_stock_reserved(batch, event.data)


def on_stock_refused(batch: OrdersBatch, event: Event[StockRefused]) -> None:
    """Reject the order."""
    decide.apply_stock_refused(batch, event.data)


# --- Where its goods are ----------------------------------------------------------------------


def on_shipment_planned(batch: OrdersBatch, event: Event[ShipmentPlanned]) -> None:
    """Store the shipment and the day promised."""
    follow.apply_shipment_planned(batch, event.data)


def on_shipment_packed(batch: OrdersBatch, event: Event[ShipmentPacked]) -> None:
    """Move the order to IN_FULFILMENT."""
    follow.apply_shipment_packed(batch, event.data.order_id)


def on_shipment_dispatched(batch: OrdersBatch, event: Event[ShipmentDispatched]) -> None:
    """Move the order to SHIPPED: it can no longer be cancelled."""
    follow.apply_shipment_dispatched(batch, event.data.order_id)


def on_shipment_delivered(batch: OrdersBatch, event: Event[ShipmentDelivered]) -> None:
    """Complete the order and book its cash."""
    fact = event.data
    follow.apply_handed_over(batch, fact.order_id, FulfilmentState.DELIVERED, fact.collected_fen)


def on_shipment_collected(batch: OrdersBatch, event: Event[ShipmentCollected]) -> None:
    """Complete the order and book its cash."""
    fact = event.data
    follow.apply_handed_over(batch, fact.order_id, FulfilmentState.COLLECTED, fact.collected_fen)


def on_delivery_failed(batch: OrdersBatch, event: Event[DeliveryFailed]) -> None:
    """Store that the goods go back."""
    follow.apply_delivery_failed(batch, event.data.order_id)


def on_shipment_returned(batch: OrdersBatch, event: Event[ShipmentReturned]) -> None:
    """End the order and refund its payment."""
    follow.apply_shipment_returned(batch, event.data.order_id)


def on_shipment_cancelled(batch: OrdersBatch, event: Event[ShipmentCancelled]) -> None:
    """Store that the goods of a cancelled or rejected order never left."""
    follow.apply_shipment_cancelled(batch, event.data.order_id)


def on_lot_recalled(batch: OrdersBatch, event: Event[LotRecalled]) -> None:
    """Ask for other stock for the orders that wait for their money."""
    recalls.apply_lot_recalled(batch, event.data.lot_id)


def on_shipment_recalled(batch: OrdersBatch, event: Event[ShipmentRecalled]) -> None:
    """Ask for other stock for an order whose parcel did not leave."""
    recalls.apply_shipment_recalled(batch, event.data)


# --- What stations' tills uploaded ----------------------------------------------------------


def on_device_key_given(batch: OrdersBatch, event: Event[DeviceKeyGiven]) -> None:
    """Store whether a device may upload with its key."""
    apply_device_key(batch.session, event.data, event.sequence)


def on_allotment_overdrawn(batch: OrdersBatch, event: Event[AllotmentOverdrawn]) -> None:
    """Dispute the sale."""
    entries.apply_allotment_overdrawn(batch, event.data)


def on_overdraft_settled(batch: OrdersBatch, event: Event[OverdraftSettled]) -> None:
    """Settle the dispute."""
    entries.apply_overdraft_settled(batch, event.data)


def on_hand_over_refused(batch: OrdersBatch, event: Event[HandOverRefused]) -> None:
    """Dispute the till's entry."""
    entries.apply_hand_over_refused(batch, event.data)


def load(batch: OrdersBatch, events: Sequence[Event[Fact]]) -> None:
    """Lock and load the rows that the handlers of `events` ask for, one statement a table."""
    products, prices, sites, orders, entries, keys = (set[UUID]() for _ in range(6))
    for event in events:
        fact = event.data
        match fact:
            case (
                StockReserved()
                | StockRefused()
                | ShipmentPlanned()
                | ShipmentPacked()
                | ShipmentDispatched()
                | ShipmentDelivered()
                | ShipmentCollected()
                | ShipmentCancelled()
                | ShipmentRecalled()
                | ShipmentReturned()
                | DeliveryFailed()
            ):
                orders.add(fact.order_id)
            case AllotmentOverdrawn() | OverdraftSettled():
                entries.add(fact.sale_id)
            case HandOverRefused():
                entries.add(fact.entry_id)
            case ProductListed() | ProductWithdrawn():
                products.add(fact.product_id)
            case PriceChanged():
                prices.add(price_id(fact.variant_id, fact.channel, fact.valid_from))
            case SiteOpened() | SiteClosed():
                sites.add(fact.site_id)
            case DeviceKeyGiven():
                keys.add(fact.key_id)
    batch.load_for_update(ProductReadModel.id, products)
    batch.load_for_update(PriceReadModel.id, prices)
    batch.load_for_update(SiteReadModel.id, sites)
    batch.load_for_update(Order.id, orders)
    batch.load_for_update(TillEntry.id, entries)
    batch.load_for_update(ApiKey.id, keys)


SUBSCRIPTIONS: Subscriptions = {
    ProductListed: on_product_listed,
    ProductWithdrawn: on_product_withdrawn,
    PriceChanged: on_price_changed,
    SiteOpened: on_site_opened,
    SiteClosed: on_site_closed,
    StockReserved: on_stock_reserved,
    StockRefused: on_stock_refused,
    ShipmentPlanned: on_shipment_planned,
    ShipmentPacked: on_shipment_packed,
    ShipmentDispatched: on_shipment_dispatched,
    ShipmentDelivered: on_shipment_delivered,
    ShipmentCollected: on_shipment_collected,
    DeliveryFailed: on_delivery_failed,
    ShipmentReturned: on_shipment_returned,
    ShipmentCancelled: on_shipment_cancelled,
    LotRecalled: on_lot_recalled,
    ShipmentRecalled: on_shipment_recalled,
    DeviceKeyGiven: on_device_key_given,
    AllotmentOverdrawn: on_allotment_overdrawn,
    OverdraftSettled: on_overdraft_settled,
    HandOverRefused: on_hand_over_refused,
}
