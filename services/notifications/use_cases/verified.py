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

#: After this time without another code, a number may belong to somebody else.
LONGEST = timedelta(days=365)


def load_for_verification(batch: NotificationsBatch, order_ids: Collection[UUID]) -> None:
    """Lock and load, in three statements, the rows that `verify_phone` needs of these orders."""
    keys = [order_key(order_id) for order_id in order_ids]
    batch.load_for_update(Contact.key, keys)
    contacts = [batch.get_for_update(Contact.key, key) for key in keys]
    digests = [_digest(each.phone) for each in contacts if each is not None and each.phone]
    batch.load_for_update(VerifiedPhone.digest, digests)
    codes = batch.session.execute(
        select(Message.order_id, Message.taken_by).where(
            Message.order_id.in_(order_ids),
            Message.template == "collection_code",
            Message.status == "sent",
        )
    )
    batch.code_sent.update(dict.fromkeys(order_ids, False))
    batch.code_sent.update({order_id: True for order_id, taken_by in codes if taken_by})


def verify_phone(batch: NotificationsBatch, order_id: UUID) -> None:
    """Mark an order's phone as verified, since the code that was sent to it was shown.

    Unless no channel took the code: then the buyer read it in the inbox, which proves nothing.
    """
    if order_id not in batch.code_sent:
        load_for_verification(batch, (order_id,))
    contact: Contact | None = batch.get_for_update(Contact.key, order_key(order_id))
    if contact is None or contact.phone is None or not batch.code_sent[order_id]:
        return
    digest = _digest(contact.phone)
    row: VerifiedPhone | None = batch.get_for_update(VerifiedPhone.digest, digest)
    if row is None:
        row = VerifiedPhone(digest=digest)
        batch.track(VerifiedPhone.digest, row)
    row.verified_at = clock.now()


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
