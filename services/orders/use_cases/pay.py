"""Book what a payment provider reports: a payment, which may have to be refunded, or a failure."""

from uuid import UUID

from sqlalchemy import select

from services.orders.batch import OrdersBatch
from services.orders.models import Order, Payment
from services.orders.rules import order_status
from services.orders.rules.payments import Attempt
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
    """Raised when a payment's reference is booked with another order or amount."""


def lock_payment(batch: OrdersBatch, payment_ref: str) -> Payment | None:
    """Return the payment with this reference; news about it takes turns until the commit."""
    # Two callbacks with one reference may come at once, before there is a row to lock.
    advisory_lock(batch.session, f"payment/{payment_ref}")
    return batch.session.scalars(
        select(Payment).where(Payment.payment_ref == payment_ref)
    ).one_or_none()


def book_payment(batch: OrdersBatch, provider: str, attempt: Attempt) -> Payment:
    """Book one attempt to pay, and return its payment.

    A repetition changes nothing; neither does a failure that is reported after the success. Money
    that cannot count for the order (another amount, paid before, cancelled) is booked and refunded
    at once. An attempt that was reported as failed may be reported as paid later.

    Raises:
        UnknownOrder: there is no such order.
        PaymentAlreadyBooked: the reference belongs to a payment with other content.
    """
    payment = lock_payment(batch, attempt.payment_ref)
    order_id = _order_id(batch, attempt.order)
    if payment is not None:
        _check_same(payment, provider, order_id, attempt)
        if payment.status in ("paid", attempt.status):
            return payment
    order: Order | None = None
    if order_id is not None:
        order = batch.get_for_update(Order.id, order_id)
    if order is None:
        raise UnknownOrder(
            f"There is no order {attempt.order}; this payment belongs to somebody else."
        )
    if payment is None:
        payment = Payment(
            id=new_id(),
            payment_ref=attempt.payment_ref,
            provider=provider,
            order_id=order.id,
        )
        batch.session.add(payment)
    payment.amount_fen, payment.status = attempt.amount_fen, attempt.status
    payment.reason, payment.received_at = attempt.reason, clock.now()
    if attempt.status == "paid":
        _receive(batch, order, payment)
    else:
        _record_failure(batch, order, attempt.reason or "not_given")
    return payment


def _order_id(batch: OrdersBatch, order: UUID | str) -> UUID | None:
    if isinstance(order, UUID):
        return order
    return batch.session.scalar(select(Order.id).where(Order.order_ref == order.upper()))


def _check_same(payment: Payment, provider: str, order_id: UUID | None, attempt: Attempt) -> None:
    # Until it is paid, the amount may change.
    other_amount = (
        payment.status == attempt.status == "paid" and payment.amount_fen != attempt.amount_fen
    )
    if (payment.provider, payment.order_id) != (provider, order_id) or other_amount:
        raise PaymentAlreadyBooked(
            f"Payment {attempt.payment_ref} is booked as {payment.status} with "
            f"{payment.amount_fen} fen for order {payment.order_id}; use another reference for "
            "another payment."
        )


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
