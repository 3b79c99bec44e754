"""Follow an order's goods by what logistics says of its shipment.

What it says of a cancelled order is kept beside the order's own state, which stays.
"""

from datetime import date
from uuid import UUID

from sqlalchemy.orm import Session

from services.orders.models import Order
from services.orders.rules import standing
from services.orders.rules.standing import FulfilmentState, OrderState, Standing
from services.orders.use_cases.advance import advance, lock_order, touch


def note_planned(
    session: Session, order_id: UUID, shipment_id: UUID, shipment_ref: str, promised_on: date
) -> None:
    """Keep which shipment an order has, and the day promised.

    Raises:
        OrderNotFound
    """
    order = lock_order(session, order_id)
    order.shipment_id, order.shipment_ref = shipment_id, shipment_ref
    order.promised_on = promised_on
    _follow(session, order, FulfilmentState.PLANNED, order.standing)


def note_packed(session: Session, order_id: UUID) -> None:
    """Keep that the goods are packed.

    Raises:
        OrderNotFound, WrongOrderState
    """
    order = lock_order(session, order_id)
    _follow(session, order, FulfilmentState.PACKED, standing.pack(order.standing))


def note_dispatched(session: Session, order_id: UUID) -> None:
    """Keep that the goods left.

    Raises:
        OrderNotFound, WrongOrderState
    """
    order = lock_order(session, order_id)
    _follow(session, order, FulfilmentState.DISPATCHED, standing.ship(order.standing))


def note_handed_over(
    session: Session, order_id: UUID, to: FulfilmentState, collected_fen: int
) -> None:
    """Complete the order, whose goods were `to` delivered or collected, and book the cash taken.

    Raises:
        OrderNotFound, WrongOrderState
    """
    order = lock_order(session, order_id)
    after = standing.hand_over(order.standing, OrderState(to.value), collected_fen)
    _follow(session, order, to, after)


def note_failed(session: Session, order_id: UUID) -> None:
    """Keep that the goods were not taken; the order ends when they are back.

    Raises:
        OrderNotFound, WrongOrderState
    """
    order = lock_order(session, order_id)
    _follow(session, order, FulfilmentState.FAILED, standing.fail_delivery(order.standing))


def note_returned(session: Session, order_id: UUID) -> None:
    """End the order, whose goods are back, and give back what was paid.

    Raises:
        OrderNotFound, WrongOrderState
    """
    order = lock_order(session, order_id)
    _follow(session, order, FulfilmentState.RETURNED, standing.take_back(order.standing))


def note_stopped(session: Session, order_id: UUID) -> None:
    """Keep that the shipment of a cancelled or rejected order was stopped before its goods left.

    Raises:
        OrderNotFound
    """
    order = lock_order(session, order_id)
    _follow(session, order, FulfilmentState.CANCELLED, order.standing)


def _follow(session: Session, order: Order, fulfilment: FulfilmentState, after: Standing) -> None:
    order.fulfilment_state = fulfilment
    touch(order)
    advance(session, order, after)
