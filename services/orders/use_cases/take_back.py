"""Book money that went back without orders: refunds made at the provider, and chargebacks.

News comes late, twice, and in any order. What it says is compared with what is booked, and only
the difference is booked.
"""

from sqlalchemy import func, select

from services.orders.batch import OrdersBatch
from services.orders.models import Dispute, Payment, ProviderRefund, Refund
from services.orders.rules import order_status
from services.orders.rules.payments import (
    CHARGEBACK,
    OPEN_STATES,
    PROVIDER_REFUND,
    Disputed,
    DisputeState,
    OneRefund,
    ProviderRefundState,
    RefundedInAll,
    RefundFailed,
    refund_key,
    refund_of,
)
from services.orders.use_cases import decide
from services.orders.use_cases.pay import lock_payment
from services.orders.use_cases.recording import named
from services.orders.use_cases.transition import transition
from shared.events import RefundReversed
from shared.runtime import clock
from shared.runtime.errors import Conflict
from shared.runtime.ids import new_id
from shared.runtime.logs import get

log = get(__name__)


class UnknownPayment(Conflict):
    """Raised when news is about a payment that is not booked, perhaps not yet."""


def book_refunds(batch: OrdersBatch, provider: str, news: RefundedInAll) -> Payment:
    """Book what the provider refunded of a payment beyond the refunds that are booked.

    If all booked refunds are in what it refunded, they are done.

    Raises:
        UnknownPayment
    """
    payment = _lock_paid(batch, provider, news.payment_ref)
    beyond_fen = news.refunded_fen - _refunded_fen(batch, payment)
    if beyond_fen > 0:
        _take_back(batch, payment, beyond_fen, PROVIDER_REFUND)
    if beyond_fen >= 0:
        _settle_all(batch, payment)
    return payment


def book_one_refund(batch: OrdersBatch, provider: str, news: OneRefund) -> Payment:
    """Record that a refund is done; book it, if orders did not ask for it.

    Raises:
        UnknownPayment
    """
    payment = _lock_paid(batch, provider, news.payment_ref)
    ours = _lock_ours(batch, payment, news.key)
    if ours is not None:
        if ours.state in OPEN_STATES:
            _set_state(ours, ProviderRefundState.DONE, provider_ref=news.provider_ref)
        return payment
    known = select(ProviderRefund.refund_id).where(ProviderRefund.provider_ref == news.provider_ref)
    if batch.session.scalar(known) is None:
        # What is booked and not done yet may be this very refund, made by hand.
        beyond_fen = min(news.amount_fen, payment.amount_fen - _refunded_fen(batch, payment))
        if beyond_fen > 0:
            _take_back(batch, payment, beyond_fen, PROVIDER_REFUND, news.provider_ref)
    return payment


def book_refund_failed(batch: OrdersBatch, provider: str, news: RefundFailed) -> Payment:
    """Record that a refund failed at the provider; the money of one that was booked came again.

    A failed refund of orders' own is shown to the operator, and stays booked: it is still owed.

    Raises:
        UnknownPayment
    """
    payment = _lock_paid(batch, provider, news.payment_ref)
    ours = _lock_ours(batch, payment, news.key)
    if ours is not None:
        _refuse(ours, news)
        return payment
    known = lock_payment(batch, news.provider_ref)
    booked_fen = _sum_of(batch, payment, PROVIDER_REFUND)
    amount_fen = min(news.amount_fen, booked_fen - _regained_fen(batch, payment, PROVIDER_REFUND))
    if known is None and amount_fen > 0:
        _regain(batch, payment, news.provider_ref, amount_fen, PROVIDER_REFUND)
    return payment


def book_dispute(batch: OrdersBatch, provider: str, news: Disputed) -> Payment:
    """Book a chargeback, or the money that came again when the dispute was won.

    Raises:
        UnknownPayment
    """
    payment = _lock_paid(batch, provider, news.payment_ref)
    dispute = batch.session.scalars(
        select(Dispute).where(Dispute.dispute_ref == news.dispute_ref)
    ).one_or_none()
    if dispute is None:
        dispute = Dispute(
            id=new_id(),
            dispute_ref=news.dispute_ref,
            payment_id=payment.id,
            amount_fen=news.amount_fen,
            booked_fen=0,
            state=news.state,
            changed_at=clock.now(),
        )
        batch.session.add(dispute)
        if news.state != DisputeState.WON:
            dispute.booked_fen = _take_back(batch, payment, news.amount_fen, CHARGEBACK)
        return payment
    # A dispute that is over does not open again; a lost one may still be won.
    if dispute.state == DisputeState.WON or news.state in (dispute.state, DisputeState.OPEN):
        return payment
    dispute.state, dispute.changed_at = news.state, clock.now()
    if news.state == DisputeState.WON and dispute.booked_fen:
        _regain(batch, payment, news.dispute_ref, dispute.booked_fen, CHARGEBACK)
    return payment


def _lock_paid(batch: OrdersBatch, provider: str, payment_ref: str) -> Payment:
    payment = lock_payment(batch, payment_ref)
    if payment is None or payment.provider != provider or payment.status != "paid":
        raise UnknownPayment(
            f"No payment {payment_ref} is booked as paid. If it is one of Farmgate's, its own news "
            "is still on its way: send this again later."
        )
    return payment


