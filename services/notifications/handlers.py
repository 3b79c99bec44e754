"""Facts of the other services: what they change in our copies, and who is told.

A handler queues rows and sends nothing. Facts of one order come from three services, each in
its own order; what a message needs and is not known yet is waited for when it is sent.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from services.notifications import use_cases
from services.notifications.models import Contact, OrderCopy, SiteCopy, VariantCopy
from shared.envelope import Envelope
from shared.events import (
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
    ProductListed,
    ShipmentArrived,
    ShipmentCollected,
    ShipmentDelivered,
    ShipmentDispatched,
    ShipmentPlanned,
    ShipmentReturned,
    SiteOpened,
    StockReserved,
)
from shared.rows import lock_rows, locked
from shared.service import Prepare, Subscriptions


def _tell_buyer(
    session: Session, event: Envelope, order: OrderCopy, template: str, **facts: Any
) -> None:
    use_cases.tell_buyer(
        session,
        template,
        cause_id=event.event_id,
        happened_at=event.time,
        order_id=order.order_id,
        person=order.person,
        **facts,
    )


def _tell_producers(
    session: Session,
    event: Envelope,
    order: OrderCopy,
    template: str,
    sales: Sequence[dict[str, Any]] | None,
) -> None:
    use_cases.tell_producers(
        session,
        template,
        cause_id=event.event_id,
        happened_at=event.time,
        order_id=order.order_id,
        sales=sales or (),
    )


def _order(session: Session, event: Envelope) -> OrderCopy:
    return use_cases.order_copy(session, event.data["order_id"])


def _end(order: OrderCopy, moment: datetime) -> None:
    order.settled = True
    order.contact_unused_since = moment


def on_contact_given(session: Session, event: Envelope) -> None:
    """Keep how the buyer of one order can be reached."""
    use_cases.keep_contact(
        session,
        use_cases.order_key(event.data["order_id"]),
        phone=event.data["phone"],
        language=event.data["language"],
        given_at=event.time,
    )


def on_enterprise_contact_given(session: Session, event: Envelope) -> None:
    """Keep how an enterprise can be reached."""
    use_cases.keep_contact(
        session,
        use_cases.enterprise_key(event.data["enterprise_id"]),
        phone=event.data["phone"],
        language=event.data["language"],
        given_at=event.time,
    )


def on_product_listed(session: Session, event: Envelope) -> None:
    """Keep what the variants are called."""
    use_cases.keep_product(session, event.data["names"], event.data["variants"])


def on_site_opened(session: Session, event: Envelope) -> None:
    """Keep what the site is called."""
    use_cases.keep_site(session, event.data["site_id"], event.data["names"])


def on_order_placed(session: Session, event: Envelope) -> None:
    """Keep what texts about the order mention, and show it in the buyer's inbox."""
    order, placed = _order(session, event), event.data
    buyer_id = placed["buyer_id"]
    order.person = f"buyer:{buyer_id}" if buyer_id else use_cases.order_key(order.order_id)
    order.order_ref = placed["order_ref"]
    order.payment_method = placed["payment_method"]
    order.site_id = placed["site_id"]
    order.total_fen = placed["total_fen"]
    order.lines = [
        {"variant_id": str(line["variant_id"]), "quantity": line["quantity"]}
        for line in placed["lines"]
    ]
    _tell_buyer(session, event, order, "order_placed")
    _ask_for_payment(session, order)


def on_stock_reserved(session: Session, event: Envelope) -> None:
    """Ask for the money of a prepaid order."""
    order = _order(session, event)
    # Known to be cash: nobody is asked to pay now, and the copy need not be written.
    if order.payment_method in (None, "prepaid") and order.reserved_by is None:
        order.reserved_by, order.reserved_at = event.event_id, event.time
        _ask_for_payment(session, order)


def _ask_for_payment(session: Session, order: OrderCopy) -> None:
    """Ask once both are known: that the goods are set aside, and that money must come first."""
    if order.payment_method != "prepaid" or order.reserved_by is None or order.settled:
        return
    assert order.reserved_at is not None
    use_cases.tell_buyer(
        session,
        "payment_requested",
        cause_id=order.reserved_by,
        happened_at=order.reserved_at,
        order_id=order.order_id,
        person=order.person,
    )


