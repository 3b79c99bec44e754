"""What is late: messages that are not sent in time, facts whose order does not come.

A message that waits for the end of quiet hours is not late.
"""

from sqlalchemy import and_, or_, true

from services.notifications.models import EarlyFact, Message
from shared.runtime.late import Late

LIMIT = ("FARMGATE_NOTIFICATIONS_LATE_SECONDS", 900)

LATE = (
    # It was due, and no sender looked at it.
    Late("unsent", Message.order_id, Message.due_at, Message.due_at.is_not(None), *LIMIT),
    # Tried again and again: the channel refuses it, or a fact for its text never came.
    Late(
        "retrying",
        Message.order_id,
        Message.happened_at,
        and_(
            Message.due_at.is_not(None),
            or_(
                Message.reason == "incomplete",
                and_(Message.status == "retrying", Message.reason.is_distinct_from("quiet_hours")),
                # During an attempt it is in this state for moments, and is still late.
                and_(Message.status == "sending", Message.attempts > 1),
            ),
        ),
        *LIMIT,
    ),
    # Partners get a shipment's fact after its order: `order_placed` is parked, or was discarded.
    Late("early", EarlyFact.order_id, EarlyFact.arrived_at, true(), *LIMIT),
)
