"""Telephones whose owners are known to read what is sent to them: they showed a code from it.

Anybody may type a stranger's number into an order. Who came for the goods with the code that was
sent to it, and paid, did not.
"""

import hashlib
from collections.abc import Collection
from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from services.notifications.models import Contact, Message, VerifiedPhone
from services.notifications.use_cases.contacts import order_key
from shared.messaging.rows import lock_rows, locked, remember
from shared.runtime import clock

#: After this time without another code, a number may have another owner.
LONGEST = timedelta(days=365)


def lock_for_verification(session: Session, order_ids: Collection[UUID]) -> None:
    """Load what `verify_phone` asks about these orders, in a number of statements that is fixed."""
    keys = [order_key(order_id) for order_id in order_ids]
    lock_rows(session, Contact.key, keys)
    contacts = [locked(session, Contact.key, key) for key in keys]
    digests = [_digest(each.phone) for each in contacts if each is not None and each.phone]
    lock_rows(session, VerifiedPhone.digest, digests)
    codes = session.execute(
        select(Message.order_id, Message.taken_by).where(
            Message.order_id.in_(order_ids),
            Message.template == "collection_code",
            Message.status == "sent",
        )
    )
    sent: dict[UUID, bool] = session.info.setdefault("codes sent", {})
    sent.update(dict.fromkeys(order_ids, False))
    sent.update({order_id: True for order_id, taken_by in codes if taken_by})


def verify_phone(session: Session, order_id: UUID) -> None:
    """Note that an order's code came back from the phone that it was sent to.

    Unless it never left Farmgate: then its buyer read it in the inbox.
    """
    if order_id not in session.info.get("codes sent", ()):
        lock_for_verification(session, (order_id,))
    contact: Contact | None = locked(session, Contact.key, order_key(order_id))
    if contact is None or contact.phone is None or not session.info["codes sent"][order_id]:
        return
    digest = _digest(contact.phone)
    row: VerifiedPhone | None = locked(session, VerifiedPhone.digest, digest)
    if row is None:
        row = VerifiedPhone(digest=digest)
        remember(session, VerifiedPhone.digest, row)
    row.verified_at = clock.now()


def verified_among(session: Session, phones: Collection[str]) -> set[str]:
    """Return which of these phones are verified."""
    if not phones:
        return set()
    digests = {_digest(phone): phone for phone in phones}
    known = select(VerifiedPhone.digest).where(VerifiedPhone.digest.in_(digests))
    return {digests[digest] for digest in session.scalars(known)}


def erase_verified(session: Session) -> None:
    """Forget phones that showed no code for `LONGEST`."""
    session.execute(delete(VerifiedPhone).where(VerifiedPhone.verified_at < clock.now() - LONGEST))


def _digest(phone: str) -> bytes:
    return hashlib.sha256(phone.encode()).digest()
