"""Delivery addresses: kept while a shipment may need them, then erased."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session

from services.logistics.models import DeliveryAddress, Shipment
from shared.messaging.rows import locked, remember
from shared.runtime import clock

#: Addresses erased in one transaction.
ERASED_AT_ONCE = 500


def keep_contact(
    session: Session, order_id: UUID, name: str, phone: str, address: str | None, language: str
) -> None:
    """Keep how to reach an order's buyer; a later word replaces an earlier one."""
    row = locked(session, DeliveryAddress.order_id, order_id)
    if row is None:
        row = DeliveryAddress(order_id=order_id)
        remember(session, DeliveryAddress.order_id, row)
    row.name, row.phone, row.address, row.language = name, phone, address, language
    row.given_at = clock.now()


def forget_contact(session: Session, order_id: UUID) -> None:
    """Erase an order's contact at once: nothing will be brought or handed over."""
    row = locked(session, DeliveryAddress.order_id, order_id)
    if row is not None:
        session.delete(row)


def erase_contacts(session: Session, before: datetime) -> int:
    """Erase contacts of shipments that ended, and of orders never confirmed, before a moment.

    Returns how many; at most `ERASED_AT_ONCE`.
    """
    of_order = Shipment.order_id == DeliveryAddress.order_id
    due = (
        select(DeliveryAddress.order_id)
        .where(DeliveryAddress.given_at < before)
        .where(~exists().where(of_order, Shipment.ended_at.is_(None)))
        .where(~exists().where(of_order, Shipment.ended_at >= before))
        .limit(ERASED_AT_ONCE)
    )
    order_ids = session.scalars(due).all()
    if order_ids:
        session.execute(delete(DeliveryAddress).where(DeliveryAddress.order_id.in_(order_ids)))
    return len(order_ids)
