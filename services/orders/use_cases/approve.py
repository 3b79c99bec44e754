"""Find why a new order needs an operator's approval, and take the operator's decision."""

from collections.abc import Iterable

from sqlalchemy import case, func, or_, select

from services.orders.batch import OrdersBatch
from services.orders.models import Order
from services.orders.models.orders import OPEN, WAITING_FOR_APPROVAL
from services.orders.rules import order_status, people
from services.orders.rules.limits import OPEN_ORDERS, OTHERS_ORDERS, Limits, Open, exceeded
from services.orders.use_cases.recording import record_placed
from services.orders.use_cases.transition import mark_changed, transition
from shared.runtime.errors import Conflict
from shared.runtime.locks import advisory_lock

#: Why an order that waited for approval was rejected: an operator declined it, or the buyer
#: withdrew it.
NOT_APPROVED, WITHDRAWN = "not_approved", "withdrawn"

#: An order that waits for approval holds no goods yet: it counts as one, with a value of 0.
_HELD_FEN = case((WAITING_FOR_APPROVAL, 0), else_=Order.total_fen)


class TooManyOpenHolds(Conflict):
    """Raised when the buyer, the telephone or the caller has too many unpaid orders."""


class NothingToApprove(Conflict):
    """Raised when an order does not wait for approval."""


def lock_limits(batch: OrdersBatch, phones: Iterable[str], buyer_id: str | None = None) -> None:
    """Lock the limits of a buyer and of telephones: placements with the same ones take turns.

    Otherwise two placements at the same moment could both pass the limit.
    """
    names = {f"holds/phone/{people.phone_digest(phone).hex()}" for phone in phones}
    advisory_lock(batch.session, *names, *([f"holds/{buyer_id}"] if buyer_id else []))


def approval_needed(
    batch: OrdersBatch, order: Order, limits: Limits, *, limit_caller: bool
) -> str | None:
    """Return why a new order needs an operator's approval; None: it needs none.

    With `limit_caller` the allowance of `order.placed_by` counts, too. A caller's orders are
    counted without a lock, since a busy shop's orders would queue on it: two at once may both pass.
    """
    session = batch.session
    # Orders of the same upload are not counted before they are written.
    session.flush()
    own = session.execute(
        select(Order.phone_digest, Order.buyer_id, _HELD_FEN.label("fen")).where(
            OPEN,
            or_(
                Order.phone_digest == order.phone_digest,
                # A guest has no id; comparing it would find every other guest.
                *([Order.buyer_id == order.buyer_id] if order.buyer_id else []),
            ),
        )
    ).all()
    of_phone = [row.fen for row in own if row.phone_digest == order.phone_digest]
    of_buyer = [row.fen for row in own if order.buyer_id and row.buyer_id == order.buyer_id]
    by_phone, by_buyer = (
        exceeded(Open(len(of), sum(of)), order.total_fen, limits.buyer)
        for of in (of_phone, of_buyer)
    )
    if by_phone == OPEN_ORDERS != by_buyer and order.buyer_id == order.placed_by:
        # A buyer who gives a stranger's number must not keep the stranger from ordering.
        by_phone = OTHERS_ORDERS
    reasons = [by_phone, by_buyer]
    if limit_caller:
        count, fen = session.execute(
            select(func.count(), func.coalesce(func.sum(_HELD_FEN), 0)).where(
                OPEN, Order.placed_by == order.placed_by
            )
        ).one()
        reasons.append(exceeded(Open(count, int(fen)), order.total_fen, limits.caller))
    # The number of orders goes before their value, since it may refuse the order.
    return OPEN_ORDERS if OPEN_ORDERS in reasons else next(filter(None, reasons), None)


def approve_order(batch: OrdersBatch, order: Order, by: str) -> Order:
    """Approve a locked order, which then asks for its stock. May be repeated.

    Raises:
        NothingToApprove: it did not wait for it, or is over.
    """
    if order.approved_by is not None:
        return order
    _check_waits(order)
    order.approved_by = by
    mark_changed(order)
    record_placed(batch, order)
    return order


def decline_order(batch: OrdersBatch, order: Order, reason: str = NOT_APPROVED) -> Order:
    """Reject a locked order that waited for approval. May be repeated.

    Raises:
        NothingToApprove: it did not wait for it, or is over otherwise.
    """
    if order.reason == reason and order.state == order_status.OrderState.REJECTED:
        return order
    _check_waits(order)
    transition(batch, order, order_status.reject(order.status), reason=reason)
    return order


def _check_waits(order: Order) -> None:
    if not order.awaits_approval:
        raise NothingToApprove(
            f"Order {order.order_ref} is {order.state} and waits for no approval; "
            "GET /api/orders/v1/orders?awaits_approval=true lists those that do."
        )
