"""Keep how people can be reached, and erase it when no message needs it any more."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select

from services.notifications.batch import NotificationsBatch
from services.notifications.models import Contact, OrderReadModel, PhoneTally
from services.notifications.rules.messages import language_of
from shared.runtime import clock

#: Contacts of an order that never ended are erased after this time all the same.
LONGEST = timedelta(days=365)
#: Rows erased in one transaction.
CHUNK = 1000


def order_key(order_id: UUID) -> str:
    """Return the contact key, and recipient of messages, of an order's buyer."""
    return f"order:{order_id}"


def enterprise_key(enterprise_id: UUID | str) -> str:
    """Return the contact key, recipient and person of an enterprise."""
    return f"enterprise:{enterprise_id}"


def keep_contact(
    batch: NotificationsBatch, key: str, *, phone: str | None, language: str, given_at: datetime
) -> None:
    """Keep how one order's buyer or one enterprise can be reached; the newest contact counts."""
    batch.contacts[key] = {
        "key": key,
        "phone": phone,
        "language": language_of(language),
        "given_at": given_at,
    }


def erase_contacts(batch: NotificationsBatch, days: int) -> bool:
    """Erase contacts of orders that ended more than `days` ago; return whether there are more.

    Contacts of enterprises are kept: an enterprise is notified of every sale.
    """
    moment = clock.now()
    ended: Sequence[OrderReadModel] = batch.session.scalars(
        select(OrderReadModel)
        .where(OrderReadModel.contact_unused_since < moment - timedelta(days=days))
        .order_by(OrderReadModel.order_id)
        .limit(CHUNK)
        .with_for_update()
    ).all()
    keys = [order_key(order.order_id) for order in ended]
    batch.session.execute(delete(Contact).where(Contact.key.in_(keys)))
    for order in ended:
        order.contact_unused_since = None
    stray = select(Contact.key).where(
        Contact.key.startswith("order:"), Contact.given_at < moment - LONGEST
    )
    strays: Any = batch.session.execute(delete(Contact).where(Contact.key.in_(stray.limit(CHUNK))))
    return len(ended) == CHUNK or strays.rowcount == CHUNK


def erase_tallies(batch: NotificationsBatch) -> None:
    """Delete the counts of messages per phone of days before yesterday."""
    batch.session.execute(
        delete(PhoneTally).where(PhoneTally.key < (clock.today() - timedelta(days=1)).isoformat())
    )
