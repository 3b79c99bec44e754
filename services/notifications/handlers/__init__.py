"""Facts of the other services: what they change in the read models, and who is notified.

A handler queues messages and sends none. The facts of one order come from three services, each in
its own order; a message that mentions a fact still missing waits for it before it is sent.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from services.notifications import use_cases
from services.notifications.batch import NotificationsBatch
from services.notifications.handlers import feeds, orders, reference_data, shipments
from services.notifications.handlers.feeds import fed
from services.notifications.models import OrderReadModel, SiteReadModel, VariantReadModel
from services.notifications.rules.feed import FEED_TYPES
from services.notifications.use_cases.feed import load_subscriptions, partner_in
from shared.events import (
    AllotmentGranted,
    AllotmentOverdrawn,
    AllotmentReturned,
    ApprovalRequested,
    AvailabilityChanged,
    CollectionCodeIssued,
    ContactGiven,
    DeliveryFailed,
    EnterpriseContactGiven,
    HandOverRefused,
    LotHeld,
    LotRecalled,
    LotReleased,
    OrderCancelled,
    OrderCompleted,
    OrderConfirmed,
    OrderExpired,
    OrderPaid,
    OrderPlaced,
    OrderReinstated,
    OrderRejected,
    OrderReturned,
    OverdraftSettled,
    PaymentFailed,
    PaymentRefunded,
    PaymentRequested,
    PriceChanged,
    ProductListed,
    ProductWithdrawn,
    RefundReversed,
    ShipmentArrived,
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
    StationSaleDisputed,
    StationSaleRecorded,
    StockAdjusted,
    StockReceived,
    StockReleased,
)
from shared.messaging.envelope import Event
from shared.messaging.service import Subscriptions


def load(batch: NotificationsBatch, events: Sequence[Event[Any]]) -> None:
    """Lock the rows that the events change, a statement a kind."""
    variants: set[UUID] = set()
    sites: set[UUID] = set()
    order_ids: set[UUID] = set()
    collected: set[UUID] = set()
    partners: set[str] = set()
    for event in events:
        match event.data:
            case ContactGiven() | EnterpriseContactGiven():
                pass  # the newest contact replaces an older one unseen
            case ProductListed() as product:
                variants.update(variant.variant_id for variant in product.variants)
            case SiteOpened() as site:
                sites.add(site.site_id)
            case fact if (order_id := getattr(fact, "order_id", None)) is not None:
                order_ids.add(order_id)
                if isinstance(fact, ShipmentCollected) and fact.proof == "code":
                    collected.add(order_id)
                if partner := partner_in(fact):
                    partners.add(partner)
    batch.load_for_update(VariantReadModel.variant_id, variants)
    batch.load_for_update(SiteReadModel.site_id, sites)
    batch.load_for_update(OrderReadModel.order_id, order_ids)
    if collected:
        use_cases.load_code_phones(batch, collected)
    if any(event.type in FEED_TYPES for event in events):
        orders_ = (batch.get_for_update(OrderReadModel.order_id, each) for each in order_ids)
        partners.update(order.partner for order in orders_ if order is not None and order.partner)
        load_subscriptions(batch, partners)


SUBSCRIPTIONS: Subscriptions = {
    ContactGiven: reference_data.on_contact_given,
    EnterpriseContactGiven: reference_data.on_enterprise_contact_given,
    ProductListed: fed(reference_data.on_product_listed),
    SiteOpened: fed(reference_data.on_site_opened),
    ApprovalRequested: fed(orders.on_approval_requested),
    OrderPlaced: fed(orders.on_order_placed),
    PaymentRequested: fed(orders.on_payment_requested),
    OrderConfirmed: fed(orders.on_order_confirmed),
    OrderRejected: fed(orders.on_order_rejected),
    OrderExpired: fed(orders.on_order_expired),
    OrderCancelled: fed(orders.on_order_cancelled),
    OrderPaid: fed(orders.on_order_paid),
    PaymentFailed: fed(orders.on_payment_failed),
    PaymentRefunded: fed(orders.on_payment_refunded),
    ShipmentDispatched: fed(shipments.on_shipment_dispatched),
    ShipmentArrived: fed(shipments.on_shipment_arrived),
    CollectionCodeIssued: shipments.on_collection_code_issued,
    ShipmentDelivered: fed(shipments.on_shipment_delivered),
    ShipmentCollected: fed(shipments.on_shipment_collected),
    ShipmentRecalled: fed(shipments.on_shipment_recalled),
    DeliveryFailed: fed(shipments.on_delivery_failed),
    ShipmentReturned: fed(shipments.on_shipment_returned),
    OrderReturned: fed(orders.on_order_returned),
    OrderCompleted: fed(orders.on_order_completed),
    # Only for partners.
    OrderReinstated: feeds.on_fact,
    RefundReversed: feeds.on_fact,
    ShipmentPlanned: feeds.on_fact,
    ShipmentPacked: feeds.on_fact,
    ShipmentCancelled: feeds.on_fact,
    ProductWithdrawn: feeds.on_fact,
    SiteClosed: feeds.on_fact,
    PriceChanged: feeds.on_fact,
    AvailabilityChanged: feeds.on_fact,
    LotReleased: feeds.on_fact,
    LotHeld: feeds.on_fact,
    LotRecalled: feeds.on_fact,
    StockReceived: feeds.on_fact,
    StockAdjusted: feeds.on_fact,
    StockReleased: feeds.on_fact,
    StationSaleRecorded: feeds.on_fact,
    StationSaleDisputed: feeds.on_fact,
    AllotmentGranted: feeds.on_fact,
    AllotmentReturned: feeds.on_fact,
    AllotmentOverdrawn: feeds.on_fact,
    OverdraftSettled: feeds.on_fact,
    HandOverRefused: feeds.on_fact,
}
