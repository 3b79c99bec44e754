"""Facts about an order: it is placed, decided, paid, ended."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.orm import Session

from services.notifications import use_cases
from services.notifications.handlers.telling import order_of, tell_buyer, tell_producers
from services.notifications.models import OrderCopy
from shared.messaging.envelope import Envelope
from shared.messaging.rows import lock_rows, locked

#: Why an order was rejected that never asked for its stock: it had waited for approval.
DECLINED = ("not_approved", "withdrawn")


def on_order_placed(session: Session, event: Envelope) -> None:
    """Keep what texts about the order mention, and show it in the buyer's inbox."""
    order = _keep_ordered(session, event)
    tell_buyer(session, event, order, "order_placed")
    _ask_for_payment(session, order)


def on_approval_requested(session: Session, event: Envelope) -> None:
    """Keep what texts about the order mention, and tell the buyer that it waits."""
    tell_buyer(session, event, _keep_ordered(session, event), "approval_requested")


def _keep_ordered(session: Session, event: Envelope) -> OrderCopy:
    order, placed = order_of(session, event), event.data
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
    return order


def on_stock_reserved(session: Session, event: Envelope) -> None:
    """Ask for the money of a prepaid order."""
    order = order_of(session, event)
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


def on_order_paid(session: Session, event: Envelope) -> None:
    """Tell the buyer that the money came."""
    order = order_of(session, event)
    order.settled = True
    # Cash is paid hand to hand; the message about the hand-over says enough.
    if event.data["method"] == "prepaid":
        tell_buyer(session, event, order, "order_paid", amount_fen=event.data["amount_fen"])


def on_payment_failed(session: Session, event: Envelope) -> None:
    """Tell the buyer, who may try again."""
    tell_buyer(session, event, order_of(session, event), "payment_failed")


def on_payment_refunded(session: Session, event: Envelope) -> None:
    """Tell the buyer how much comes back."""
    order = order_of(session, event)
    tell_buyer(session, event, order, "payment_refunded", amount_fen=event.data["amount_fen"])


def on_order_confirmed(session: Session, event: Envelope) -> None:
    """Tell the buyer, and everyone whose lots were taken.

    An order that is confirmed once more, since a lot was recalled, is news for producers only.
    """
    order, confirmed = order_of(session, event), event.data
    before, after = order.sales, use_cases.sales_of(confirmed["lines"])
    order.order_ref = confirmed["order_ref"]
    order.site_id = confirmed["site_id"]
    order.collect = confirmed["collect"]
    order.due_fen = confirmed["due_fen"]
    order.settled = True
    order.contact_unused_since = None  # an expired order can be paid late, and stand again
    order.sales = after
    if before is None:
        tell_buyer(session, event, order, "order_confirmed")
    tell_producers(session, event, order, "goods_sold", use_cases.sales_beyond(after, before or ()))
    tell_producers(
        session, event, order, "sale_replaced", use_cases.sales_beyond(before or (), after)
    )


def on_order_rejected(session: Session, event: Envelope) -> None:
    """Tell the buyer why, and the producers if they had been told of a sale."""
    order = order_of(session, event)
    _end(order, event.time)
    if event.data["reason"] in DECLINED:
        tell_buyer(session, event, order, "order_declined")
        return
    tell_buyer(session, event, order, "order_rejected", reason=event.data["reason"])
    tell_producers(session, event, order, "sale_cancelled", order.sales)


def on_order_expired(session: Session, event: Envelope) -> None:
    """Tell the buyer."""
    order = order_of(session, event)
    _end(order, event.time)
    tell_buyer(session, event, order, "order_expired")


def on_order_cancelled(session: Session, event: Envelope) -> None:
    """Tell the buyer, and the producers if they had been told of a sale."""
    order = order_of(session, event)
    _end(order, event.time)
    tell_buyer(session, event, order, "order_cancelled")
    tell_producers(session, event, order, "sale_cancelled", order.sales)


def on_order_returned(session: Session, event: Envelope) -> None:
    """Tell the buyer that the order is over."""
    order = order_of(session, event)
    _end(order, event.time)
    tell_buyer(session, event, order, "order_returned")


def on_order_completed(session: Session, event: Envelope) -> None:
    """Tell the producers that the sale is complete."""
    order = order_of(session, event)
    _end(order, event.time)
    tell_producers(session, event, order, "sale_completed", order.sales)


def _end(order: OrderCopy, moment: datetime) -> None:
    order.settled = True
    order.contact_unused_since = moment


def prepare_orders(session: Session, events: Sequence[Envelope]) -> None:
    """Lock the orders' copies, and find out which messages exist already."""
    lock_rows(session, OrderCopy.order_id, [event.data["order_id"] for event in events])
    use_cases.know_told(session, [event.event_id for event in events])


def prepare_placed(session: Session, events: Sequence[Envelope]) -> None:
    """Like `prepare_orders`; an order whose stock is already set aside may be asked to pay."""
    prepare_orders(session, events)
    orders = [locked(session, OrderCopy.order_id, event.data["order_id"]) for event in events]
    use_cases.know_told(session, [o.reserved_by for o in orders if o and o.reserved_by])
