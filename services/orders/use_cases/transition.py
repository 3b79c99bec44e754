"""Move an order to its next status, and record the facts that follow from the change.

After an order is placed, only this module changes its state, its payment state and its money: each
change then records its facts.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from services.orders.batch import OrdersBatch
from services.orders.models import Order, OrderLine, ProviderRefund, Refund
from services.orders.rules.order_status import OrderState, OrderStatus, PaymentState
from services.orders.rules.payments import NOT_OURS, ProviderRefundState
from services.orders.use_cases.recording import named, placed_lines
from shared.events import (
    Moment,
    OrderCancelled,
    OrderCompleted,
    OrderConfirmed,
    OrderExpired,
    OrderPaid,
    OrderReinstated,
    OrderRejected,
    OrderReturned,
    PaymentRefunded,
    PaymentRequested,
)
from shared.events.placing import ConfirmedLine, Shortfall, TakenLot
from shared.runtime import clock
from shared.runtime.ids import new_id

_DECIDED = (OrderState.RESERVED, OrderState.CONFIRMED, OrderState.REJECTED)
_PAID = (PaymentState.PAID, PaymentState.COD_COLLECTED)


def transition(
    batch: OrdersBatch,
    order: Order,
    after: OrderStatus,
    *,
    reason: str | None = None,
    shortfalls: Sequence[Shortfall] = (),
    refund_cause: str | None = None,
    refunded_payment_id: UUID | None = None,
) -> Refund | None:
    """Write a locked order's new status and record what follows from it; return its refund.

    A status that equals the present one changes nothing. `reason` and `shortfalls` say why the
    order is rejected, cancelled or reinstated. A refund's cause is the order's new state, unless
    `refund_cause` is given. It refunds the order's payment, or `refunded_payment_id`.
    """
    before = order.status
    if after == before:
        return None
    order.state, order.payment_state = after.state, after.payment_state
    order.paid_fen, order.refunded_fen = after.paid_fen, after.refunded_fen
    order.expires_at, order.difference_fen = after.expires_at, after.difference_fen
    if not after.holds_unpaid_stock:
        order.phone_digest = None
    mark_changed(order)
    if order.decided_at is None and after.state in _DECIDED:
        order.decided_at = order.changed_at
        # Not again when an order's stock is reserved again: its buyer was asked before.
        if after.expires_at is not None:
            _record_payment_requested(batch, order, after.expires_at)
    # Money that had gone back and came again is no new payment.
    newly_paid = after.payment_state in _PAID and before.payment_state not in (
        after.payment_state,
        PaymentState.REFUNDED,
    )
    if newly_paid and after.net_paid_fen >= after.total_fen:
        _record_paid(batch, order, after.net_paid_fen)
    if after.state != before.state:
        _record_state(batch, order, reason, shortfalls)
    refunded_fen = after.refunded_fen - before.refunded_fen
    if not refunded_fen:
        return None
    cause = refund_cause or f"order_{after.state}"
    return _refund(batch, order, refunded_fen, cause, refunded_payment_id or order.payment_id)


def mark_changed(order: Order) -> None:
    """Set a locked order's `changed_at`."""
    order.changed_at = clock.now()


def _record_state(
    batch: OrdersBatch, order: Order, reason: str | None, shortfalls: Sequence[Shortfall]
) -> None:
    """Record the fact of the new state; the other states follow a fact that logistics published."""
    match order.state:
        case OrderState.CONFIRMED:
            _record_confirmed(batch, order)
        case OrderState.REJECTED:
            order.reason = reason or "out_of_stock"
            order.shortfalls = msgspec.to_builtins([*shortfalls])
            batch.record(
                order,
                OrderRejected(
                    **named(order),
                    reason=order.reason,
                    shortfalls=[*shortfalls],
                ),
            )
        case OrderState.EXPIRED:
            batch.record(order, OrderExpired(**named(order)))
        case OrderState.PLACED:  # from a later state: a new order does not come here
            order.reason = reason
            lines = placed_lines(order)
            batch.record(order, OrderReinstated(**named(order), lines=lines))
        case OrderState.CANCELLED:
            order.reason = reason or "not_given"
            batch.record(
                order,
                OrderCancelled(**named(order), reason=order.reason),
            )
        case OrderState.COMPLETED:
            batch.record(
                order,
                OrderCompleted(**named(order), total_fen=order.total_fen),
            )
        case OrderState.RETURNED:
            batch.record(order, OrderReturned(**named(order)))


def _record_confirmed(batch: OrdersBatch, order: Order) -> None:
    batch.record(
        order,
        OrderConfirmed(
            **named(order),
            channel=order.channel,
            payment_method=order.payment_method,
            site_id=order.site_id,
            collect=order.collect,
            lines=[
                ConfirmedLine(
                    line_no=line.line_no,
                    variant_id=line.variant_id,
                    quantity=line.quantity,
                    line_total_fen=line.line_total_fen,
                    lots=_taken_lots(line),
                )
                for line in order.lines
            ],
            total_fen=order.total_fen,
            due_fen=order.status.due_fen,
        ),
    )


def _taken_lots(line: OrderLine) -> list[TakenLot]:
    return msgspec.convert(line.lots or [], list[TakenLot])


def _record_payment_requested(batch: OrdersBatch, order: Order, expires_at: datetime) -> None:
    batch.record(
        order,
        PaymentRequested(
            **named(order),
            amount_fen=order.total_fen,
            expires_at=Moment.of(expires_at),
        ),
    )


def _record_paid(batch: OrdersBatch, order: Order, amount_fen: int) -> None:
    batch.record(
        order,
        OrderPaid(
            **named(order),
            amount_fen=amount_fen,
            method=order.payment_method,
        ),
    )


def _refund(
    batch: OrdersBatch, order: Order, amount_fen: int, cause: str, payment_id: UUID | None
) -> Refund:
    refund = Refund(
        id=new_id(),
        payment_id=payment_id,
        order_id=order.id,
        amount_fen=amount_fen,
        cause=cause,
        refunded_at=order.changed_at,
    )
    batch.session.add(refund)
    if payment_id is not None and cause not in NOT_OURS:
        # The key by which the provider makes it once is committed before the provider is asked.
        batch.session.add(
            ProviderRefund(
                refund_id=refund.id,
                state=ProviderRefundState.DUE,
                due_at=order.changed_at,
                changed_at=order.changed_at,
            )
        )
    batch.record(
        order,
        PaymentRefunded(**named(order), amount_fen=amount_fen, cause=cause),
    )
    return refund
