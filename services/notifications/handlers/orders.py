"""Facts about an order: it is placed, decided, paid, ended."""

from datetime import datetime

from services.notifications.batch import NotificationsBatch
from services.notifications.models import OrderReadModel
from services.notifications.use_cases import (
    Cause,
    get_or_new_order,
    notify_buyer,
    notify_producers,
    order_key,
    sales_beyond,
    sales_of,
)
from shared.events import (
    ApprovalRequested,
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
)
from shared.messaging.envelope import Event

#: Reasons of a rejection that came before any stock was asked for: the order awaited approval.
DECLINED = ("not_approved", "withdrawn")


def on_order_placed(batch: NotificationsBatch, event: Event[OrderPlaced]) -> None:
    """Store the data for texts about the order, and show the order in the buyer's inbox."""
    order = _copy_order(batch, event.data)
    notify_buyer(batch, Cause.of(event), order, "order_placed")


def on_approval_requested(batch: NotificationsBatch, event: Event[ApprovalRequested]) -> None:
    """Store the data for texts about the order, and tell the buyer that it awaits approval."""
    order = _copy_order(batch, event.data)
    notify_buyer(batch, Cause.of(event), order, "approval_requested")


def _copy_order(
    batch: NotificationsBatch, ordered: OrderPlaced | ApprovalRequested
) -> OrderReadModel:
    order, buyer_id = get_or_new_order(batch, ordered.order_id), ordered.buyer_id
    order.person = f"buyer:{buyer_id}" if buyer_id else order_key(order.order_id)
    order.order_ref = ordered.order_ref
    order.site_id = ordered.site_id
    order.total_fen = ordered.total_fen
    order.lines = [
        {"variant_id": str(line.variant_id), "quantity": line.quantity} for line in ordered.lines
    ]
    return order


def on_payment_requested(batch: NotificationsBatch, event: Event[PaymentRequested]) -> None:
    """Ask for the money of a prepaid order."""
    order = get_or_new_order(batch, event.data.order_id)
    notify_buyer(batch, Cause.of(event), order, "payment_requested")


def on_order_paid(batch: NotificationsBatch, event: Event[OrderPaid]) -> None:
    """Tell the buyer that the money came."""
    order = get_or_new_order(batch, event.data.order_id)
    order.settled = True
    # Cash is paid at the hand-over, which has a message of its own.
    if event.data.method == "prepaid":
        notify_buyer(batch, Cause.of(event), order, "order_paid", amount_fen=event.data.amount_fen)


def on_payment_failed(batch: NotificationsBatch, event: Event[PaymentFailed]) -> None:
    """Tell the buyer, who may try again."""
    order = get_or_new_order(batch, event.data.order_id)
    notify_buyer(batch, Cause.of(event), order, "payment_failed")


def on_payment_refunded(batch: NotificationsBatch, event: Event[PaymentRefunded]) -> None:
    """Tell the buyer how much comes back."""
    order = get_or_new_order(batch, event.data.order_id)
    notify_buyer(
        batch, Cause.of(event), order, "payment_refunded", amount_fen=event.data.amount_fen
    )


def on_order_confirmed(batch: NotificationsBatch, event: Event[OrderConfirmed]) -> None:
    """Tell the buyer, and every producer whose lots are in the order.

    An order is confirmed again with other lots when one of its lots was recalled. Then only the
    producers whose sales change are told.
    """
    cause, confirmed = Cause.of(event), event.data
    order = get_or_new_order(batch, confirmed.order_id)
    before, after = order.sales, sales_of(confirmed.lines)
    order.order_ref = confirmed.order_ref
    order.site_id = confirmed.site_id
    order.collect = confirmed.collect
    order.due_fen = confirmed.due_fen
    order.settled = True
    order.contact_unused_since = None  # an expired order can be paid late, and stand again
    order.sales = after
    if before is None:
        notify_buyer(batch, cause, order, "order_confirmed")
    notify_producers(batch, cause, order, "goods_sold", sales_beyond(after, before or ()))
    notify_producers(batch, cause, order, "sale_replaced", sales_beyond(before or (), after))


def on_order_rejected(batch: NotificationsBatch, event: Event[OrderRejected]) -> None:
    """Tell the buyer why, and the producers if they had been told of a sale."""
    order, cause = get_or_new_order(batch, event.data.order_id), Cause.of(event)
    _end(order, event.time)
    if event.data.reason in DECLINED:
        notify_buyer(batch, cause, order, "order_declined")
        return
    notify_buyer(batch, cause, order, "order_rejected", reason=event.data.reason)
    notify_producers(batch, cause, order, "sale_cancelled", order.sales or ())


def on_order_expired(batch: NotificationsBatch, event: Event[OrderExpired]) -> None:
    """Tell the buyer."""
    order = get_or_new_order(batch, event.data.order_id)
    _end(order, event.time)
    notify_buyer(batch, Cause.of(event), order, "order_expired")


def on_order_cancelled(batch: NotificationsBatch, event: Event[OrderCancelled]) -> None:
    """Tell the buyer, and the producers if they had been told of a sale."""
    order, cause = get_or_new_order(batch, event.data.order_id), Cause.of(event)
    _end(order, event.time)
    notify_buyer(batch, cause, order, "order_cancelled")
    notify_producers(batch, cause, order, "sale_cancelled", order.sales or ())


def on_order_returned(batch: NotificationsBatch, event: Event[OrderReturned]) -> None:
    """Tell the buyer that the order is over."""
    order = get_or_new_order(batch, event.data.order_id)
    _end(order, event.time)
    notify_buyer(batch, Cause.of(event), order, "order_returned")


def on_order_completed(batch: NotificationsBatch, event: Event[OrderCompleted]) -> None:
    """Tell the producers that the sale is complete."""
    order = get_or_new_order(batch, event.data.order_id)
    _end(order, event.time)
    notify_producers(batch, Cause.of(event), order, "sale_completed", order.sales or ())


def _end(order: OrderReadModel, moment: datetime) -> None:
    order.settled = True
    order.contact_unused_since = moment