def on_order_confirmed(session: Session, event: Envelope) -> None:
    """Tell the buyer, and everyone whose lots were taken."""
    order, confirmed = _order(session, event), event.data
    order.order_ref = confirmed["order_ref"]
    order.site_id = confirmed["site_id"]
    order.collect = confirmed["collect"]
    order.due_fen = confirmed["due_fen"]
    order.settled = True
    order.contact_unused_since = None  # an expired order can be paid late, and stand again
    order.sales = use_cases.sales_of(confirmed["lines"])
    _tell_buyer(session, event, order, "order_confirmed")
    _tell_producers(session, event, order, "goods_sold", order.sales)


def on_order_rejected(session: Session, event: Envelope) -> None:
    """Tell the buyer."""
    order = _order(session, event)
    _end(order, event.time)
    _tell_buyer(session, event, order, "order_rejected")


def on_order_expired(session: Session, event: Envelope) -> None:
    """Tell the buyer."""
    order = _order(session, event)
    _end(order, event.time)
    _tell_buyer(session, event, order, "order_expired")


def on_order_cancelled(session: Session, event: Envelope) -> None:
    """Tell the buyer, and the producers if they had been told of a sale."""
    order = _order(session, event)
    _end(order, event.time)
    _tell_buyer(session, event, order, "order_cancelled")
    _tell_producers(session, event, order, "sale_cancelled", order.sales)


def on_order_paid(session: Session, event: Envelope) -> None:
    """Tell the buyer that the money came."""
    order = _order(session, event)
    order.settled = True
    # Cash is paid hand to hand; the message about the hand-over says enough.
    if event.data["method"] == "prepaid":
        _tell_buyer(session, event, order, "order_paid", amount_fen=event.data["amount_fen"])


def on_payment_failed(session: Session, event: Envelope) -> None:
    """Tell the buyer, who may try again."""
    _tell_buyer(session, event, _order(session, event), "payment_failed")


def on_payment_refunded(session: Session, event: Envelope) -> None:
    """Tell the buyer how much comes back."""
    order = _order(session, event)
    _tell_buyer(session, event, order, "payment_refunded", amount_fen=event.data["amount_fen"])


def on_shipment_planned(session: Session, event: Envelope) -> None:
    """Keep the promised day for the message about the dispatch."""
    _order(session, event).promised_on = event.data["promised_on"]


def on_shipment_dispatched(session: Session, event: Envelope) -> None:
    """Tell the buyer."""
    _tell_buyer(session, event, _order(session, event), "shipment_dispatched")


def on_shipment_arrived(session: Session, event: Envelope) -> None:
    """Tell the buyer that the goods are near."""
    # Who comes for it gets the code instead; stops on the way are for those who track it.
    if event.data["final"] and not event.data["collect"]:
        order = _order(session, event)
        site_id = str(event.data["site_id"])
        _tell_buyer(session, event, order, "shipment_arrived", site_id=site_id)


def on_collection_code_issued(session: Session, event: Envelope) -> None:
    """Give the buyer the code that proves who they are."""
    _tell_buyer(
        session,
        event,
        _order(session, event),
        "collection_code",
        site_id=str(event.data["site_id"]),
        code=event.data["code"],
    )


def on_shipment_delivered(session: Session, event: Envelope) -> None:
    """Thank the buyer, who learns of it if somebody else took it."""
    _tell_buyer(session, event, _order(session, event), "shipment_delivered")


def on_shipment_collected(session: Session, event: Envelope) -> None:
    """Thank the buyer, who learns of it if somebody else took it."""
    _tell_buyer(session, event, _order(session, event), "shipment_collected")


def on_delivery_failed(session: Session, event: Envelope) -> None:
    """Tell the buyer."""
    _tell_buyer(session, event, _order(session, event), "delivery_failed")


def on_shipment_returned(session: Session, event: Envelope) -> None:
    """Tell the producers what came back."""
    sales = use_cases.sales_of(event.data["lines"])
    _tell_producers(session, event, _order(session, event), "goods_returned", sales)


