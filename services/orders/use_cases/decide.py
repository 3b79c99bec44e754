"""Decide orders by what catalog answered, by the clock, and by their buyers' second thoughts."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.orders.models import Order
from services.orders.rules import standing
from services.orders.rules.standing import OrderState
from services.orders.use_cases import approve
from services.orders.use_cases.advance import advance, lock_order
from shared.runtime import clock

#: Orders expired in one transaction.
EXPIRED_AT_ONCE = 200


def note_reserved(session: Session, order_id: UUID, lines: Sequence[Mapping[str, Any]]) -> None:
    """Keep which lots were set aside, and confirm the order unless it waits for money.

    Raises:
        OrderNotFound, WrongOrderState
    """
    order = lock_order(session, order_id)
    hold_until = clock.now() + timedelta(seconds=order.hold_seconds)
    after = standing.reserve(order.standing, hold_until)
    if order.state == OrderState.PLACED:
        order.reason = None
    lots = {line["line_no"]: [_kept(lot) for lot in line["lots"]] for line in lines}
    for row in order.lines:
        row.lots = lots.get(row.line_no, [])
    advance(session, order, after)


def note_refused(session: Session, order_id: UUID, shortfalls: Sequence[dict[str, Any]]) -> None:
    """Reject the order, and give back what was paid for it.

    Raises:
        OrderNotFound, WrongOrderState
    """
    order = lock_order(session, order_id)
    advance(
        session,
        order,
        standing.refuse(order.standing),
        # Of one that had been set aside before: why it was asked for once more.
        reason=order.reason if order.state == OrderState.PLACED else None,
        shortfalls=[dict(shortfall) for shortfall in shortfalls],
    )


def expire_unpaid(session: Session, now: datetime) -> int:
    """Expire up to `EXPIRED_AT_ONCE` orders that were not paid in time; return how many.

    An order that is locked is being paid or cancelled just now: whoever locked it decides.
    """
    due = session.scalars(
        select(Order)
        .where(Order.expires_at <= now)
        .order_by(Order.expires_at)
        .limit(EXPIRED_AT_ONCE)
        .with_for_update(skip_locked=True)
    ).all()
    for order in due:
        advance(session, order, standing.expire(order.standing, now))
    return len(due)


def cancel_order(session: Session, order: Order, reason: str) -> Order:
    """Cancel a locked order; what was set aside or planned for it is undone by event.

    One that still waits for approval is rejected instead: nobody else has heard of it.

    Raises:
        WrongOrderState: it has left, or is over.
    """
    if order.awaits_approval:
        return approve.decline_order(session, order, approve.WITHDRAWN)
    advance(session, order, standing.cancel(order.standing), reason=reason)
    return order


def _kept(lot: Mapping[str, Any]) -> dict[str, Any]:
    """Return a lot taken, as it can be stored as JSON."""
    return {
        "lot_id": str(lot["lot_id"]),
        "lot_code": lot["lot_code"],
        "location_id": str(lot["location_id"]),
        "producer_id": str(lot["producer_id"]),
        "quantity": lot["quantity"],
    }