def _lock_ours(batch: OrdersBatch, payment: Payment, key: str | None) -> ProviderRefund | None:
    refund_id = refund_of(key)
    if refund_id is None:
        return None
    found = (
        select(ProviderRefund)
        .join(Refund, Refund.id == ProviderRefund.refund_id)
        .where(Refund.id == refund_id, Refund.payment_id == payment.id)
        .with_for_update(of=ProviderRefund)
    )
    return batch.session.scalars(found).one_or_none()


# --- What is booked ---------------------------------------------------------------------------


def _refunded_fen(batch: OrdersBatch, payment: Payment) -> int:
    """Return what went back of a payment at its provider, chargebacks left out."""
    booked = (
        select(func.coalesce(func.sum(Refund.amount_fen), 0))
        .outerjoin(ProviderRefund, ProviderRefund.refund_id == Refund.id)
        .where(
            Refund.payment_id == payment.id,
            Refund.cause != CHARGEBACK,
            # An operator gave this back by another way.
            ProviderRefund.settled_by.is_(None),
        )
    )
    regained_fen = _regained_fen(batch, payment, PROVIDER_REFUND)
    return int(batch.session.scalars(booked).one()) - regained_fen


def _sum_of(batch: OrdersBatch, payment: Payment, cause: str) -> int:
    booked = select(func.coalesce(func.sum(Refund.amount_fen), 0)).where(
        Refund.payment_id == payment.id, Refund.cause == cause
    )
    return int(batch.session.scalars(booked).one())


def _regained_fen(batch: OrdersBatch, payment: Payment, cause: str) -> int:
    again = select(func.coalesce(func.sum(Payment.amount_fen), 0)).where(
        Payment.of_payment_id == payment.id, Payment.reason == cause
    )
    return int(batch.session.scalars(again).one())


# --- Booking ----------------------------------------------------------------------------------


def _take_back(
    batch: OrdersBatch,
    payment: Payment,
    amount_fen: int,
    cause: str,
    provider_ref: str | None = None,
) -> int:
    """Book money that is gone; return how much of it was the order's.

    An order whose money is all gone, and whose goods are still here, is cancelled.
    """
    order = batch.lock_order(payment.order_id)
    booked_fen = min(amount_fen, order.status.net_paid_fen)
    if booked_fen < amount_fen:
        # It went back twice: by a refund, and by the bank.
        log.error(
            "more went back than was paid",
            order_ref=order.order_ref,
            amount_fen=amount_fen - booked_fen,
        )
    if not booked_fen:
        return 0
    refund = transition(
        batch,
        order,
        order_status.take_back(order.status, booked_fen),
        refund_cause=cause,
        refunded_payment_id=payment.id,
    )
    if provider_ref is not None and refund is not None:
        batch.session.add(
            ProviderRefund(
                refund_id=refund.id,
                state=ProviderRefundState.DONE,
                provider_ref=provider_ref,
                changed_at=refund.refunded_at,
            )
        )
    if not order.status.net_paid_fen and order_status.may_cancel(order.status):
        decide.cancel_order(batch, order, cause)
    return booked_fen


def _regain(batch: OrdersBatch, payment: Payment, ref: str, amount_fen: int, cause: str) -> None:
    order = batch.lock_order(payment.order_id)
    batch.session.add(
        Payment(
            id=new_id(),
            payment_ref=ref,
            provider=payment.provider,
            order_id=order.id,
            amount_fen=amount_fen,
            status="paid",
            reason=cause,
            of_payment_id=payment.id,
            received_at=clock.now(),
        )
    )
    batch.record(
        order,
        RefundReversed(**named(order), amount_fen=amount_fen, cause=cause),
    )
    transition(
        batch,
        order,
        order_status.regain(order.status, amount_fen),
        refunded_payment_id=payment.id,
    )


def _settle_all(batch: OrdersBatch, payment: Payment) -> None:
    found = (
        select(ProviderRefund)
        .join(Refund, Refund.id == ProviderRefund.refund_id)
        .where(Refund.payment_id == payment.id, ProviderRefund.state.in_(OPEN_STATES))
        .with_for_update(of=ProviderRefund)
    )
    for row in batch.session.scalars(found):
        _set_state(row, ProviderRefundState.DONE, provider_ref=row.provider_ref)


def _refuse(row: ProviderRefund, news: RefundFailed) -> None:
    # News of an earlier round is old: the refund was asked for again since.
    is_present = news.key == refund_key(row.refund_id, row.key_round)
    if is_present and row.settled_by is None and row.state != ProviderRefundState.REFUSED:
        _set_state(row, ProviderRefundState.REFUSED, provider_ref=None, reason=news.reason)
        row.key_round += news.new_key


def _set_state(
    row: ProviderRefund,
    state: ProviderRefundState,
    *,
    provider_ref: str | None,
    reason: str | None = None,
) -> None:
    row.state, row.provider_ref, row.reason = state, provider_ref, reason
    row.due_at, row.changed_at = None, clock.now()
