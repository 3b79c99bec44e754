"""Follow an order's goods by the events of its shipment from logistics.

The shipment of a cancelled order changes `fulfilment_state` only; the order stays cancelled.
"""

from uuid import UUID

from services.orders.batch import OrdersBatch
from services.orders.models import Order
from services.orders.rules import order_status
from services.orders.rules.order_status import FulfilmentState, OrderState, OrderStatus
from services.orders.use_cases.transition import mark_changed, transition
from shared.events import ShipmentPlanned


def apply_shipment_planned(batch: OrdersBatch, planned: ShipmentPlanned) -> None:
    """Store which shipment an order has, and the day promised.

    Raises:
        OrderNotFound
    """
    order = batch.lock_order(planned.order_id)
    order.shipment_id, order.shipment_ref = planned.shipment_id, planned.shipment_ref
    order.promised_on = planned.promised_on
    _follow(batch, order, FulfilmentState.PLANNED, order.status)


def apply_shipment_packed(batch: OrdersBatch, order_id: UUID) -> None:
    """Store that the goods are packed.

    Raises:
        OrderNotFound, WrongOrderState
    """
    order = batch.lock_order(order_id)
    _follow(batch, order, FulfilmentState.PACKED, order_status.pack(order.status))


def apply_shipment_dispatched(batch: OrdersBatch, order_id: UUID) -> None:
    """Store that the goods left.

    Raises:
        OrderNotFound, WrongOrderState
    """
    order = batch.lock_order(order_id)
    _follow(batch, order, FulfilmentState.DISPATCHED, order_status.ship(order.status))


def apply_handed_over(
    batch: OrdersBatch, order_id: UUID, to: FulfilmentState, collected_fen: int
) -> None:
    """Complete the order, and book the cash taken; `to` is DELIVERED or COLLECTED.

    Raises:
        OrderNotFound, WrongOrderState
    """
    order = batch.lock_order(order_id)
    after = order_status.hand_over(order.status, OrderState(to.value), collected_fen)
    _follow(batch, order, to, after)


def apply_delivery_failed(batch: OrdersBatch, order_id: UUID) -> None:
    """Store that the goods were not taken; the order ends when they are back.

    Raises:
        OrderNotFound, WrongOrderState
    """
    order = batch.lock_order(order_id)
    _follow(batch, order, FulfilmentState.FAILED, order_status.fail_delivery(order.status))


def apply_shipment_returned(batch: OrdersBatch, order_id: UUID) -> None:
    """End the order, whose goods are back, and refund its payment.

    Raises:
        OrderNotFound, WrongOrderState
    """
    order = batch.lock_order(order_id)
    _follow(batch, order, FulfilmentState.RETURNED, order_status.return_goods(order.status))


def apply_shipment_cancelled(batch: OrdersBatch, order_id: UUID) -> None:
    """Store that the shipment of a cancelled or rejected order was stopped before its goods left.

    Raises:
        OrderNotFound
    """
    order = batch.lock_order(order_id)
    _follow(batch, order, FulfilmentState.CANCELLED, order.status)


def _follow(
    batch: OrdersBatch, order: Order, fulfilment: FulfilmentState, after: OrderStatus
) -> None:
    order.fulfilment_state = fulfilment
    mark_changed(order)
    transition(batch, order, after)
