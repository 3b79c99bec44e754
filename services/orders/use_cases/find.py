"""Find orders: by id, by a guest's secret, by list, in numbers, and what each waits for.

`owner` is the caller: only orders that were placed by or for it are found. None finds all.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, func, not_, or_, select, true
from sqlalchemy.orm import Session

from services.orders.batch import OrderNotFound, OrdersBatch
from services.orders.models import Order, Payment, ProviderRefund, Refund
from services.orders.models.orders import WAITING_FOR_APPROVAL
from services.orders.rules import people
from services.orders.rules.order_status import FulfilmentState, OrderState
from services.orders.rules.payments import OPEN_STATES, ProviderRefundState
from shared.runtime.clock import rfc3339
from shared.runtime.paging import filtered


def _seen_by(owner: str | None) -> ColumnElement[bool]:
    if owner is None:
        return true()
    return or_(Order.buyer_id == owner, Order.placed_by == owner)


def find_order(session: Session, order_id: UUID, owner: str | None) -> Order:
    """Return an order.

    Raises:
        OrderNotFound: there is none, or it is somebody else's.
    """
    order = session.scalars(select(Order).where(Order.id == order_id, _seen_by(owner))).first()
    if order is None:
        raise OrderNotFound(f"There is no order {order_id}.")
    return order


def lock_own_order(batch: OrdersBatch, order_id: UUID, owner: str | None) -> Order:
    """Return an order, locked until the transaction ends.

    Raises:
        OrderNotFound: there is none, or it is somebody else's.
    """
    order = batch.lock_order(order_id)
    if owner is not None and owner not in (order.buyer_id, order.placed_by):
        raise OrderNotFound(f"There is no order {order_id}.")
    return order


def find_guest_order(session: Session, secret: str) -> Order:
    """Return the order whose guest has this secret.

    Raises:
        OrderNotFound: no guest has it.
    """
    digest = people.secret_digest(secret)
    order = session.scalars(select(Order).where(Order.guest_secret_digest == digest)).first()
    if order is None:
        raise OrderNotFound("This link leads to no order; check that all of it was copied.")
    return order


def select_orders(
    owner: str | None,
    *,
    state: OrderState | None = None,
    channel: str | None = None,
    buyer_id: str | None = None,
    partner: str | None = None,
    external_ref: str | None = None,
    placed_from: datetime | None = None,
    placed_to: datetime | None = None,
    awaits_approval: bool | None = None,
    q: str | None = None,
) -> Select[Order]:
    """Return the statement that selects orders; `placed_to` is not included, `q` is a prefix.

    `q` begins the order's reference, with or without ORD-, or its partner's own number.
    """
    chosen = filtered(
        select(Order).where(_seen_by(owner)),
        {Order.state: state, Order.channel: channel, Order.buyer_id: buyer_id},
    )
    if partner is not None:
        # A partner's orders are placed by its token; that column has the index.
        chosen = chosen.where(Order.placed_by == partner, Order.partner == partner)
    if external_ref is not None:
        chosen = chosen.where(_numbered(Order.external_ref == external_ref))
    if awaits_approval is not None:
        waits = WAITING_FOR_APPROVAL
        chosen = chosen.where(waits if awaits_approval else not_(waits))
    if placed_from is not None:
        chosen = chosen.where(Order.placed_at >= placed_from)
    if placed_to is not None:
        chosen = chosen.where(Order.placed_at < placed_to)
    if q is not None:
        begins = q.upper() if q.upper().startswith("ORD-") else f"ORD-{q.upper()}"
        chosen = chosen.where(
            or_(
                Order.order_ref.startswith(begins, autoescape=True),
                _numbered(Order.external_ref.startswith(q, autoescape=True)),
            )
        )
    return chosen


def _numbered(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return a condition on `external_ref` for which a database uses the partial index."""
    return and_(Order.external_ref.is_not(None), condition)


