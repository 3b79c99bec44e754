"""Orders that wait too long for somebody else's next step, as data for the timer.

What waits for a buyer or for a parcel on its way is not late here: the one has its own time,
the other is logistics' to watch.
"""

from datetime import datetime

from sqlalchemy import and_, not_
from sqlalchemy.orm import Session

from services.orders.models import Order
from services.orders.models.orders import UNPLANNED, UNSTOPPED, WAITING_FOR_APPROVAL
from services.orders.rules.standing import OrderState
from shared.events import ApprovalStalled, OrderStalled
from shared.events.stalled import UNAPPROVED
from shared.outbox import record
from shared.stalled import Late

#: Seconds for what takes moments when all services run.
LIMIT = ("FARMGATE_ORDERS_LATE_SECONDS", 300)


def tell(session: Session, order: Order, *, kind: str, since: datetime) -> None:
    """Record that a locked order is stalled."""
    record(
        session,
        OrderStalled,
        order,
        order_id=order.id,
        order_ref=order.order_ref,
        kind=kind,
        since=since,
    )


def tell_unapproved(session: Session, order: Order, *, kind: str, since: datetime) -> None:
    """Record that a locked order waits too long for approval."""
    record(
        session, ApprovalStalled, order, order_id=order.id, order_ref=order.order_ref, since=since
    )


LATE = (
    # Catalog neither reserved nor refused.
    Late(
        "undecided",
        Order,
        Order.changed_at,
        and_(UNPLANNED, Order.state == OrderState.PLACED, not_(WAITING_FOR_APPROVAL)),
        *LIMIT,
        tell,
    ),
    # Its time to be paid is over, and our own timer did not end it.
    Late("unexpired", Order, Order.expires_at, Order.expires_at.is_not(None), *LIMIT, tell),
    # It stands, paid or to be paid in cash, and logistics told of no shipment.
    Late(
        "unplanned",
        Order,
        Order.changed_at,
        and_(UNPLANNED, Order.state == OrderState.CONFIRMED),
        *LIMIT,
        tell,
    ),
    # It was cancelled, and logistics did not say that its parcel is stopped.
    Late(
        "unstopped",
        Order,
        Order.changed_at,
        and_(UNSTOPPED),
        *LIMIT,
        tell,
    ),
    # It goes beyond the limits, and no operator approved or declined it.
    Late(
        UNAPPROVED,
        Order,
        Order.changed_at,
        and_(UNPLANNED, WAITING_FOR_APPROVAL),
        "FARMGATE_ORDERS_LATE_APPROVAL_SECONDS",
        14_400,
        tell_unapproved,
    ),
)
