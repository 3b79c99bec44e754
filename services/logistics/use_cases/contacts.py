"""Delivery addresses: kept while a shipment may need them, then erased."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, exists, select

from services.logistics.batch import LogisticsBatch
from services.logistics.models import DeliveryAddress, Shipment
from shared.events import ContactGiven
from shared.runtime import clock

#: Addresses erased in one transaction.
ERASED_AT_ONCE = 500


def keep_contact(batch: LogisticsBatch, contact: ContactGiven) -> None:
    """Keep how to reach an order's buyer; a later contact replaces an earlier one."""
    row = batch.get_for_update(DeliveryAddress.order_id, contact.order_id)
    if row is None:
        row = DeliveryAddress(order_id=contact.order_id)
        batch.track(DeliveryAddress.order_id, row)
    row.name, row.phone = contact.name, contact.phone
    row.address, row.language = contact.address, contact.language
    row.given_at = clock.now()


def erase_contact(batch: LogisticsBatch, order_id: UUID) -> None:
    """Erase an order's contact at once: nothing will be delivered or handed over."""
    row = batch.get_for_update(DeliveryAddress.order_id, order_id)
    if row is not None:
        batch.session.delete(row)


def erase_address(batch: LogisticsBatch, order_id: UUID) -> None:
    """Erase the address in the contact of a buyer who collects the goods.

    The clerk at the site still needs the name and the phone.
    """
    row = batch.get_for_update(DeliveryAddress.order_id, order_id)
    if row is not None:
        row.address = None


def erase_contacts(batch: LogisticsBatch, before: datetime) -> int:
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
    order_ids = batch.session.scalars(due).all()
    if order_ids:
        expired = delete(DeliveryAddress).where(DeliveryAddress.order_id.in_(order_ids))
        batch.session.execute(expired)
    return len(order_ids)
