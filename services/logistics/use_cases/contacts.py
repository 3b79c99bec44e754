"""Delivery addresses: kept while a shipment may need them, then erased."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, exists, select

from services.logistics.batch import LogisticsBatch
from services.logistics.models import DeliveryAddress, Shipment
from shared.events import ContactGiven
from shared.runtime import clock
from shared.runtime.bulk import among

#: Addresses erased in one transaction.
ERASED_AT_ONCE = 500


def keep_contact(batch: LogisticsBatch, contact: ContactGiven) -> None:
    """Keep how to reach an order's buyer; a later contact replaces an earlier one."""
    batch.erased_contacts.discard(contact.order_id)
    batch.erased_addresses.discard(contact.order_id)
    batch.contacts[contact.order_id] = {
        "order_id": contact.order_id,
        "name": contact.name,
        "phone": contact.phone,
        "address": contact.address,
        "language": contact.language,
        "given_at": clock.now(),
    }


def erase_contact(batch: LogisticsBatch, order_id: UUID) -> None:
    """Erase an order's contact at once: nothing will be delivered or handed over."""
    batch.contacts.pop(order_id, None)
    batch.erased_contacts.add(order_id)


def erase_address(batch: LogisticsBatch, order_id: UUID) -> None:
    """Erase the address in the contact of a buyer who collects the goods.

    The clerk at the site still needs the name and the phone.
    """
    # Contacts are written first, so this erases the address also of one given in this batch.
    batch.erased_addresses.add(order_id)


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
        expired = delete(DeliveryAddress).where(among(DeliveryAddress.order_id, order_ids))
        batch.session.execute(expired)
    return len(order_ids)
