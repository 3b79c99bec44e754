"""Decide which due messages are sent now, and claim these for one sender."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select

from services.notifications import texts
from services.notifications.batch import NotificationsBatch
from services.notifications.models import Message, PhoneTally
from services.notifications.rules.messages import (
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
from shared.messaging.batch import table_of
from shared.runtime import clock
from shared.runtime.bulk import among, update_rows, upsert_rows

#: Columns of a message that deciding about it and rendering it take.
_READ = (
    Message.id,
    Message.recipient,
    Message.template,
    Message.person,
    Message.order_id,
    Message.facts,
    Message.status,
    Message.happened_at,
    Message.attempts,
    Message.taken_by,
)


def claim_messages(
    batch: NotificationsBatch, *, channels: Mapping[str, bool], limits: Limits, limit: int
) -> tuple[list[Outgoing], bool]:
    """Decide about the messages that are due; return those to send now, and whether any was due.

    `channels` maps each channel's name to whether it needs a phone number. The messages returned
    are in state `sending` and belong to this sender until the lease ends. A due message in that
    state was claimed by a sender that died, and may have been sent already.

    The statements are the same few for one message and for hundreds.
    """
    moment = clock.now()
    due = batch.session.execute(
        select(*_READ)
        .where(Message.due_at <= moment)
        .order_by(Message.due_at, Message.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    if not due:
        return [], False
    context = load_context(batch.session, due)
    phones = {contact.phone for contact in context.contacts.values() if contact.phone}
    claims = _Claims(
        context,
        channels,
        limits,
        moment,
        verified_among(batch.session, phones),
        _load_tallies(batch, phones, moment),
    )
    outgoing = [claimed for message in due if (claimed := claims.claim(message)) is not None]
    connection = batch.session.connection()
    update_rows(connection, table_of(Message), claims.changes)
    counts = [
        {"key": _tally_key(phone, moment), "count": count}
        for phone, count in sorted(claims.counted.items())
    ]
    upsert_rows(connection, table_of(PhoneTally), counts, add=("count",))
    return outgoing, True


@dataclass(frozen=True)
class _Claims:
    """What deciding about some due messages takes, and what was decided."""

    context: MessageContext
    channels: Mapping[str, bool]
    limits: Limits
    moment: datetime
    verified: Collection[str]
    #: By phone: messages that were sent to it today, before these.
    sent_today: Mapping[str, int]
    #: By phone: how many of these messages are sent to it.
    counted: Counter[str] = field(default_factory=Counter)
    #: What changes in each message.
    changes: list[dict[str, Any]] = field(default_factory=list)

    def claim(self, message: Row[Any]) -> Outgoing | None:
        """Decide about one due message; return it if it is sent now."""
        template = TEMPLATES[message.template]
        order = self.context.orders.get(message.order_id)
        contact = self.context.contacts.get(message.recipient)
        person = self.context.person(message)
        preferences = self.context.preferences(person)
        phone = contact.phone if contact else None
        left = tuple(
            name
            for name, needs_phone in self.channels.items()
            if name in preferences.channels
            and name not in message.taken_by
            and (phone or not needs_phone)
        )
        text = None
        # An enterprise without a contact still has its inbox; a buyer's contact must have arrived.
        if person is not None and (contact is not None or template.audience == "producer"):
            text = self._text_or_none(message)
        decision = decide(
            template,
            preferences,
            status=message.status,
            happened_at=message.happened_at,
            moment=self.moment,
            attempts=message.attempts,
            complete=text is not None,
            settled=order is not None and order.settled,
            channels=left,
            blocked=block_reason(phone, self.limits.countries),
            sent_today=self.sent_today.get(phone, 0) + self.counted[phone] if phone else 0,
            # An operator entered a producer's number; anybody may have typed a buyer's.
            cap=effective_cap(
                preferences,
                self.limits,
                verified=template.audience == "producer" or phone in self.verified,
            ),
        )
        if decision.status != "sending" or text is None or person is None:
            self._change(message, decision, person, message.attempts)
            return None
        attempt = message.attempts + 1
        self._change(message, decision, person, attempt)
        if phone and attempt == 1:
            self.counted[phone] += 1
        return Outgoing(
            message_id=message.id,
            attempt=attempt,
            person=person,
            phone=phone,
            template=message.template,
            text=text,
            channels=left,
            taken_by=tuple(message.taken_by),
            day=message.happened_at.astimezone(clock.LOCAL).date(),
            traceparent=message.facts.get("traceparent"),
        )

    def _text_or_none(self, message: Row[Any]) -> texts.Text | None:
        try:
            return self.context.text(message)
        except texts.Incomplete:
            return None

    def _change(
        self, message: Row[Any], decision: Decision, person: str | None, attempts: int
    ) -> None:
        status = message.status
        if decision.status != status or decision.status == "sending":
            status = transition(status, decision.status)
        self.changes.append(
            {
                "id": message.id,
                "person": person,
                "status": status,
                "due_at": decision.due_at,
                "reason": decision.reason,
                "attempts": attempts,
            }
        )


def _load_tallies(
    batch: NotificationsBatch, phones: Iterable[str], moment: datetime
) -> dict[str, int]:
    """Return, locked, how many messages each phone got on the day of `moment`; 0 is left out."""
    by_key = {_tally_key(phone, moment): phone for phone in phones}
    rows = batch.session.execute(
        select(PhoneTally.key, PhoneTally.count)
        .where(among(PhoneTally.key, by_key))
        .order_by(PhoneTally.key)
        .with_for_update()
    )
    return {by_key[key]: count for key, count in rows}


def _tally_key(phone: str, moment: datetime) -> str:
    return f"{moment.astimezone(clock.LOCAL).date().isoformat()}/{phone}"