def count_orders(session: Session, owner: str | None) -> dict[str, int]:
    """Return how many orders are in each state; every state is there."""
    counted = session.execute(
        select(Order.state, func.count()).where(_seen_by(owner)).group_by(Order.state)
    )
    return {state.value: 0 for state in OrderState} | {
        state.value: count for state, count in counted
    }


def state_of_order(order: Order | None) -> dict[str, Any]:
    """Return an order's states and money, for a trace; nothing for one that is not known."""
    if order is None:
        return {}
    facts = {
        "order_ref": order.order_ref,
        "state": order.state.value,
        "payment_state": order.payment_state.value,
        "fulfilment_state": order.fulfilment_state and order.fulfilment_state.value,
        "payment_method": order.payment_method,
        "channel": order.channel,
        "partner": order.partner,
        "external_ref": order.external_ref,
        "total_fen": order.total_fen,
        "paid_fen": order.paid_fen,
        "refunded_fen": order.refunded_fen,
        "difference_fen": order.difference_fen,
        "reason": order.reason,
        "expires_at": order.expires_at and rfc3339(order.expires_at),
        "shipment_id": order.shipment_id and str(order.shipment_id),
        "shipment_ref": order.shipment_ref,
        "promised_on": order.promised_on and order.promised_on.isoformat(),
        "lines": [
            {
                "line_no": line.line_no,
                "variant_id": str(line.variant_id),
                "quantity": line.quantity,
                "lots": [lot["lot_code"] for lot in line.lots or []],
            }
            for line in order.lines
        ],
    }
    return {name: value for name, value in facts.items() if value is not None}


_ON_ITS_WAY = (FulfilmentState.DISPATCHED, FulfilmentState.FAILED)


def waiting_for(session: Session, order: Order | None) -> list[dict[str, Any]]:
    """Return what an order waits for, in words, and since when."""
    if order is None:
        return []
    return [*_waiting_for_others(order), *_waiting_for_refunds(session, order)]


def _waiting_for_refunds(session: Session, order: Order) -> Iterator[dict[str, Any]]:
    if not order.refunded_fen:
        return
    open_refunds = (
        select(Refund.id, Refund.amount_fen, Payment.provider, ProviderRefund)
        .join(Payment, Payment.id == Refund.payment_id)
        .join(ProviderRefund, ProviderRefund.refund_id == Refund.id)
        .where(Refund.order_id == order.id, ProviderRefund.state.in_(OPEN_STATES))
        .order_by(Refund.id)
    )
    for refund_id, amount_fen, provider, row in session.execute(open_refunds):
        what = f"{provider} to refund {amount_fen} fen"
        if row.state == ProviderRefundState.REFUSED:
            what = (
                f"an operator: {provider} refused to refund {amount_fen} fen ({row.reason}); "
                f"farmgate refunds retry {refund_id}, or settle"
            )
        elif row.reason:
            what += f" ({row.reason})"
        yield {"what": what, "since": row.changed_at}


def _waiting_for_others(order: Order) -> list[dict[str, Any]]:
    what: str | None = None
    match order.state:
        case OrderState.PLACED:
            what = "catalog to reserve or refuse its stock"
            if order.awaits_approval:
                what = f"an operator's approval ({order.approval_reason})"
        case OrderState.RESERVED:
            until = f" until {rfc3339(order.expires_at)}" if order.expires_at else ""
            what = f"a payment of {order.total_fen} fen{until}"
        case OrderState.CONFIRMED:
            planned = order.shipment_id is not None
            what = "its shipment to be packed" if planned else "logistics to plan a shipment"
        case OrderState.IN_FULFILMENT:
            what = "its shipment to be dispatched"
        case OrderState.SHIPPED:
            failed = order.fulfilment_state == FulfilmentState.FAILED
            what = "its goods to come back" if failed else "its shipment to be handed over"
        case OrderState.CANCELLED:
            if order.fulfilment_state in (FulfilmentState.PLANNED, FulfilmentState.PACKED):
                what = "logistics to stop its shipment"
            elif order.fulfilment_state in _ON_ITS_WAY:
                what = "its goods to come back"
    return [{"what": what, "since": order.changed_at}] if what else []
