"""The status of an order, and what may happen to it next; goods and money are kept apart.

Every function takes a status and returns the next one, or raises an error that names the state.
Nothing here reads a database or the clock. Source: reference states of an order and of its
payment, without those that no transition reaches yet (drafts, partial shipments, remittances).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from shared.events import PaymentMethod
from shared.runtime.errors import Conflict

PREPAID: PaymentMethod = "prepaid"


class OrderState(StrEnum):
    """What was promised to the buyer, and what became of the promise."""

    #: Orders has asked catalog for the stock, perhaps again, and has no answer yet.
    PLACED = "placed"
    #: Its goods are set aside; a prepaid order waits here for its money.
    RESERVED = "reserved"
    CONFIRMED = "confirmed"
    #: Packed.
    IN_FULFILMENT = "in_fulfilment"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    COLLECTED = "collected"
    COMPLETED = "completed"
    #: There was not enough stock.
    REJECTED = "rejected"
    #: Not paid in time.
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    #: Its goods came back undelivered.
    RETURNED = "returned"


#: From each state, the states that may follow. Anything else is refused.
NEXT: Mapping[OrderState, tuple[OrderState, ...]] = {
    OrderState.PLACED: (OrderState.RESERVED, OrderState.REJECTED, OrderState.CANCELLED),
    # Back to placed: a lot that was set aside is recalled, and the stock is asked for once more.
    OrderState.RESERVED: (
        OrderState.CONFIRMED,
        OrderState.EXPIRED,
        OrderState.CANCELLED,
        OrderState.PLACED,
    ),
    OrderState.CONFIRMED: (OrderState.IN_FULFILMENT, OrderState.CANCELLED, OrderState.PLACED),
    OrderState.IN_FULFILMENT: (OrderState.SHIPPED, OrderState.CANCELLED, OrderState.PLACED),
    OrderState.SHIPPED: (OrderState.DELIVERED, OrderState.COLLECTED, OrderState.RETURNED),
    OrderState.DELIVERED: (OrderState.COMPLETED,),
    OrderState.COLLECTED: (OrderState.COMPLETED,),
    # Money that came late lets the order ask for its stock once more.
    OrderState.EXPIRED: (OrderState.PLACED,),
    OrderState.COMPLETED: (),
    OrderState.REJECTED: (),
    OrderState.CANCELLED: (),
    OrderState.RETURNED: (),
}


class PaymentState(StrEnum):
    """The state of the payment; `cod_` is cash, taken at the door or at the counter."""

    PENDING = "pending"
    #: The last attempt did not succeed; another may.
    FAILED = "failed"
    PAID = "paid"
    REFUNDED = "refunded"
    #: Never paid, and not asked for any more.
    VOIDED = "voided"
    COD_DUE = "cod_due"
    COD_COLLECTED = "cod_collected"
    #: The buyer did not pay the cash that was due.
    COD_REFUSED = "cod_refused"


#: From each payment state, the states that may follow.
PAYMENT_NEXT: Mapping[PaymentState, tuple[PaymentState, ...]] = {
    PaymentState.PENDING: (PaymentState.FAILED, PaymentState.PAID, PaymentState.VOIDED),
    PaymentState.FAILED: (PaymentState.PAID, PaymentState.VOIDED),
    PaymentState.PAID: (PaymentState.REFUNDED,),
    # Prepaid: the money came after all. Cash: goods on their way reached the buyer although
    # the order had been cancelled, and were paid for.
    PaymentState.VOIDED: (PaymentState.PAID, PaymentState.COD_COLLECTED),
    PaymentState.COD_DUE: (
        PaymentState.COD_COLLECTED,
        PaymentState.COD_REFUSED,
        PaymentState.VOIDED,
    ),
    PaymentState.REFUNDED: (),
    PaymentState.COD_COLLECTED: (),
    # A till that was cut off had given the parcel away before it was called back.
    PaymentState.COD_REFUSED: (PaymentState.COD_COLLECTED,),
}


class FulfilmentState(StrEnum):
    """The last state of the order's shipment that logistics published.

    A cancelled order may have a shipment that is `delivered`: the buyer had the goods before the
    cancellation reached them.
    """

    PLANNED = "planned"
    PACKED = "packed"
    DISPATCHED = "dispatched"
    DELIVERED = "delivered"
    COLLECTED = "collected"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RETURNED = "returned"


class WrongOrderState(Conflict):
    """Raised when an order's state does not allow what was asked."""


class WrongPaymentState(Conflict):
    """Raised when the state of an order's payment does not allow what was asked."""


class HoldStillRuns(Conflict):
    """Raised when an order would expire before its hold is over."""


