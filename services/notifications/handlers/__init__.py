"""Facts of the other services: what they change in the read models, and who is notified.

A handler queues messages and sends none. The facts of one order come from three services, each in
its own order; a message that mentions a fact still missing waits for it before it is sent.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from services.notifications import use_cases
from services.notifications.batch import NotificationsBatch
from services.notifications.handlers import orders, reference_data, shipments
from services.notifications.models import (
    OrderReadModel,
    SiteReadModel,
    VariantReadModel,
)
from shared.events import (
    ApprovalRequested,
    CollectionCodeIssued,
    ContactGiven,
    DeliveryFailed,
    EnterpriseContactGiven,
    OrderCancelled,
    OrderCompleted,
    OrderConfirmed,
    OrderExpired,
    OrderPaid,
    OrderPlaced,
    OrderRejected,
    OrderReturned,
    PaymentFailed,
    PaymentRefunded,
    PaymentRequested,
    ProductListed,
    ShipmentArrived,
    ShipmentCollected,
    ShipmentDelivered,
    ShipmentDispatched,
    ShipmentRecalled,
    ShipmentReturned,
    SiteOpened,
)
from shared.messaging.envelope import Event
from shared.messaging.service import Subscriptions


def load(batch: NotificationsBatch, events: Sequence[Event[Any]]) -> None:
    """Lock the rows that the events change, a statement a kind."""
    variants: set[UUID] = set()
    sites: set[UUID] = set()
    order_ids: set[UUID] = set()
    collected: set[UUID] = set()
    for event in events:
        match event.data:
            case ContactGiven() | EnterpriseContactGiven():
                pass  # the newest contact replaces an older one unseen
            case ProductListed() as product:
                variants.update(variant.variant_id for variant in product.variants)
            case SiteOpened() as site:
                sites.add(site.site_id)
            case about_order:
                order_ids.add(about_order.order_id)
                if isinstance(about_order, ShipmentCollected) and about_order.proof == "code":
                    collected.add(about_order.order_id)
    batch.load_for_update(VariantReadModel.variant_id, variants)
    batch.load_for_update(SiteReadModel.site_id, sites)
    batch.load_for_update(OrderReadModel.order_id, order_ids)
    if collected:
        use_cases.load_code_phones(batch, collected)


SUBSCRIPTIONS: Subscriptions = {
    ContactGiven: reference_data.on_contact_given,
    EnterpriseContactGiven: reference_data.on_enterprise_contact_given,
    ProductListed: reference_data.on_product_listed,
    SiteOpened: reference_data.on_site_opened,
    ApprovalRequested: orders.on_approval_requested,
    OrderPlaced: orders.on_order_placed,
    PaymentRequested: orders.on_payment_requested,
    OrderConfirmed: orders.on_order_confirmed,
    OrderRejected: orders.on_order_rejected,
    OrderExpired: orders.on_order_expired,
    OrderCancelled: orders.on_order_cancelled,
    OrderPaid: orders.on_order_paid,
    PaymentFailed: orders.on_payment_failed,
    PaymentRefunded: orders.on_payment_refunded,
    ShipmentDispatched: shipments.on_shipment_dispatched,
    ShipmentArrived: shipments.on_shipment_arrived,
    CollectionCodeIssued: shipments.on_collection_code_issued,
    ShipmentDelivered: shipments.on_shipment_delivered,
    ShipmentCollected: shipments.on_shipment_collected,
    ShipmentRecalled: shipments.on_shipment_recalled,
    DeliveryFailed: shipments.on_delivery_failed,
    ShipmentReturned: shipments.on_shipment_returned,
    OrderReturned: orders.on_order_returned,
    OrderCompleted: orders.on_order_completed,
}
