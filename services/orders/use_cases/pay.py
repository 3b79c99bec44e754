"""Book what a payment provider reports: a payment, which may have to be refunded, or a failure."""

from uuid import UUID

from sqlalchemy import select

from services.orders.batch import OrdersBatch
from services.orders.models import Order, Payment
from services.orders.rules import order_status
from services.orders.use_cases.recording import named
from services.orders.use_cases.transition import mark_changed, transition
from shared.events import PaymentFailed
from shared.runtime import clock
from shared.runtime.errors import Conflict, Unprocessable
from shared.runtime.ids import new_id
from shared.runtime.locks import advisory_lock


class UnknownOrder(Unprocessable):
    """Raised when a payment names an order that does not exist."""


class PaymentAlreadyBooked(Conflict):
    """Raised when a payment's reference is booked with another order, amount or outcome."""


def book_payment(
    batch: OrdersBatch,
    *,
    payment_ref: str,
    order_id: UUID,
    amount_fen: int,
    status: str,
    reason: str | None,
) -> Payment:
    """Book one attempt to pay; a repetition changes nothing and returns the same payment.

    Money that cannot count for the order (another amount, paid before, cancelled) is booked and
    refunded at once. An attempt that was reported as failed may be reported as paid later.

    Raises:
        UnknownOrder: there is no such order.
        PaymentAlreadyBooked: the reference belongs to a payment with other content.
    """
    # Two callbacks with one reference may come at once, before there is a row to lock.
    advisory_lock(batch.session, f"payment/{payment_ref}")
    payment = batch.session.scalars(
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
    order: Order | None = batch.get_for_update(Order.id, order_id)
    if order is None:
        raise UnknownOrder(f"There is no order {order_id}; this payment belongs to somebody else.")
    if payment is None:
        payment = Payment(
            id=new_id(), payment_ref=payment_ref, order_id=order_id, amount_fen=amount_fen
        )
        batch.session.add(payment)
    payment.status, payment.reason = status, reason
    payment.received_at = clock.now()
    if status == "paid":
        _receive(batch, order, payment)
    else:
        _record_failure(batch, order, reason or "not_given")
    return payment


def _receive(batch: OrdersBatch, order: Order, payment: Payment) -> None:
    before = order.status
    cause = order_status.refund_cause(before, payment.amount_fen)
    if cause is None:
        order.payment_id = payment.id
    transition(
        batch,
        order,
        order_status.pay(before, payment.amount_fen),
        refund_cause=cause,
        refunded_payment_id=payment.id,
    )


def _record_failure(batch: OrdersBatch, order: Order, reason: str) -> None:
    before = order.status
    if before.awaits_payment:
        transition(batch, order, order_status.fail_payment(before))
        mark_changed(order)
        batch.record(
            order,
            PaymentFailed(**named(order), reason=reason),
        )
