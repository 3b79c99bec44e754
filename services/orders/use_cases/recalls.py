"""A recalled lot had been taken for orders: they ask for other stock, or their goods come back.

An order that waits for its money is reinstated at once. A confirmed order is reinstated once
logistics says that its parcel has not left and will not: until then the goods may be on a lorry,
and stock would be set aside twice.
"""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import String, cast, select

from services.orders.batch import OrdersBatch
from services.orders.models import Order, OrderLine
from services.orders.rules import order_status
from services.orders.rules.order_status import FulfilmentState, OrderState
from services.orders.use_cases.transition import mark_changed, transition
from shared.events import ShipmentRecalled

#: As `Order.reason`.
LOT_RECALLED = "lot_recalled"


def apply_lot_recalled(batch: OrdersBatch, lot_id: UUID) -> None:
    """Reinstate all orders that wait for their money and have taken the lot."""
    order_ids = batch.session.scalars(
        select(Order.id)
        .distinct()
        .join(OrderLine, OrderLine.order_id == Order.id)
        .where(
            Order.state == OrderState.RESERVED,
            # The JSON holds ids as text. Few orders wait for money, so no index is needed.
            cast(OrderLine.lots, String).contains(str(lot_id), autoescape=True),
        )
    ).all()
    batch.load_for_update(Order.id, order_ids)
    for order_id in order_ids:
        order = batch.lock_order(order_id)
        # One that was paid in the meantime waits for logistics.
        if order.state == OrderState.RESERVED:
            _reinstate(batch, order, [lot_id])


def apply_shipment_recalled(batch: OrdersBatch, recalled: ShipmentRecalled) -> None:
    """Reinstate an order whose parcel is stopped; of one that comes back, store why.

    Raises:
        OrderNotFound
    """
    order = batch.lock_order(recalled.order_id)
    stoppable = order.state in (OrderState.CONFIRMED, OrderState.IN_FULFILMENT)
    if recalled.where == "here" and stoppable:
        _reinstate(batch, order, [lot.lot_id for lot in recalled.lots])
    elif recalled.where == "on_its_way" and order.state == OrderState.SHIPPED:
        order.reason = LOT_RECALLED
        mark_changed(order)


def _reinstate(batch: OrdersBatch, order: Order, lot_ids: Iterable[UUID]) -> None:
    """Reinstate an order, unless it has taken other lots since the recall."""
    taken = {lot["lot_id"] for line in order.lines for lot in line.lots or ()}
    if taken.isdisjoint(map(str, lot_ids)):
        return
    if order.fulfilment_state == FulfilmentState.PACKED:
        order.fulfilment_state = FulfilmentState.PLANNED
    transition(batch, order, order_status.reinstate(order.status), reason=LOT_RECALLED)
