"""Orders that wait too long for another service or for an operator.

An order that waits for its buyer is not late here, since it expires. Logistics watches the parcels
that are on their way.
"""

from sqlalchemy import and_, not_, select

from services.orders.models import Order, ProviderRefund, Refund
from services.orders.models.orders import UNPLANNED, UNSTOPPED, WAITING_FOR_APPROVAL
from services.orders.models.payments import CALLABLE, REFUSED
from services.orders.rules.order_status import OrderState
from services.orders.rules.payments import ProviderRefundState
from shared.runtime.late import Late

#: The setting, and its seconds, for steps that take moments when all services run.
LIMIT = ("FARMGATE_ORDERS_LATE_SECONDS", 300)

_ORDER_OF_REFUND = (
    select(Refund.order_id).where(Refund.id == ProviderRefund.refund_id).scalar_subquery()
)

LATE = (
    # Catalog neither reserved nor refused.
    Late(
        "undecided",
        Order.id,
        Order.changed_at,
        and_(UNPLANNED, Order.state == OrderState.PLACED, not_(WAITING_FOR_APPROVAL)),
        *LIMIT,
    ),
    # Its time to be paid is over, and the timer did not expire it.
    Late("unexpired", Order.id, Order.expires_at, Order.expires_at.is_not(None), *LIMIT),
    # It is confirmed, and logistics published no shipment.
    Late(
        "unplanned",
        Order.id,
        Order.changed_at,
        and_(UNPLANNED, Order.state == OrderState.CONFIRMED),
        *LIMIT,
    ),
    # It was cancelled, and logistics did not publish that its parcel is stopped.
    Late("unstopped", Order.id, Order.changed_at, and_(UNSTOPPED), *LIMIT),
    # It goes beyond the limits, and no operator approved or declined it.
    Late(
        "unapproved",
        Order.id,
        Order.changed_at,
        and_(UNPLANNED, WAITING_FOR_APPROVAL),
        "FARMGATE_ORDERS_LATE_APPROVAL_SECONDS",
        14_400,
    ),
    # The provider of a payment has not answered whether it refunds.
    Late(
        "unrefunded",
        _ORDER_OF_REFUND,
        ProviderRefund.changed_at,
        and_(CALLABLE, ProviderRefund.state == ProviderRefundState.DUE),
        "FARMGATE_ORDERS_LATE_REFUND_SECONDS",
        3_600,
    ),
    # It refused a refund, and no operator had it retried or settled it.
    Late("refund_refused", _ORDER_OF_REFUND, ProviderRefund.changed_at, and_(REFUSED), *LIMIT),
)
