"""Messages that are queued and do not get out, as data for the timer.

Those that wait for the end of quiet hours are where they should be.
"""

from datetime import datetime

from sqlalchemy import and_, or_
from sqlalchemy.orm import Session

from services.notifications.models import Message
from shared import outbox, tracing
from shared.events import MessageStalled
from shared.stalled import Late

LIMIT = ("FARMGATE_NOTIFICATIONS_LATE_SECONDS", 900)


def tell(session: Session, message: Message, *, kind: str, since: datetime) -> None:
    """Record that a locked message is stalled."""
    with tracing.caused_by(tracing.Cause(message.correlation_id, str(message.cause_id))):
        outbox.record(
            session,
            MessageStalled,
            message,
            message_id=message.id,
            template=message.template,
            cause_id=message.cause_id,
            kind=kind,
            since=since,
        )


LATE = (
    # Its turn came, and no sender looked at it.
    Late("unsent", Message, Message.due_at, Message.due_at.is_not(None), *LIMIT, tell),
    # Tried again and again: the channel refuses it, or a fact for its text never came.
    Late(
        "retrying",
        Message,
        Message.happened_at,
        and_(
            Message.due_at.is_not(None),
            or_(
                Message.reason == "incomplete",
                and_(Message.status == "retrying", Message.reason.is_distinct_from("quiet_hours")),
                # In between it is at the channel for moments, and remains the same case.
                and_(Message.status == "sending", Message.attempts > 1),
            ),
        ),
        *LIMIT,
        tell,
    ),
)
