"""Ask providers for orders' refunds: claim the due ones, record the answers, let operators act.

The key of a refund is committed with the decision to refund. It is claimed in one transaction,
asked for outside of any, and its outcome recorded in another. If the worker dies in between, it is
asked for again with the same key.
"""

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from services.orders.batch import OrdersBatch
from services.orders.models import Order, Payment, ProviderRefund, Refund
from services.orders.rules.payments import (
    ASK_AGAIN,
    STANDARD,
    Outcome,
    ProviderRefundState,
    RefundRequest,
    refund_key,
    wait_after,
)
from shared.runtime import clock
from shared.runtime.bulk import among
from shared.runtime.errors import Conflict, NotFound
from shared.runtime.paging import filtered

#: How soon a refund is looked at again whose provider has no settings.
NOT_CONFIGURED_WAIT = timedelta(minutes=10)


class RefundNotFound(NotFound):
    """Raised when no refund that a provider makes has the id asked for."""


class RefundNotRefused(Conflict):
    """Raised when an operator decides about a refund that its provider has not refused."""


def any_due(session: Session) -> bool:
    """Return whether a refund is due; reads only, since it is asked every few seconds."""
    due = select(ProviderRefund.refund_id).where(ProviderRefund.due_at <= clock.now()).limit(1)
    return session.scalar(due) is not None


def claim_refunds(
    batch: OrdersBatch, providers: Collection[str], limit: int
) -> Sequence[RefundRequest]:
    """Claim up to `limit` refunds that are due, and return what to ask providers for.

    `providers` can be asked. A refund of the provider of one's own, when that cannot, is nobody's
    to ask for: it follows `payment_refunded`. Another one waits for settings.
    """
    moment = clock.now()
    due = batch.session.execute(
        select(ProviderRefund, Refund, Payment)
        .join(Refund, Refund.id == ProviderRefund.refund_id)
        .join(Payment, Payment.id == Refund.payment_id)
        .where(ProviderRefund.due_at <= moment)
        .order_by(ProviderRefund.due_at, ProviderRefund.refund_id)
        .limit(limit)
        .with_for_update(of=ProviderRefund, skip_locked=True)
    ).all()
    claimed = []
    for row, refund, payment in due:
        if payment.provider not in providers:
            _leave(row, payment.provider)
            continue
        row.attempts = min(row.attempts + 1, 30_000)
        row.due_at = moment + wait_after(row.attempts)
        claimed.append(
            RefundRequest(
                refund_id=refund.id,
                key=refund_key(refund.id, row.key_round),
                attempt=row.attempts,
                provider=payment.provider,
                payment_ref=payment.payment_ref,
                order_id=refund.order_id,
                amount_fen=refund.amount_fen,
                paid_fen=payment.amount_fen,
                cause=refund.cause,
            )
        )
    return claimed


def _leave(row: ProviderRefund, provider: str) -> None:
    if provider == STANDARD:
        row.state, row.due_at, row.changed_at = ProviderRefundState.NOT_CALLED, None, clock.now()
    else:
        row.reason, row.due_at = "not_configured", clock.now() + NOT_CONFIGURED_WAIT


def record_outcome(batch: OrdersBatch, request: RefundRequest, outcome: Outcome) -> None:
    """Record a provider's answer, unless its own news or a later attempt was faster."""
    row = batch.session.get(ProviderRefund, request.refund_id, with_for_update=True)
    if row is None or row.due_at is None or row.attempts != request.attempt:
        return
    row.reason = outcome.reason
    if outcome.provider_ref is not None:
        row.provider_ref = outcome.provider_ref
    match outcome.state:
        case ProviderRefundState.DUE:
            return
        case ProviderRefundState.ACCEPTED:
            row.due_at = clock.now() + ASK_AGAIN
        case _:
            row.due_at = None
    if row.state != outcome.state:
        row.state, row.changed_at = outcome.state, clock.now()
    if outcome.state == ProviderRefundState.REFUSED:
        row.provider_ref = None
        row.key_round += outcome.new_key


def retry_refund(batch: OrdersBatch, refund_id: UUID) -> Any:
    """Let a refused refund be asked for again. May be repeated.

    Raises:
        RefundNotFound, RefundNotRefused
    """
    row = _lock(batch, refund_id)
    if row.state == ProviderRefundState.REFUSED:
        row.state, row.due_at, row.changed_at = ProviderRefundState.DUE, clock.now(), clock.now()
    elif row.state != ProviderRefundState.DUE:
        raise _not_refused(row)
    return _shown(batch, row)


def settle_refund(batch: OrdersBatch, refund_id: UUID, by: str) -> Any:
    """Record that the money of a refused refund went back by another way. May be repeated.

    Raises:
        RefundNotFound, RefundNotRefused
    """
    row = _lock(batch, refund_id)
    if row.settled_by is None:
        if row.state != ProviderRefundState.REFUSED:
            raise _not_refused(row)
        row.state, row.settled_by, row.changed_at = ProviderRefundState.DONE, by, clock.now()
    return _shown(batch, row)


def _lock(batch: OrdersBatch, refund_id: UUID) -> ProviderRefund:
    row = batch.session.get(ProviderRefund, refund_id, with_for_update=True)
    if row is None:
        raise RefundNotFound(f"There is no refund {refund_id} that a payment provider makes.")
    return row


def _not_refused(row: ProviderRefund) -> RefundNotRefused:
    return RefundNotRefused(
        f"Refund {row.refund_id} is {row.state}; only one that its provider refused waits for a "
        "decision."
    )


def _shown(batch: OrdersBatch, row: ProviderRefund) -> Any:
    batch.flush()
    return describe(batch.session, [row])[0]


def select_refunds(state: ProviderRefundState | None = None) -> Select[ProviderRefund]:
    """Return the statement that selects what providers did about refunds."""
    return filtered(select(ProviderRefund), {ProviderRefund.state: state})


def describe(session: Session, rows: Sequence[ProviderRefund]) -> list[Any]:
    """Return refunds with their order, payment and provider's state, in the order of `rows`."""
    ids = [row.refund_id for row in rows]
    statement = (
        select(
            Refund.id,
            Refund.order_id,
            Order.order_ref,
            Refund.amount_fen,
            Refund.cause,
            Refund.refunded_at,
            Payment.provider,
            Payment.payment_ref,
            ProviderRefund.state,
            ProviderRefund.reason,
            ProviderRefund.attempts,
            ProviderRefund.provider_ref,
            ProviderRefund.settled_by,
            ProviderRefund.changed_at,
        )
        .join(Order, Order.id == Refund.order_id)
        .join(Payment, Payment.id == Refund.payment_id)
        .join(ProviderRefund, ProviderRefund.refund_id == Refund.id)
        .where(among(Refund.id, ids))
    )
    found = {row.id: row for row in session.execute(statement)}
    return [found[refund_id] for refund_id in ids]