@dataclass(frozen=True)
class OrderStatus:
    """The status of one order and of its money, in integer fen; `expires_at` is UTC."""

    order_ref: str
    payment_method: PaymentMethod
    total_fen: int
    state: OrderState
    payment_state: PaymentState
    paid_fen: int = 0
    refunded_fen: int = 0
    #: Set exactly while the order is reserved and waits for money.
    expires_at: datetime | None = None
    #: Money kept minus the total, once the buyer has the goods. An operator decides unless it is 0.
    difference_fen: int | None = None

    @property
    def kept_fen(self) -> int:
        """The money that was received and not refunded."""
        return self.paid_fen - self.refunded_fen

    @property
    def due_fen(self) -> int:
        """The cash that the buyer still owes on hand-over."""
        return self.total_fen if self.payment_state == PaymentState.COD_DUE else 0

    @property
    def holds_unpaid_stock(self) -> bool:
        """Whether goods are set aside for the order and nothing has been paid for it."""
        return self.state in _HOLDING and self.payment_state in _UNPAID

    @property
    def awaits_payment(self) -> bool:
        """Whether the order waits, now or soon, for the buyer's payment."""
        unpaid = self.payment_state in (PaymentState.PENDING, PaymentState.FAILED)
        return unpaid and self.state in (OrderState.PLACED, OrderState.RESERVED)


#: States in which an order's goods are, or are about to be, set aside, or are with a carrier.
_HOLDING = frozenset(
    (
        OrderState.PLACED,
        OrderState.RESERVED,
        OrderState.CONFIRMED,
        OrderState.IN_FULFILMENT,
        OrderState.SHIPPED,
    )
)
_UNPAID = frozenset((PaymentState.PENDING, PaymentState.FAILED, PaymentState.COD_DUE))


def placed(order_ref: str, payment_method: PaymentMethod, total_fen: int) -> OrderStatus:
    """Return the status of a new order. A prepaid order of 0 fen counts as paid."""
    if payment_method != PREPAID:
        payment_state = PaymentState.COD_DUE
    else:
        payment_state = PaymentState.PENDING if total_fen else PaymentState.PAID
    return OrderStatus(order_ref, payment_method, total_fen, OrderState.PLACED, payment_state)


# --- Catalog answers --------------------------------------------------------------------------


def reserve(status: OrderStatus, hold_until: datetime) -> OrderStatus:
    """Record that catalog reserved the goods; confirm unless the buyer must pay first.

    Cash orders and orders that are paid never wait, so they never expire. If the order was
    cancelled in the meantime, this changes nothing: catalog releases its stock by event.

    Raises:
        WrongOrderState: it did not wait for catalog's answer.
    """
    if status.state == OrderState.CANCELLED:
        return status
    reserved = _transition(status, OrderState.RESERVED)
    if reserved.awaits_payment:
        return replace(reserved, expires_at=hold_until)
    return _transition(reserved, OrderState.CONFIRMED)


def refuse(status: OrderStatus) -> OrderStatus:
    """Reject an order whose stock was refused, and refund what was paid.

    Raises:
        WrongOrderState: it did not wait for catalog's answer.
    """
    if status.state == OrderState.CANCELLED:
        return status
    return _close_payment(_transition(status, OrderState.REJECTED))


def reinstate(status: OrderStatus) -> OrderStatus:
    """Ask for the stock of an order once more, since a lot that was set aside is recalled.

    Its money stays as it is: a refusal refunds it. An order that has nothing set aside, or whose
    goods have left, stays unchanged.
    """
    if status.state == OrderState.EXPIRED or OrderState.PLACED not in NEXT[status.state]:
        return status
    return _transition(status, OrderState.PLACED)


# --- Money ------------------------------------------------------------------------------------


def refund_cause(status: OrderStatus, amount_fen: int) -> str | None:
    """Return why a payment that comes now would be refunded at once; None: it counts."""
    if status.payment_method != PREPAID:
        return "not_prepaid"
    if status.payment_state in (PaymentState.PAID, PaymentState.REFUNDED):
        return "already_paid"
    if amount_fen != status.total_fen:
        return "wrong_amount"
    if status.awaits_payment or status.state == OrderState.EXPIRED:
        return None
    return f"order_{status.state}"


def pay(status: OrderStatus, amount_fen: int) -> OrderStatus:
    """Receive a payment. It is never refused, but refunded at once if it cannot count.

    The full amount confirms a reserved order, and lets an expired one ask for its stock again.
    """
    received = replace(status, paid_fen=status.paid_fen + amount_fen)
    if refund_cause(status, amount_fen) is not None:
        refunded = replace(received, refunded_fen=received.refunded_fen + amount_fen)
        in_full = status.payment_method == PREPAID and amount_fen == status.total_fen
        if in_full and status.payment_state == PaymentState.VOIDED:
            return _transition_payment(
                _transition_payment(refunded, PaymentState.PAID), PaymentState.REFUNDED
            )
        return refunded
    paid = _transition_payment(received, PaymentState.PAID)
    if paid.state == OrderState.RESERVED:
        return _transition(paid, OrderState.CONFIRMED)
    if paid.state == OrderState.EXPIRED:
        return _transition(paid, OrderState.PLACED)
    return paid


