"""Find why a new order needs an operator's approval, and take the operator's decision."""

from collections.abc import Iterable

from sqlalchemy import bindparam, case, func, or_, select

from services.orders.batch import OrdersBatch
from services.orders.models import Order
from services.orders.models.orders import OPEN, WAITING_FOR_APPROVAL
from services.orders.rules import order_status, people
from services.orders.rules.limits import (
    OPEN_ORDERS,
    OTHERS_ORDERS,
    Allowance,
    Holder,
    Limits,
    Open,
    exceeded,
)
from services.orders.use_cases.recording import record_placed
from services.orders.use_cases.transition import mark_changed, transition
from shared.runtime.bulk import among
from shared.runtime.errors import Conflict
from shared.runtime.locks import advisory_lock

#: Why an order that waited for approval was rejected: an operator declined it, or the buyer
#: withdrew it.
NOT_APPROVED, WITHDRAWN = "not_approved", "withdrawn"

#: An order that waits for approval holds no goods yet: it counts as one, with a value of 0.
_HELD_FEN = case((WAITING_FOR_APPROVAL, 0), else_=Order.total_fen)
_COUNTS = (func.count().label("orders"), func.sum(_HELD_FEN).label("fen"))
# Made once: making a statement takes longer than executing it.
_OPEN_OF_BUYERS = (
    select(Order.phone_digest, Order.buyer_id, *_COUNTS)
    .where(
        OPEN,
        or_(
            Order.phone_digest.in_(bindparam("digests", expanding=True)),
            among(Order.buyer_id, bindparam("buyers")),
        ),
    )
    .group_by(Order.phone_digest, Order.buyer_id)
)
_OPEN_OF_CALLERS = (
    select(Order.placed_by, *_COUNTS)
    .where(OPEN, among(Order.placed_by, bindparam("callers")))
    .group_by(Order.placed_by)
)


class TooManyOpenHolds(Conflict):
    """Raised when the buyer, the telephone or the caller has too many unpaid orders."""


class NothingToApprove(Conflict):
    """Raised when an order does not wait for approval."""


def load_open_orders(
    batch: OrdersBatch, phones: Iterable[str], buyer_ids: Iterable[str], callers: Iterable[str]
) -> None:
    """Lock the limits of telephones and buyers; count their open orders, and those of callers.

    Placements with the same telephone or buyer take turns: otherwise two at the same moment could
    both pass the limit. A caller's orders are counted without a lock, since a busy shop's orders
    would queue on it: two at once may both pass.
    """
    has, session = batch.open_orders, batch.session
    digests = {d for phone in phones if ("phone", d := people.phone_digest(phone)) not in has}
    buyers = {buyer_id for buyer_id in buyer_ids if ("buyer", buyer_id) not in has}
    of_callers = {caller for caller in callers if ("caller", caller) not in has}
    found: dict[Holder, Open] = {
        **{("phone", digest): Open() for digest in digests},
        **{("buyer", buyer_id): Open() for buyer_id in buyers},
        **{("caller", caller): Open() for caller in of_callers},
    }
    if digests or buyers:
        phone_locks = (f"holds/phone/{digest.hex()}" for digest in digests)
        advisory_lock(session, *phone_locks, *(f"holds/{buyer_id}" for buyer_id in buyers))
        those = {"digests": [*digests], "buyers": [*buyers]}
        for row in session.execute(_OPEN_OF_BUYERS, those):
            holders: tuple[Holder, ...] = (("phone", row.phone_digest), ("buyer", row.buyer_id))
            for holder in holders:
                # An order with a telephone that is asked for may be another buyer's.
                if holder in found:
                    found[holder] = found[holder].plus(row.orders, int(row.fen))
    if of_callers:
        for row in session.execute(_OPEN_OF_CALLERS, {"callers": [*of_callers]}):
            found["caller", row.placed_by] = Open(row.orders, int(row.fen))
    has.update(found)


def approval_needed(
    batch: OrdersBatch, order: Order, limits: Limits, *, limit_caller: bool
) -> str | None:
    """Return why a new order needs an operator's approval; None: it needs none.

    With `limit_caller` the allowance of `order.placed_by` counts, too. `load_open_orders` must have
    counted the open orders before.
    """

    def exceeds(holder: Holder, allowance: Allowance) -> str | None:
        return exceeded(batch.open_orders[holder], order.total_fen, allowance)

    assert order.phone_digest is not None, "only open orders are limited"
    by_phone = exceeds(("phone", order.phone_digest), limits.buyer)
    # A guest has no id; the telephone alone limits a guest.
    by_buyer = exceeds(("buyer", order.buyer_id), limits.buyer) if order.buyer_id else None
    by_caller = exceeds(("caller", order.placed_by), limits.caller) if limit_caller else None
    if by_phone == OPEN_ORDERS != by_buyer and order.buyer_id == order.placed_by:
        # A buyer who gives a stranger's number must not keep the stranger from ordering.
        by_phone = OTHERS_ORDERS
    reasons = [by_phone, by_buyer, by_caller]
    # The number of orders goes before their value, since it may refuse the order.
    return OPEN_ORDERS if OPEN_ORDERS in reasons else next(filter(None, reasons), None)


def count_open(batch: OrdersBatch, order: Order) -> None:
    """Count a new open order, which no statement finds before it is written."""
    fen = 0 if order.awaits_approval else order.total_fen
    holders: tuple[Holder, ...] = (
        ("phone", order.phone_digest or b""),
        ("buyer", order.buyer_id or ""),
        ("caller", order.placed_by),
    )
    for holder in holders:
        if holder in batch.open_orders:
            batch.open_orders[holder] = batch.open_orders[holder].plus(1, fen)


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
