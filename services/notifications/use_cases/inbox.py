"""Messages as people see them in their inbox."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from services.notifications import texts
from services.notifications.batch import NotificationsBatch
from services.notifications.models import Message
from services.notifications.rules.messages import transition
from services.notifications.use_cases.context import load_context
from shared.runtime import clock
from shared.runtime.errors import NotFound


class MessageNotFound(NotFound):
    """Raised when there is no such message, or it is somebody else's."""


@dataclass(frozen=True)
class InboxMessage:
    """A message with its text, in its person's language."""

    message_id: UUID
    order_id: UUID
    template: str
    language: str
    title: str
    body: str
    happened_at: datetime
    read_at: datetime | None


def shown(
    session: Session, messages: Sequence[Message], language: str | None = None
) -> list[InboxMessage]:
    """Return the messages with their texts, in `language` or in the one their person prefers.

    A text that mentions something not known yet is shown as `…`.
    """
    context = load_context(session, messages)
    answer = []
    for message in messages:
        try:
            text = context.text(message, language)
        except texts.Incomplete:
            text = texts.Text(language or "zh", "…", "…")
        answer.append(
            InboxMessage(
                message_id=message.id,
                order_id=message.order_id,
                template=message.template,
                language=text.language,
                title=text.title,
                body=text.body,
                happened_at=message.happened_at,
                read_at=message.read_at,
            )
        )
    return answer


def mark_read(batch: NotificationsBatch, message_id: UUID, person: str) -> InboxMessage:
    """Record that a person has read one of their messages; the first time counts.

    Raises:
        MessageNotFound: it is not theirs, or does not exist.
    """
    message = batch.session.get(Message, message_id, with_for_update=True)
    if message is None or message.person != person:
        raise MessageNotFound("There is no such message in this inbox.")
    if message.read_at is None:
        message.read_at = clock.now()
        if message.status == "sent":
            message.status = transition(message.status, "delivered")
    return shown(batch.session, [message])[0]
