"""Facts about a shipment: where the goods are, and how to get them."""

from services.notifications.batch import NotificationsBatch
from services.notifications.use_cases import (
    Cause,
    get_or_new_order,
    notify_buyer,
    notify_producers,
    sales_of,
    verify_phone,
)
from shared.events import (
    CollectionCodeIssued,
    DeliveryFailed,
    ShipmentArrived,
    ShipmentCollected,
    ShipmentDelivered,
    ShipmentDispatched,
    ShipmentRecalled,
    ShipmentReturned,
)
from shared.messaging.envelope import Event


def on_shipment_dispatched(batch: NotificationsBatch, event: Event[ShipmentDispatched]) -> None:
    """Tell the buyer, with the promised day."""
    order, promised_on = get_or_new_order(batch, event.data.order_id), event.data.promised_on
    promise = {"promised_on": promised_on.isoformat()} if promised_on else {}
    notify_buyer(batch, Cause.of(event), order, "shipment_dispatched", **promise)


def on_shipment_arrived(batch: NotificationsBatch, event: Event[ShipmentArrived]) -> None:
    """Tell the buyer that the goods are near, if they are delivered from this site."""
    # A buyer who collects gets the code instead. Stops on the way are seen in the tracking.
    if event.data.final and not event.data.collect:
        order = get_or_new_order(batch, event.data.order_id)
        site_id = str(event.data.site_id)
        notify_buyer(batch, Cause.of(event), order, "shipment_arrived", site_id=site_id)


def on_collection_code_issued(
    batch: NotificationsBatch, event: Event[CollectionCodeIssued]
) -> None:
    """Send the buyer the code that proves who they are."""
    notify_buyer(
        batch,
        Cause.of(event),
        get_or_new_order(batch, event.data.order_id),
        "collection_code",
        site_id=str(event.data.site_id),
        code=event.data.code,
    )


def on_shipment_delivered(batch: NotificationsBatch, event: Event[ShipmentDelivered]) -> None:
    """Thank the buyer; if somebody else took the goods, the buyer learns of it."""
    order = get_or_new_order(batch, event.data.order_id)
    notify_buyer(batch, Cause.of(event), order, "shipment_delivered")


def on_shipment_collected(batch: NotificationsBatch, event: Event[ShipmentCollected]) -> None:
    """Thank the buyer, as in `on_shipment_delivered`; a code that was shown verifies the phone."""
    order = get_or_new_order(batch, event.data.order_id)
    if event.data.proof == "code":
        verify_phone(batch, order.order_id)
    notify_buyer(batch, Cause.of(event), order, "shipment_collected")


def on_shipment_recalled(batch: NotificationsBatch, event: Event[ShipmentRecalled]) -> None:
    """Warn the buyer who has the goods.

    If no buyer has the goods yet, the facts that follow cause the messages.
    """
    if event.data.where == "with_buyer":
        order = get_or_new_order(batch, event.data.order_id)
        if order.contact_unused_since is not None:
            # The contact is needed again: its time until erasure starts anew.
            order.contact_unused_since = event.time
        lots = sorted({lot.lot_code for lot in event.data.lots})
        notify_buyer(batch, Cause.of(event), order, "goods_recalled", lots=lots)


def on_delivery_failed(batch: NotificationsBatch, event: Event[DeliveryFailed]) -> None:
    """Tell the buyer."""
    is_recalled = event.data.reason == "lot_recalled"
    template = "parcel_recalled" if is_recalled else "delivery_failed"
    notify_buyer(batch, Cause.of(event), get_or_new_order(batch, event.data.order_id), template)


def on_shipment_returned(batch: NotificationsBatch, event: Event[ShipmentReturned]) -> None:
    """Tell the producers which goods came back."""
    order, sales = get_or_new_order(batch, event.data.order_id), sales_of(event.data.lines)
    notify_producers(batch, Cause.of(event), order, "goods_returned", sales)
