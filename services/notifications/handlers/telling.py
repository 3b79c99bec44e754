"""What the handlers share: the order an event is about, and who is told."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from services.notifications import use_cases
from services.notifications.models import OrderCopy
from shared.messaging.envelope import Envelope


def order_of(session: Session, event: Envelope) -> OrderCopy:
    """Return what is known of the order that the event is about."""
    return use_cases.order_copy(session, event.data["order_id"])


def tell_buyer(
    session: Session, event: Envelope, order: OrderCopy, template: str, **facts: Any
) -> None:
    """Queue a message to whoever ordered, because of the event."""
    use_cases.tell_buyer(
        session,
        template,
        cause_id=event.event_id,
        happened_at=event.time,
        order_id=order.order_id,
        person=order.person,
        **facts,
    )


def tell_producers(
    session: Session,
    event: Envelope,
    order: OrderCopy,
    template: str,
    sales: Sequence[dict[str, Any]] | None,
) -> None:
    """Queue a message to each producer of `sales`; None: the order was never confirmed."""
    use_cases.tell_producers(
        session,
        template,
        cause_id=event.event_id,
        happened_at=event.time,
        order_id=order.order_id,
        sales=sales or (),
    )
