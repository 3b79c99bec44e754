"""What catalog does when something happened elsewhere."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from services.catalog.models import Location
from services.catalog.use_cases import bookings, locations, reservations, reserve, station_sales
from shared.events import (
    OrderCancelled,
    OrderConfirmed,
    OrderExpired,
    OrderPlaced,
    OrderReinstated,
    ShipmentCancelled,
    ShipmentDispatched,
    ShipmentReturned,
    SiteClosed,
    SiteOpened,
    StationSaleDisputed,
    StationSaleRecorded,
)
from shared.messaging.envelope import Envelope
from shared.messaging.rows import lock_rows
from shared.messaging.service import Prepare, Subscriptions


def on_site_opened(session: Session, event: Envelope) -> None:
    """Let stock lie at a site."""
    locations.open_location(session, **event.data)


def on_site_closed(session: Session, event: Envelope) -> None:
    """Take no more stock in at a site, and sell none that lies there."""
    locations.close_location(session, event.data["site_id"])


def on_order_placed(session: Session, event: Envelope) -> None:
    """Reserve all lines of an order or none, and answer with a fact."""
    data = event.data
    reserve.reserve_stock(
        session, data["order_id"], data["channel"], data["site_id"], data["lines"]
    )


def on_order_reinstated(session: Session, event: Envelope) -> None:
    """Reserve once more for an order that was paid late."""
    reserve.reserve_again(session, event.data["order_id"], event.data["lines"])


def on_order_confirmed(session: Session, event: Envelope) -> None:
    """Commit what was reserved."""
    reservations.commit_stock(session, event.data["order_id"])


def on_order_cancelled(session: Session, event: Envelope) -> None:
    """Free what was only reserved; committed goods come back on logistics' word."""
    reservations.give_up_stock(session, event.data["order_id"], "cancelled")


def on_order_expired(session: Session, event: Envelope) -> None:
    """Free what an unpaid order held."""
    reservations.give_up_stock(session, event.data["order_id"], "expired")


def on_shipment_dispatched(session: Session, event: Envelope) -> None:
    """Take the goods out of stock."""
    reservations.consume_stock(session, event.data["order_id"], event.data["lines"])


def on_shipment_cancelled(session: Session, event: Envelope) -> None:
    """Free goods that did not leave."""
    reservations.release_stopped(session, event.data["order_id"])


def on_shipment_returned(session: Session, event: Envelope) -> None:
    """Take goods back into stock, or write them off."""
    data = event.data
    reservations.take_back(session, data["order_id"], data["lines"], data["restock"])


def on_station_sale_recorded(session: Session, event: Envelope) -> None:
    """Book what a station sold, or what came back to it; or note that it had no right to."""
    station_sales.record_sale(session, event.data)


def on_station_sale_disputed(session: Session, event: Envelope) -> None:
    """Keep a sale that orders could not take, until an operator decides what covers it."""
    station_sales.record_dispute(session, event.data)


def prepare_sites(session: Session, events: Sequence[Envelope]) -> None:
    """Lock the locations of a batch."""
    lock_rows(session, Location.id, (event.data["site_id"] for event in events))


def prepare_placed(session: Session, events: Sequence[Envelope]) -> None:
    """Lock the lots that the orders of a batch may take from."""
    reserve.lock_for_placement(
        session,
        [event.data["order_id"] for event in events],
        {line["variant_id"] for event in events for line in event.data["lines"]},
    )


def prepare_orders(session: Session, events: Sequence[Envelope]) -> None:
    """Lock the reservations of a batch and the lots they hold."""
    reservations.lock_for_orders(session, [event.data["order_id"] for event in events])


def prepare_sales(session: Session, events: Sequence[Envelope]) -> None:
    """Lock the lots, devices and allotments of a batch of sales."""
    station_sales.lock_for_sales(session, [event.data for event in events])


def prepare_disputes(session: Session, events: Sequence[Envelope]) -> None:
    """Load which of a batch of disputed sales are known."""
    bookings.load_bookings(session, [event.data["sale_id"] for event in events])


PREPARE: Prepare = {
    SiteOpened: prepare_sites,
    SiteClosed: prepare_sites,
    OrderPlaced: prepare_placed,
    OrderReinstated: prepare_placed,
    OrderConfirmed: prepare_orders,
    OrderCancelled: prepare_orders,
    OrderExpired: prepare_orders,
    ShipmentDispatched: prepare_orders,
    ShipmentCancelled: prepare_orders,
    ShipmentReturned: prepare_orders,
    StationSaleRecorded: prepare_sales,
    StationSaleDisputed: prepare_disputes,
}

SUBSCRIPTIONS: Subscriptions = {
    SiteOpened: on_site_opened,
    SiteClosed: on_site_closed,
    OrderPlaced: on_order_placed,
    OrderReinstated: on_order_reinstated,
    OrderConfirmed: on_order_confirmed,
    OrderCancelled: on_order_cancelled,
    OrderExpired: on_order_expired,
    ShipmentDispatched: on_shipment_dispatched,
    ShipmentCancelled: on_shipment_cancelled,
    ShipmentReturned: on_shipment_returned,
    StationSaleRecorded: on_station_sale_recorded,
    StationSaleDisputed: on_station_sale_disputed,
}
