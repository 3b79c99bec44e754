"""Decide which due messages are sent now, and claim these for one sender."""

from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import select

from services.notifications import texts
from services.notifications.batch import NotificationsBatch
from services.notifications.models import Message, PhoneTally
from services.notifications.rules import (
    TEMPLATES,
    Decision,
    Limits,
    block_reason,
    decide,
    effective_cap,
    transition,
)
from services.notifications.use_cases.context import MessageContext, load_context
from services.notifications.use_cases.outgoing import Outgoing
from services.notifications.use_cases.verified import verified_among
from shared.runtime import clock


def claim_messages(
    batch: NotificationsBatch, *, channels: Mapping[str, bool], limits: Limits, limit: int
) -> tuple[list[Outgoing], bool]:
    """Decide about the messages that are due; return those to send now, and whether any was due.

    `channels` maps each channel's name to whether it needs a phone number. The messages returned
    are in state `sending` and belong to this sender until the lease ends. A due message in that
    state was claimed by a sender that died, and may have been sent already.
    """
    moment = clock.now()
    due = batch.session.scalars(
        select(Message)
        .where(Message.due_at <= moment)
        .order_by(Message.due_at, Message.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    if not due:
        return [], False
    context = load_context(batch.session, due)
    phones = {contact.phone for contact in context.contacts.values() if contact.phone}
    batch.load_for_update(PhoneTally.key, [_tally_key(phone, moment) for phone in phones])
    verified = verified_among(batch.session, phones)
    outgoing = []
    for message in due:
        claimed = _claim(batch, message, context, channels, limits, verified, moment)
        if claimed is not None:
            outgoing.append(claimed)
    return outgoing, True


def _claim(
    batch: NotificationsBatch,
    message: Message,
    context: MessageContext,
    channels: Mapping[str, bool],
    limits: Limits,
    verified: Collection[str],
    moment: datetime,
) -> Outgoing | None:
    template = TEMPLATES[message.template]
    order = context.orders.get(message.order_id)
    contact = context.contacts.get(message.recipient)
    person = message.person = context.person(message)
    preferences = context.preferences(person)
    phone = contact.phone if contact else None
    left = tuple(
        name
        for name, needs_phone in channels.items()
        if name in preferences.channels
        and name not in message.taken_by
        and (phone or not needs_phone)
    )
    text = None
    # An enterprise without a contact still has its inbox; a buyer's contact must have arrived.
    if person is not None and (contact is not None or template.audience == "producer"):
        text = _text_or_none(context, message)
    tally = _tally(batch, phone, moment)
    decision = decide(
        template,
        preferences,
        status=message.status,
        happened_at=message.happened_at,
        moment=moment,
        attempts=message.attempts,
        complete=text is not None,
        settled=order is not None and order.settled,
        channels=left,
        blocked=block_reason(phone, limits.countries),
        sent_today=tally.count if tally else 0,
        # An operator entered a producer's number; anybody may have typed a buyer's.
        cap=effective_cap(
            preferences, limits, verified=template.audience == "producer" or phone in verified
        ),
    )
    _apply(message, decision)
    if decision.status != "sending" or text is None or person is None:
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


def _text_or_none(context: MessageContext, message: Message) -> texts.Text | None:
    try:
        return context.text(message)
    except texts.Incomplete:
        return None


def _apply(message: Message, decision: Decision) -> None:
    if decision.status != message.status or decision.status == "sending":
        message.status = transition(message.status, decision.status)
    message.due_at, message.reason = decision.due_at, decision.reason


def _tally_key(phone: str, moment: datetime) -> str:
    return f"{moment.astimezone(clock.LOCAL).date().isoformat()}/{phone}"


def _tally(batch: NotificationsBatch, phone: str | None, moment: datetime) -> PhoneTally | None:
    if phone is None:
        return None
    key = _tally_key(phone, moment)
    tally: PhoneTally | None = batch.get_for_update(PhoneTally.key, key)
    if tally is None:
        tally = PhoneTally(key=key, count=0)
        batch.track(PhoneTally.key, tally)
    return tally
