"""Decide which messages go out now, and claim them for one sender."""

from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.notifications import texts
from services.notifications.models import Message, PhoneTally
from services.notifications.rules import (
    TEMPLATES,
    Limits,
    Verdict,
    barred,
    become,
    cap_of,
    judge,
)
from services.notifications.use_cases.outgoing import Outgoing
from services.notifications.use_cases.verified import verified_among
from services.notifications.use_cases.writing import Copies, load_copies
from shared.messaging.rows import lock_rows, locked, remember
from shared.runtime import clock


def claim_messages(
    session: Session, *, channels: Mapping[str, bool], limits: Limits, limit: int
) -> tuple[list[Outgoing], bool]:
    """Look at the messages whose turn it is; return those to send now, and whether any was due.

    `channels` names the channels there are, and whether each needs a phone number. What is
    returned is in state `sending` and this sender's until the lease ends; a message found in
    that state was claimed by a sender that died, and it may have been sent.
    """
    moment = clock.now()
    due = session.scalars(
        select(Message)
        .where(Message.due_at <= moment)
        .order_by(Message.due_at, Message.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    if not due:
        return [], False
    copies = load_copies(session, due)
    phones = {contact.phone for contact in copies.contacts.values() if contact.phone}
    lock_rows(session, PhoneTally.key, [_tally_key(phone, moment) for phone in phones])
    verified = verified_among(session, phones)
    outgoing = []
    for message in due:
        claimed = _look_at(session, message, copies, channels, limits, verified, moment)
        if claimed is not None:
            outgoing.append(claimed)
    return outgoing, True


def _look_at(
    session: Session,
    message: Message,
    copies: Copies,
    channels: Mapping[str, bool],
    limits: Limits,
    verified: Collection[str],
    moment: datetime,
) -> Outgoing | None:
    template = TEMPLATES[message.template]
    order = copies.orders.get(message.order_id)
    contact = copies.contacts.get(message.recipient)
    person = message.person = copies.person(message)
    wishes = copies.wishes(person)
    phone = contact.phone if contact else None
    left = tuple(
        name
        for name, needs_phone in channels.items()
        if name in wishes.channels and name not in message.taken_by and (phone or not needs_phone)
    )
    text = None
    # An enterprise that never said how to reach it still has its inbox; a buyer must have said.
    if person is not None and (contact is not None or template.audience == "producer"):
        text = _text_or_none(copies, message)
    tally = _tally(session, phone, moment)
    verdict = judge(
        template,
        wishes,
        status=message.status,
        happened_at=message.happened_at,
        moment=moment,
        attempts=message.attempts,
        complete=text is not None,
        settled=order is not None and order.settled,
        channels=left,
        bar=barred(phone, limits.countries),
        sent_today=tally.count if tally else 0,
        # An operator entered a producer's number; a buyer's is only what somebody typed.
        cap=cap_of(wishes, limits, trusted=template.audience == "producer" or phone in verified),
    )
    _apply(message, verdict)
    if verdict.status != "sending" or text is None or person is None:
        return None
    if tally is not None and message.attempts == 0:
        tally.count += 1
    message.attempts += 1
    return Outgoing(
        message_id=message.id,
        attempt=message.attempts,
        person=person,
        phone=phone,
        template=message.template,
        text=text,
        channels=left,
        day=message.happened_at.astimezone(clock.LOCAL).date(),
        traceparent=message.facts.get("traceparent"),
    )


def _text_or_none(copies: Copies, message: Message) -> texts.Text | None:
    try:
        return copies.text(message)
    except texts.Incomplete:
        return None


def _apply(message: Message, verdict: Verdict) -> None:
    if verdict.status != message.status or verdict.status == "sending":
        message.status = become(message.status, verdict.status)
    message.due_at, message.reason = verdict.due_at, verdict.reason


def _tally_key(phone: str, moment: datetime) -> str:
    return f"{moment.astimezone(clock.LOCAL).date().isoformat()}/{phone}"


def _tally(session: Session, phone: str | None, moment: datetime) -> PhoneTally | None:
    if phone is None:
        return None
    key = _tally_key(phone, moment)
    tally: PhoneTally | None = locked(session, PhoneTally.key, key)
    if tally is None:
        tally = PhoneTally(key=key, count=0)
        remember(session, PhoneTally.key, tally)
    return tally
