"""Decide orders: by catalog's answer, by the clock, and by a buyer's cancellation."""

from datetime import datetime, timedelta

import msgspec
from sqlalchemy import select

from services.orders.batch import OrdersBatch
from services.orders.models import Order
from services.orders.rules import order_status
from services.orders.rules.order_status import OrderState
from services.orders.use_cases import approve
from services.orders.use_cases.transition import transition
from shared.events import StockRefused, StockReserved
from shared.runtime import clock

#: Orders expired in one transaction.
EXPIRED_AT_ONCE = 200


def apply_stock_reserved(batch: OrdersBatch, reserved: StockReserved) -> None:
    """Store which lots were set aside, and confirm the order unless it waits for money.

    Raises:
        OrderNotFound, WrongOrderState
    """
    order = batch.lock_order(reserved.order_id)
    hold_until = clock.now() + timedelta(seconds=order.hold_seconds)
    after = order_status.reserve(order.status, hold_until)
    if order.state == OrderState.PLACED:
        order.reason = None
    lots = {line.line_no: msgspec.to_builtins(line.lots) for line in reserved.lines}
    for row in order.lines:
        row.lots = lots.get(row.line_no, [])
    transition(batch, order, after)


def apply_stock_refused(batch: OrdersBatch, refused: StockRefused) -> None:
    """Reject the order, and refund its payment.

    Raises:
        OrderNotFound, WrongOrderState
    """
    order = batch.lock_order(refused.order_id)
    transition(
        batch,
        order,
        order_status.reject(order.status),
        # An order that was reinstated has the reason for it.
        reason=order.reason if order.state == OrderState.PLACED else None,
        shortfalls=refused.shortfalls,
    )


def expire_unpaid(batch: OrdersBatch, now: datetime) -> int:
    """Expire up to `EXPIRED_AT_ONCE` orders that were not paid in time; return how many.

    A locked order is being paid or cancelled at this moment, so it is skipped.
    """
    due = batch.session.scalars(
        select(Order)
        .where(Order.expires_at <= now)
        .order_by(Order.expires_at)
        .limit(EXPIRED_AT_ONCE)
        .with_for_update(skip_locked=True)
    ).all()
    for order in due:
        transition(batch, order, order_status.expire(order.status, now))
    return len(due)


def cancel_order(batch: OrdersBatch, order: Order, reason: str) -> Order:
    """Cancel a locked order; its stock and shipment are released by event.

    An order that waits for approval is rejected instead: no other service knows of it yet.

    Raises:
        WrongOrderState: it has left, or is over.
    """
    if order.awaits_approval:
        return approve.decline_order(batch, order, approve.WITHDRAWN)
    transition(batch, order, order_status.cancel(order.status), reason=reason)
    return order