def fail_payment(status: OrderStatus) -> OrderStatus:
    """Record that an attempt to pay failed; the order still waits for its payment."""
    if status.payment_state == PaymentState.PENDING and status.awaits_payment:
        return _transition_payment(status, PaymentState.FAILED)
    return status


def expire(status: OrderStatus, now: datetime) -> OrderStatus:
    """Expire an order that was not paid in time.

    Raises:
        WrongOrderState: it is not reserved.
        HoldStillRuns: its hold is not over.
    """
    expired = _transition(status, OrderState.EXPIRED)
    if status.expires_at is None or status.expires_at > now:
        raise HoldStillRuns(f"Order {status.order_ref} is held until {status.expires_at}.")
    return _close_payment(expired)


# --- Cancellation, and the way of the goods -------------------------------------------------------


def cancel(status: OrderStatus) -> OrderStatus:
    """Cancel an order whose goods have not left, and refund what was paid. May be repeated.

    Raises:
        WrongOrderState: it has left, or is over.
    """
    if status.state == OrderState.CANCELLED:
        return status
    return _close_payment(_transition(status, OrderState.CANCELLED))


def pack(status: OrderStatus) -> OrderStatus:
    """Record that the goods are packed. A cancelled order stays unchanged.

    Raises:
        WrongOrderState: it is not confirmed.
    """
    if status.state == OrderState.CANCELLED:
        return status
    return _transition(status, OrderState.IN_FULFILMENT)


def ship(status: OrderStatus) -> OrderStatus:
    """Record that the goods left. A cancelled order stays cancelled, and its goods come back.

    Raises:
        WrongOrderState: it was not packed.
    """
    if status.state == OrderState.CANCELLED:
        return status
    return _transition(status, OrderState.SHIPPED)


def hand_over(status: OrderStatus, to: OrderState, collected_fen: int) -> OrderStatus:
    """Record that the buyer has the goods (`to` delivered or collected), and the cash taken.

    The order completes also when another amount was taken than was due: the carrier or clerk gave
    the reason, and `difference_fen` shows the amount. A cancelled order stays cancelled; its cash
    counts, since the buyer keeps the goods.

    Raises:
        WrongOrderState: it was not shipped.
    """
    handed = replace(status, paid_fen=status.paid_fen + collected_fen)
    if status.payment_method != PREPAID:
        if collected_fen or not status.total_fen:
            handed = _transition_payment(handed, PaymentState.COD_COLLECTED)
        elif status.payment_state == PaymentState.COD_DUE:
            handed = _transition_payment(handed, PaymentState.COD_REFUSED)
    handed = replace(handed, difference_fen=handed.kept_fen - handed.total_fen)
    if status.state == OrderState.CANCELLED:
        return handed
    return _transition(_transition(handed, to), OrderState.COMPLETED)


def fail_delivery(status: OrderStatus) -> OrderStatus:
    """Record that the buyer did not take the goods, which go back; cash that was due was refused.

    Raises:
        WrongOrderState: it was not shipped.
    """
    if status.state not in (OrderState.SHIPPED, OrderState.CANCELLED):
        raise WrongOrderState(
            f"Order {status.order_ref} is {status.state}; only a shipped one can fail.",
            state=str(status.state),
        )
    if status.payment_state == PaymentState.COD_DUE:
        return _transition_payment(status, PaymentState.COD_REFUSED)
    return status


def take_back(status: OrderStatus) -> OrderStatus:
    """Record that the goods are back undelivered, and refund what was paid.

    Raises:
        WrongOrderState: it was not shipped.
    """
    if status.state == OrderState.CANCELLED:
        return status
    return _close_payment(_transition(status, OrderState.RETURNED))


def _transition(status: OrderStatus, to: OrderState) -> OrderStatus:
    if to not in NEXT[status.state]:
        possible = " or ".join(NEXT[status.state]) or "nothing else: it is over"
        raise WrongOrderState(
            f"Order {status.order_ref} is {status.state} and cannot become {to}; "
            f"it can become {possible}.",
            state=str(status.state),
        )
    return replace(status, state=to, expires_at=None)


def _transition_payment(status: OrderStatus, to: PaymentState) -> OrderStatus:
    if to not in PAYMENT_NEXT[status.payment_state]:
        raise WrongPaymentState(
            f"The payment of order {status.order_ref} is {status.payment_state} "
            f"and cannot become {to}.",
            payment_state=str(status.payment_state),
        )
    return replace(status, payment_state=to)


def _close_payment(status: OrderStatus) -> OrderStatus:
    """Refund what was paid; void what was never paid."""
    if status.payment_state == PaymentState.PAID:
        refunded = replace(status, refunded_fen=status.paid_fen)
        return _transition_payment(refunded, PaymentState.REFUNDED)
    if PaymentState.VOIDED in PAYMENT_NEXT[status.payment_state]:
        return _transition_payment(status, PaymentState.VOIDED)
    return status
