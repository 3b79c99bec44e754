"""A lot is recalled that was taken for orders: they ask for other stock, or their goods come back.

Who may still act decides. An order that waits for its money asks by itself. A confirmed one asks
once logistics says that its parcel has not left and will not: until then the goods may be on a
lorry, and stock set aside twice would be wrong.
"""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import String, cast, select
from sqlalchemy.orm import Session

from services.orders.models import Order, OrderLine
from services.orders.rules import standing
from services.orders.rules.standing import FulfilmentState, OrderState
from services.orders.use_cases.advance import advance, lock_order, lock_orders, touch

#: As `Order.reason`.
LOT_RECALLED = "lot_recalled"


def note_lot_recalled(session: Session, lot_id: UUID) -> None:
    """Ask once more for the stock of all orders that wait for money and have taken the lot."""
    order_ids = session.scalars(
        select(Order.id)
        .distinct()
        .join(OrderLine, OrderLine.order_id == Order.id)
        .where(
            Order.state == OrderState.RESERVED,
            # Ids of lots stand in the JSON as text; those that wait for money are few.
            cast(OrderLine.lots, String).contains(str(lot_id), autoescape=True),
        )
    ).all()
    lock_orders(session, order_ids)
    for order_id in order_ids:
        order = lock_order(session, order_id)
        # Paid in the meantime: logistics decides.
        if order.state == OrderState.RESERVED:
            _ask_again(session, order, [lot_id])


def note_shipment_recalled(
    session: Session, order_id: UUID, where: str, lot_ids: Iterable[UUID]
) -> None:
    """Ask once more for the stock of an order whose parcel is stopped; note why one comes back.

    Raises:
        OrderNotFound
    """
    order = lock_order(session, order_id)
    if where == "here" and order.state in (OrderState.CONFIRMED, OrderState.IN_FULFILMENT):
        _ask_again(session, order, lot_ids)
    elif where == "on_its_way" and order.state == OrderState.SHIPPED:
        order.reason = LOT_RECALLED
        touch(order)


def _ask_again(session: Session, order: Order, lot_ids: Iterable[UUID]) -> None:
    """Ask once more, unless the order has other lots by now: the word was about older ones."""
    taken = {lot["lot_id"] for line in order.lines for lot in line.lots or ()}
    if taken.isdisjoint(map(str, lot_ids)):
        return
    if order.fulfilment_state == FulfilmentState.PACKED:
        order.fulfilment_state = FulfilmentState.PLANNED
    advance(session, order, standing.ask_again(order.standing), reason=LOT_RECALLED)
