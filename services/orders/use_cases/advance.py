"""Bring an order to its next standing, and record the facts that follow from the difference.

The only place that writes an order's states and money, so that no fact is forgotten.
"""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import flag_modified

from services.orders.models import Order, Refund
from services.orders.rules.standing import OrderState, PaymentState, Standing
from shared.events import (
    Fact,
    OrderCancelled,
    OrderCompleted,
    OrderConfirmed,
    OrderExpired,
    OrderPaid,
    OrderReinstated,
    OrderRejected,
    OrderReturned,
    PaymentRefunded,
)
from shared.messaging.outbox import record
from shared.messaging.rows import lock_rows, locked
from shared.runtime import clock
from shared.runtime.errors import NotFound
from shared.runtime.ids import new_id

#: Columns that may change after placement. All are written whenever one is: updates of equal
#: shape travel to the database as one statement for a whole batch of orders.
_CHANGING = (
    "state",
    "payment_state",
    "fulfilment_state",
    "paid_fen",
    "refunded_fen",
    "difference_fen",
    "payment_id",
    "phone_digest",
    "expires_at",
    "reason",
    "shortfalls",
    "shipment_id",
    "shipment_ref",
    "promised_on",
    "decided_at",
    "changed_at",
    "version",
)

_DECIDED = (OrderState.RESERVED, OrderState.CONFIRMED, OrderState.REJECTED)
_PAID = (PaymentState.PAID, PaymentState.COD_COLLECTED)


class OrderNotFound(NotFound):
    """Raised when no order has the id asked for, or it is not the asker's to see."""


def lock_orders(session: Session, order_ids: Iterable[UUID]) -> None:
    """Lock and load these orders with their lines, in a number of statements that is fixed."""
    lock_rows(session, Order.id, order_ids)


def lock_order(session: Session, order_id: UUID) -> Order:
    """Return an order with its lines, locked until the transaction ends.

    Raises:
        OrderNotFound: there is none.
    """
    order: Order | None = locked(session, Order.id, order_id)
    if order is None:
        raise OrderNotFound(f"There is no order {order_id}.")
    return order


def touch(order: Order) -> None:
    """Note that a locked order changes now."""
    order.changed_at = clock.now()
    for name in _CHANGING:
        flag_modified(order, name)


def advance(
    session: Session,
    order: Order,
    after: Standing,
    *,
    reason: str | None = None,
    shortfalls: Sequence[dict[str, Any]] = (),
    refund_cause: str | None = None,
    refunded_payment_id: UUID | None = None,
) -> None:
    """Write a locked order's new standing and record what follows from it; equal changes nothing.

    `reason` and `shortfalls` say why it is rejected, cancelled or asked for once more.
    `refund_cause` says why money goes back when the order's own end does not, and
    `refunded_payment_id` which payment it was.
    """
    before = order.standing
    if after == before:
        return
    order.state, order.payment_state = after.state, after.payment_state
    order.paid_fen, order.refunded_fen = after.paid_fen, after.refunded_fen
    order.expires_at, order.difference_fen = after.expires_at, after.difference_fen
    if not after.holds_for_nothing:
        order.phone_digest = None
    touch(order)
    if order.decided_at is None and after.state in _DECIDED:
        order.decided_at = order.changed_at
    newly_paid = after.payment_state in _PAID and after.payment_state != before.payment_state
    if newly_paid and after.kept_fen >= after.total_fen:
        _say(session, OrderPaid, order, amount_fen=after.kept_fen, method=order.payment_method)
    if after.state != before.state:
        _say_state(session, order, reason, shortfalls)
    refunded_fen = after.refunded_fen - before.refunded_fen
    if refunded_fen:
        cause = refund_cause or f"order_{after.state}"
        session.add(
            Refund(
                id=new_id(),
                payment_id=refunded_payment_id or order.payment_id,
                order_id=order.id,
                amount_fen=refunded_fen,
                cause=cause,
                refunded_at=order.changed_at,
            )
        )
        _say(session, PaymentRefunded, order, amount_fen=refunded_fen, cause=cause)


def _say_state(
    session: Session, order: Order, reason: str | None, shortfalls: Sequence[dict[str, Any]]
) -> None:
    match order.state:
        case OrderState.CONFIRMED:
            _say_confirmed(session, order)
        case OrderState.REJECTED:
            order.reason = reason or "out_of_stock"
            order.shortfalls = [
                shortfall | {"variant_id": str(shortfall["variant_id"])} for shortfall in shortfalls
            ]
            _say(session, OrderRejected, order, reason=order.reason, shortfalls=shortfalls)
        case OrderState.EXPIRED:
            _say(session, OrderExpired, order)
        case OrderState.PLACED:
            order.reason = reason
            lines = [
                {
                    "line_no": line.line_no,
                    "variant_id": line.variant_id,
                    "quantity": line.quantity,
                    "line_total_fen": line.line_total_fen,
                }
                for line in order.lines
            ]
            _say(session, OrderReinstated, order, lines=lines)
        case OrderState.CANCELLED:
            order.reason = reason or "not_given"
            _say(session, OrderCancelled, order, reason=order.reason)
        case OrderState.COMPLETED:
            _say(session, OrderCompleted, order, total_fen=order.total_fen)
        case OrderState.RETURNED:
            _say(session, OrderReturned, order)


def _say_confirmed(session: Session, order: Order) -> None:
    _say(
        session,
        OrderConfirmed,
        order,
        channel=order.channel,
        payment_method=order.payment_method,
        site_id=order.site_id,
        collect=order.collect,
        lines=[
            {
                "line_no": line.line_no,
                "variant_id": line.variant_id,
                "quantity": line.quantity,
                "line_total_fen": line.line_total_fen,
                "lots": line.lots or [],
            }
            for line in order.lines
        ],
        total_fen=order.total_fen,
        due_fen=order.standing.due_fen,
    )


def _say(session: Session, contract: type[Fact], order: Order, **facts: Any) -> None:
    record(session, contract, order, order_id=order.id, order_ref=order.order_ref, **facts)
