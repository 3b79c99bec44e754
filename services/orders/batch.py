"""One transaction of orders, and the rows that the events of a batch need, loaded at once."""

from collections.abc import Sequence
from uuid import UUID

from services.orders.models import (
    Order,
    PriceReadModel,
    ProductReadModel,
    SiteReadModel,
    TillEntry,
)
from services.orders.rules.prices import price_id
from shared.events import (
    AllotmentOverdrawn,
    DeliveryFailed,
    DeviceKeyGiven,
    Fact,
    HandOverRefused,
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
from shared.messaging.batch import Batch
from shared.messaging.envelope import Event
from shared.runtime.errors import NotFound
from shared.runtime.tables import ApiKey


class OrderNotFound(NotFound):
    """Raised when no order has the id asked for, or the caller may not see it."""


class EntryNotFound(NotFound):
    """Raised when no till has uploaded an entry with the id asked for."""


class OrdersBatch(Batch):
    """One transaction of orders; the rows that its methods return are locked until the commit.

    A row that `load` or an earlier call has read costs no statement.
    """

    def lock_order(self, order_id: UUID) -> Order:
        """Return an order with its lines.

        Raises:
            OrderNotFound: there is none.
        """
        order: Order | None = self.get_for_update(Order.id, order_id)
        if order is None:
            raise OrderNotFound(f"There is no order {order_id}.")
        return order

    def lock_entry(self, entry_id: UUID) -> TillEntry:
        """Return an entry of a till's journal.

        Raises:
            EntryNotFound: there is none.
        """
        entry: TillEntry | None = self.get_for_update(TillEntry.id, entry_id)
        if entry is None:
            raise EntryNotFound(f"No till has told of {entry_id}.")
        return entry


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
