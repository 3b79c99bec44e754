"""What orders does with the facts of catalog and logistics."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from services.orders.models import PriceCopy, SiteCopy, TillEntry
from services.orders.rules.standing import FulfilmentState
from services.orders.use_cases import copies, decide, entries, follow, recalls
from services.orders.use_cases.advance import lock_orders
from shared.events import (
    AllotmentOverdrawn,
    DeliveryFailed,
    DeviceKeyGiven,
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
from shared.messaging.envelope import Envelope
from shared.messaging.rows import lock_rows
from shared.messaging.service import Prepare, Subscriptions
from shared.runtime import devices
from shared.runtime.tables import ApiKey

# --- What may be ordered, and for how much --------------------------------------------------------


def on_product_listed(session: Session, event: Envelope) -> None:
    """Put the product's variants on sale."""
    copies.note_product(session, event.data["product_id"], event.data["variants"], event.sequence)


def on_product_withdrawn(session: Session, event: Envelope) -> None:
    """Take the product's variants off sale."""
    copies.note_withdrawal(session, event.data["product_id"], event.sequence)


def on_price_changed(session: Session, event: Envelope) -> None:
    """Take the price into the list."""
    copies.note_price(session, **event.data, sequence=event.sequence)


def on_site_opened(session: Session, event: Envelope) -> None:
    """Let orders go to the site."""
    copies.note_site(session, event.data["site_id"], event.data["code"], event.sequence)


def on_site_closed(session: Session, event: Envelope) -> None:
    """Let no new orders go to the site."""
    copies.note_closing(session, event.data["site_id"], event.sequence)


# --- Whether an order stands ---------------------------------------------------------------------


def on_stock_reserved(session: Session, event: Envelope) -> None:
    """Confirm the order, or hold it for its money."""
    decide.note_reserved(session, event.data["order_id"], event.data["lines"])


def on_stock_refused(session: Session, event: Envelope) -> None:
    """Reject the order."""
    decide.note_refused(session, event.data["order_id"], event.data["shortfalls"])


# --- Where its goods are ----------------------------------------------------------------------


def on_shipment_planned(session: Session, event: Envelope) -> None:
    """Keep the shipment and the day promised."""
    data = event.data
    follow.note_planned(
        session, data["order_id"], data["shipment_id"], data["shipment_ref"], data["promised_on"]
    )


def on_shipment_packed(session: Session, event: Envelope) -> None:
    """Note that the order is being fulfilled."""
    follow.note_packed(session, event.data["order_id"])


def on_shipment_dispatched(session: Session, event: Envelope) -> None:
    """Note that the order is shipped: it can no longer be cancelled."""
    follow.note_dispatched(session, event.data["order_id"])


def on_shipment_delivered(session: Session, event: Envelope) -> None:
    """Complete the order and book its cash."""
    data = event.data
    follow.note_handed_over(
        session, data["order_id"], FulfilmentState.DELIVERED, data["collected_fen"]
    )


def on_shipment_collected(session: Session, event: Envelope) -> None:
    """Complete the order and book its cash."""
    data = event.data
    follow.note_handed_over(
        session, data["order_id"], FulfilmentState.COLLECTED, data["collected_fen"]
    )


def on_delivery_failed(session: Session, event: Envelope) -> None:
    """Note that the goods go back."""
    follow.note_failed(session, event.data["order_id"])


def on_shipment_returned(session: Session, event: Envelope) -> None:
    """End the order and give back what was paid."""
    follow.note_returned(session, event.data["order_id"])


def on_shipment_cancelled(session: Session, event: Envelope) -> None:
    """Note that the goods of a cancelled or rejected order never left."""
    follow.note_stopped(session, event.data["order_id"])


def on_lot_recalled(session: Session, event: Envelope) -> None:
    """Ask for other stock for the orders that wait for their money."""
    recalls.note_lot_recalled(session, event.data["lot_id"])


def on_shipment_recalled(session: Session, event: Envelope) -> None:
    """Ask for other stock for an order whose parcel did not leave."""
    data = event.data
    lot_ids = [lot["lot_id"] for lot in data["lots"]]
    recalls.note_shipment_recalled(session, data["order_id"], data["where"], lot_ids)


# --- What stations' tills said they did ----------------------------------------------------------


def on_device_key_given(session: Session, event: Envelope) -> None:
    """Let a device upload with its key, or no longer."""
    devices.note_device_key(session, event.data, event.sequence)


def on_allotment_overdrawn(session: Session, event: Envelope) -> None:
    """Dispute the sale."""
    entries.note_overdrawn(session, event.data["sale_id"], event.data["reason"])


def on_overdraft_settled(session: Session, event: Envelope) -> None:
    """Note that the dispute is over, and how it ended."""
    entries.note_settled(session, event.data["sale_id"], event.data["resolution"])


def on_hand_over_refused(session: Session, event: Envelope) -> None:
    """Dispute the till's word."""
    entries.note_refused_hand_over(session, event.data["entry_id"], event.data["reason"])


# --- What a batch needs, in a few statements ----------------------------------------------------


def prepare_products(session: Session, events: Sequence[Envelope]) -> None:
    """Lock the copies of all the products."""
    copies.lock_products(session, (event.data["product_id"] for event in events))


def prepare_prices(session: Session, events: Sequence[Envelope]) -> None:
    """Lock the prices that begin when these do."""
    names = ("variant_id", "channel", "valid_from")
    keys = [copies.price_id(*(event.data[name] for name in names)) for event in events]
    lock_rows(session, PriceCopy.id, keys)


def prepare_sites(session: Session, events: Sequence[Envelope]) -> None:
    """Lock the copies of all the sites."""
    lock_rows(session, SiteCopy.id, (event.data["site_id"] for event in events))


def prepare_orders(session: Session, events: Sequence[Envelope]) -> None:
    """Lock all the orders, with their lines."""
    lock_orders(session, (event.data["order_id"] for event in events))


def prepare_keys(session: Session, events: Sequence[Envelope]) -> None:
    """Lock the keys of all the devices."""
    lock_rows(session, ApiKey.id, (event.data["key_id"] for event in events))


def prepare_sales(session: Session, events: Sequence[Envelope]) -> None:
    """Lock all the sales."""
    lock_rows(session, TillEntry.id, (event.data["sale_id"] for event in events))


def prepare_hand_overs(session: Session, events: Sequence[Envelope]) -> None:
    """Lock the entries by which the parcels were given away."""
    lock_rows(session, TillEntry.id, (event.data["entry_id"] for event in events))


PREPARE: Prepare = {
    ProductListed: prepare_products,
    ProductWithdrawn: prepare_products,
    PriceChanged: prepare_prices,
    SiteOpened: prepare_sites,
    SiteClosed: prepare_sites,
    StockReserved: prepare_orders,
    StockRefused: prepare_orders,
    ShipmentPlanned: prepare_orders,
    ShipmentPacked: prepare_orders,
    ShipmentDispatched: prepare_orders,
    ShipmentDelivered: prepare_orders,
    ShipmentCollected: prepare_orders,
    DeliveryFailed: prepare_orders,
    ShipmentReturned: prepare_orders,
    ShipmentCancelled: prepare_orders,
    ShipmentRecalled: prepare_orders,
    DeviceKeyGiven: prepare_keys,
    AllotmentOverdrawn: prepare_sales,
    OverdraftSettled: prepare_sales,
    HandOverRefused: prepare_hand_overs,
}

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