def on_order_returned(session: Session, event: Envelope) -> None:
    """Tell the buyer that the order is over."""
    order = _order(session, event)
    _end(order, event.time)
    _tell_buyer(session, event, order, "order_returned")


def on_order_completed(session: Session, event: Envelope) -> None:
    """Tell the producers that the sale is complete."""
    order = _order(session, event)
    _end(order, event.time)
    _tell_producers(session, event, order, "sale_completed", order.sales)


def prepare_contacts(session: Session, events: Sequence[Envelope]) -> None:
    """Lock the contacts."""
    keys = [
        use_cases.order_key(event.data["order_id"])
        if "order_id" in event.data
        else use_cases.enterprise_key(event.data["enterprise_id"])
        for event in events
    ]
    lock_rows(session, Contact.key, keys)


def prepare_products(session: Session, events: Sequence[Envelope]) -> None:
    """Lock the variants."""
    variants = (variant for event in events for variant in event.data["variants"])
    lock_rows(session, VariantCopy.variant_id, [variant["variant_id"] for variant in variants])


def prepare_sites(session: Session, events: Sequence[Envelope]) -> None:
    """Lock the sites."""
    lock_rows(session, SiteCopy.site_id, [event.data["site_id"] for event in events])


def prepare_orders(session: Session, events: Sequence[Envelope]) -> None:
    """Lock the orders' copies, and find out which messages exist already."""
    lock_rows(session, OrderCopy.order_id, [event.data["order_id"] for event in events])
    use_cases.know_told(session, [event.event_id for event in events])


def prepare_placed(session: Session, events: Sequence[Envelope]) -> None:
    """Like `prepare_orders`; an order whose stock is already set aside may be asked to pay."""
    prepare_orders(session, events)
    orders = [locked(session, OrderCopy.order_id, event.data["order_id"]) for event in events]
    use_cases.know_told(session, [o.reserved_by for o in orders if o and o.reserved_by])


PREPARE: Prepare = {
    ContactGiven: prepare_contacts,
    EnterpriseContactGiven: prepare_contacts,
    ProductListed: prepare_products,
    SiteOpened: prepare_sites,
    OrderPlaced: prepare_placed,
    StockReserved: prepare_orders,
    OrderConfirmed: prepare_orders,
    OrderRejected: prepare_orders,
    OrderExpired: prepare_orders,
    OrderCancelled: prepare_orders,
    OrderPaid: prepare_orders,
    PaymentFailed: prepare_orders,
    PaymentRefunded: prepare_orders,
    ShipmentPlanned: prepare_orders,
    ShipmentDispatched: prepare_orders,
    ShipmentArrived: prepare_orders,
    CollectionCodeIssued: prepare_orders,
    ShipmentDelivered: prepare_orders,
    ShipmentCollected: prepare_orders,
    DeliveryFailed: prepare_orders,
    ShipmentReturned: prepare_orders,
    OrderReturned: prepare_orders,
    OrderCompleted: prepare_orders,
}

SUBSCRIPTIONS: Subscriptions = {
    ContactGiven: on_contact_given,
    EnterpriseContactGiven: on_enterprise_contact_given,
    ProductListed: on_product_listed,
    SiteOpened: on_site_opened,
    OrderPlaced: on_order_placed,
    StockReserved: on_stock_reserved,
    OrderConfirmed: on_order_confirmed,
    OrderRejected: on_order_rejected,
    OrderExpired: on_order_expired,
    OrderCancelled: on_order_cancelled,
    OrderPaid: on_order_paid,
    PaymentFailed: on_payment_failed,
    PaymentRefunded: on_payment_refunded,
    ShipmentPlanned: on_shipment_planned,
    ShipmentDispatched: on_shipment_dispatched,
    ShipmentArrived: on_shipment_arrived,
    CollectionCodeIssued: on_collection_code_issued,
    ShipmentDelivered: on_shipment_delivered,
    ShipmentCollected: on_shipment_collected,
    DeliveryFailed: on_delivery_failed,
    ShipmentReturned: on_shipment_returned,
    OrderReturned: on_order_returned,
    OrderCompleted: on_order_completed,
}
