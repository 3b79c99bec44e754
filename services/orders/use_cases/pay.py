"""Book what a payment provider tells: money received, which may have to go back, or a failure."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.orders.models import Order, Payment
from services.orders.rules import standing
from services.orders.use_cases.advance import advance, touch
from shared.events import PaymentFailed
from shared.messaging.outbox import record
from shared.messaging.rows import locked
from shared.runtime import clock
from shared.runtime.errors import Conflict, Unprocessable
from shared.runtime.ids import new_id
from shared.runtime.locks import advisory_lock


class UnknownOrder(Unprocessable):
    """Raised when a payment names an order that does not exist."""


class PaymentAlreadyBooked(Conflict):
    """Raised when a payment's reference is known with another order, amount or outcome."""


def book_payment(
    session: Session,
    *,
    payment_ref: str,
    order_id: UUID,
    amount_fen: int,
    status: str,
    reason: str | None,
) -> Payment:
    """Book one attempt to pay; the same told again is answered as it is.

    Money that cannot count for the order (another amount, paid before, cancelled) is booked and
    refunded at once. An attempt that failed may still be told to have succeeded.

    Raises:
        UnknownOrder: there is no such order.
        PaymentAlreadyBooked: the reference belongs to a payment with other content.
    """
    # The reference is not a row yet that could be locked when it comes twice at once.
    advisory_lock(session, f"payment/{payment_ref}")
    payment = session.scalars(
        select(Payment).where(Payment.payment_ref == payment_ref)
    ).one_or_none()
    if payment is not None:
        if (payment.order_id, payment.amount_fen) != (order_id, amount_fen) or (
            payment.status == "paid" and status != "paid"
        ):
            raise PaymentAlreadyBooked(
                f"Payment {payment_ref} is booked as {payment.status} with {payment.amount_fen} "
                f"fen for order {payment.order_id}; use another reference for another payment."
            )
        if payment.status == status:
            return payment
    order: Order | None = locked(session, Order.id, order_id)
    if order is None:
        raise UnknownOrder(f"There is no order {order_id}; this payment belongs to somebody else.")
    if payment is None:
        payment = Payment(
            id=new_id(), payment_ref=payment_ref, order_id=order_id, amount_fen=amount_fen
        )
        session.add(payment)
    payment.status, payment.reason = status, reason
    payment.received_at = clock.now()
    if status == "paid":
        _receive(session, order, payment)
    else:
        _note_failure(session, order, reason or "not_given")
    return payment


def _receive(session: Session, order: Order, payment: Payment) -> None:
    before = order.standing
    cause = standing.refund_cause(before, payment.amount_fen)
    if cause is None:
        order.payment_id = payment.id
    advance(
        session,
        order,
        standing.pay(before, payment.amount_fen),
        refund_cause=cause,
        refunded_payment_id=payment.id,
    )


def _note_failure(session: Session, order: Order, reason: str) -> None:
    before = order.standing
    if before.awaits_payment:
        advance(session, order, standing.fail_payment(before))
        touch(order)
        record(
            session,
            PaymentFailed,
            order,
            order_id=order.id,
            order_ref=order.order_ref,
            reason=reason,
        )
