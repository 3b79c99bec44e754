"""Facts about a shipment: where the goods are, and how to get them."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from services.notifications import use_cases
from services.notifications.handlers.orders import prepare_orders
from services.notifications.handlers.telling import order_of, tell_buyer, tell_producers
from shared.messaging.envelope import Envelope


def on_shipment_planned(session: Session, event: Envelope) -> None:
    """Keep the promised day for the message about the dispatch."""
    order_of(session, event).promised_on = event.data["promised_on"]


def on_shipment_dispatched(session: Session, event: Envelope) -> None:
    """Tell the buyer."""
    tell_buyer(session, event, order_of(session, event), "shipment_dispatched")


def on_shipment_arrived(session: Session, event: Envelope) -> None:
    """Tell the buyer that the goods are near."""
    # Who comes for it gets the code instead; stops on the way are for those who track it.
    if event.data["final"] and not event.data["collect"]:
        order = order_of(session, event)
        site_id = str(event.data["site_id"])
        tell_buyer(session, event, order, "shipment_arrived", site_id=site_id)


def on_collection_code_issued(session: Session, event: Envelope) -> None:
    """Give the buyer the code that proves who they are."""
    tell_buyer(
        session,
        event,
        order_of(session, event),
        "collection_code",
        site_id=str(event.data["site_id"]),
        code=event.data["code"],
    )


def on_shipment_delivered(session: Session, event: Envelope) -> None:
    """Thank the buyer, who learns of it if somebody else took it."""
    tell_buyer(session, event, order_of(session, event), "shipment_delivered")


def on_shipment_collected(session: Session, event: Envelope) -> None:
    """Thank the buyer, who learns of it if somebody else took it; the code proves the phone."""
    order = order_of(session, event)
    if event.data.get("proof") == "code":
        use_cases.verify_phone(session, order.order_id)
    tell_buyer(session, event, order, "shipment_collected")


def prepare_collected(session: Session, events: Sequence[Envelope]) -> None:
    """Like `prepare_orders`; what tells whose phone is verified is loaded, too."""
    prepare_orders(session, events)
    shown = [e.data["order_id"] for e in events if e.data.get("proof") == "code"]
    if shown:
        use_cases.lock_for_verification(session, shown)


def on_shipment_recalled(session: Session, event: Envelope) -> None:
    """Warn the buyer who has the goods; what becomes of others is told by facts that follow."""
    if event.data["where"] == "with_buyer":
        order = order_of(session, event)
        if order.contact_unused_since is not None:
            # The contact is of use once more.
            order.contact_unused_since = event.time
        lots = sorted({lot["lot_code"] for lot in event.data["lots"]})
        tell_buyer(session, event, order, "goods_recalled", lots=lots)


def on_delivery_failed(session: Session, event: Envelope) -> None:
    """Tell the buyer."""
    is_recalled = event.data["reason"] == "lot_recalled"
    template = "parcel_recalled" if is_recalled else "delivery_failed"
    tell_buyer(session, event, order_of(session, event), template)


def on_shipment_returned(session: Session, event: Envelope) -> None:
    """Tell the producers what came back."""
    sales = use_cases.sales_of(event.data["lines"])
    tell_producers(session, event, order_of(session, event), "goods_returned", sales)
