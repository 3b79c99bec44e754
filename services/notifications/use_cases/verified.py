"""Verified phones: their owners showed a collection code that was sent to them.

Anybody can type a stranger's number into an order. But a buyer who collects the goods with the code
that was sent to the number reads what is sent to it.
"""

import hashlib
from collections.abc import Collection
from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from services.notifications.batch import NotificationsBatch
from services.notifications.models import Contact, Message, VerifiedPhone
from services.notifications.use_cases.contacts import order_key
from shared.runtime import clock
from shared.runtime.bulk import among

#: After this time without another code, a number may belong to somebody else.
LONGEST = timedelta(days=365)


def load_code_phones(batch: NotificationsBatch, order_ids: Collection[UUID]) -> None:
    """Load, in two statements, the phones of those orders whose code a channel took."""
    codes = batch.session.execute(
        select(Message.order_id, Message.taken_by).where(
            among(Message.order_id, order_ids),
            Message.template == "collection_code",
            Message.status == "sent",
        )
    )
    sent = {order_key(order_id): order_id for order_id, taken_by in codes if taken_by}
    contacts = select(Contact.key, Contact.phone).where(among(Contact.key, [*sent]))
    batch.code_phones.update(dict.fromkeys(order_ids))
    batch.code_phones.update({sent[key]: phone for key, phone in batch.session.execute(contacts)})


def verify_phone(batch: NotificationsBatch, order_id: UUID) -> None:
    """Mark an order's phone as verified, since the code that was sent to it was shown.

    Unless no channel took the code: then the buyer read it in the inbox, which proves nothing.
    """
    if order_id not in batch.code_phones:
        load_code_phones(batch, (order_id,))
    phone = batch.code_phones[order_id]
    if phone is not None:
        digest = _digest(phone)
        batch.verified[digest] = {"digest": digest, "verified_at": clock.now()}


def verified_among(session: Session, phones: Collection[str]) -> set[str]:
    """Return which of these phones are verified."""
    if not phones:
        return set()
    digests = {_digest(phone): phone for phone in phones}
    known = select(VerifiedPhone.digest).where(VerifiedPhone.digest.in_(digests))
    return {digests[digest] for digest in session.scalars(known)}


def erase_verified(batch: NotificationsBatch) -> None:
    """Erase phones for which no code was shown for `LONGEST`."""
    batch.session.execute(
        delete(VerifiedPhone).where(VerifiedPhone.verified_at < clock.now() - LONGEST)
    )


def _digest(phone: str) -> bytes:
    return hashlib.sha256(phone.encode()).digest()
