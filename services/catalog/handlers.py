"""What catalog does with the facts of orders and logistics."""

from collections.abc import Sequence
from typing import Any

from services.catalog.batch import CatalogBatch
from services.catalog.models import Location
from services.catalog.use_cases.stations import recorded_sales, station_sales
from services.catalog.use_cases.stock import locations, reservations, reserve
from shared.events import (
    Fact,
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
from shared.messaging.envelope import Event
from shared.messaging.service import Subscriptions


def on_site_opened(batch: CatalogBatch, event: Event[SiteOpened]) -> None:
    """Add the site as a location for stock."""
    locations.open_location(batch, event.data)


def on_site_closed(batch: CatalogBatch, event: Event[SiteClosed]) -> None:
    """Close the site's location: it receives and sells no more stock."""
    locations.close_location(batch, event.data.site_id)


def on_order_placed(batch: CatalogBatch, event: Event[OrderPlaced]) -> None:
    """Reserve all lines of an order or none, and record the outcome."""
    reserve.reserve_stock(batch, event.data)


def on_order_reinstated(batch: CatalogBatch, event: Event[OrderReinstated]) -> None:
    """Reserve once more for an order that was paid late or whose lot was recalled."""
    reserve.reserve_again(batch, event.data)


def on_order_confirmed(batch: CatalogBatch, event: Event[OrderConfirmed]) -> None:
    """Commit the order's reserved stock."""
    reservations.commit_stock(batch, event.data.order_id)


def on_order_cancelled(batch: CatalogBatch, event: Event[OrderCancelled]) -> None:
    """Free reserved goods; logistics publishes when committed goods are free."""
    reservations.give_up_stock(batch, event.data.order_id, "cancelled")


def on_order_expired(batch: CatalogBatch, event: Event[OrderExpired]) -> None:
    """Free the stock of an unpaid order."""
    reservations.give_up_stock(batch, event.data.order_id, "expired")


def on_shipment_dispatched(batch: CatalogBatch, event: Event[ShipmentDispatched]) -> None:
    """Take the goods out of stock."""
    reservations.consume_stock(batch, event.data.order_id, event.data.lines)


def on_shipment_cancelled(batch: CatalogBatch, event: Event[ShipmentCancelled]) -> None:
    """Free goods that did not leave."""
    reservations.release_stopped(batch, event.data.order_id)


def on_shipment_returned(batch: CatalogBatch, event: Event[ShipmentReturned]) -> None:
    """Take goods back into stock, or write them off."""
    shipment = event.data
    reservations.take_back(batch, shipment.order_id, shipment.lines, shipment.restock)


def on_station_sale_recorded(batch: CatalogBatch, event: Event[StationSaleRecorded]) -> None:
    """Book a station's sale, void or return; open an overdraft for a sale beyond the allotment."""
    station_sales.record_sale(batch, event.data)


def on_station_sale_disputed(batch: CatalogBatch, event: Event[StationSaleDisputed]) -> None:
    """Open an overdraft for a sale that orders disputed, for an operator to settle."""
    station_sales.record_dispute(batch, event.data)


#: The facts of an order that has a reservation already.
_AFTER_PLACEMENT = (
    OrderConfirmed
    | OrderCancelled
    | OrderExpired
    | ShipmentDispatched
    | ShipmentCancelled
    | ShipmentReturned
)


def load(batch: CatalogBatch, events: Sequence[Event[Any]]) -> None:
    """Lock and load what the handlers of these events need, in a fixed number of statements."""
    facts: list[Fact] = [event.data for event in events]
    batch.load_for_update(
        Location.id, [fact.site_id for fact in facts if isinstance(fact, SiteOpened | SiteClosed)]
    )
    reserve.load_for_placement(
        batch, [fact for fact in facts if isinstance(fact, OrderPlaced | OrderReinstated)]
    )
    reservations.load_for_orders(
        batch, [fact.order_id for fact in facts if isinstance(fact, _AFTER_PLACEMENT)]
    )
    station_sales.load_for_sales(
        batch, [fact for fact in facts if isinstance(fact, StationSaleRecorded)]
    )
    recorded_sales.load_sales(
        batch, [fact.sale_id for fact in facts if isinstance(fact, StationSaleDisputed)]
    )


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
