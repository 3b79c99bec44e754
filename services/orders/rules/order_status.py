"""The state machines of an order and of its payment.

Every function takes a status and returns the next one, or raises an error that names the state.
Nothing here reads a database or the clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from shared.events import PaymentMethod
from shared.runtime.errors import Conflict

PREPAID: PaymentMethod = "prepaid"


class OrderState(StrEnum):
    """The state of an order; the payment has states of its own."""

    #: Orders has asked catalog for the stock, perhaps again, and has no answer yet.
    PLACED = "placed"
    #: Catalog has reserved its goods; a prepaid order waits here for its payment.
    RESERVED = "reserved"
    CONFIRMED = "confirmed"
    #: The goods are packed.
    IN_FULFILMENT = "in_fulfilment"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    COLLECTED = "collected"
    COMPLETED = "completed"
    #: There was not enough stock.
    REJECTED = "rejected"
    #: The buyer did not pay in time.
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    #: Its goods came back undelivered.
    RETURNED = "returned"


#: From each state, the states that may follow. Anything else is refused.
NEXT: Mapping[OrderState, tuple[OrderState, ...]] = {
    OrderState.PLACED: (OrderState.RESERVED, OrderState.REJECTED, OrderState.CANCELLED),
    # Back to placed: a reserved lot was recalled, and orders asks for other stock.
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
    # The buyer paid late, and orders asks for the stock again.
    OrderState.EXPIRED: (OrderState.PLACED,),
    OrderState.COMPLETED: (),
    OrderState.REJECTED: (),
    OrderState.CANCELLED: (),
    OrderState.RETURNED: (),
}


class PaymentState(StrEnum):
    """The state of the payment; `cod_` is cash on delivery, at the door or at the counter."""

    PENDING = "pending"
    #: The last attempt failed; the buyer may try again.
    FAILED = "failed"
    PAID = "paid"
    REFUNDED = "refunded"
    #: The buyer has not paid and need not pay any more.
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
    # Prepaid: the buyer paid nevertheless. Cash: the goods were on their way when the order was
    # cancelled, and the buyer took them and paid.
    PaymentState.VOIDED: (PaymentState.PAID, PaymentState.COD_COLLECTED),
    PaymentState.COD_DUE: (
        PaymentState.COD_COLLECTED,
        PaymentState.COD_REFUSED,
        PaymentState.VOIDED,
    ),
    # A chargeback was won, or a refund failed at the provider.
    PaymentState.REFUNDED: (PaymentState.PAID,),
    PaymentState.COD_COLLECTED: (),
    # A till that was offline had handed over the parcel before logistics called it back.
    PaymentState.COD_REFUSED: (PaymentState.COD_COLLECTED,),
}


class FulfilmentState(StrEnum):
    """The state of the order's shipment that logistics published last.

    The shipment of a cancelled order may be `delivered`: the buyer got the goods before logistics
    got the cancellation.
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
    """Raised when an order is to expire before its hold ends."""


@dataclass(frozen=True)
class OrderStatus:
    """The state of one order and of its payment; money in integer fen, moments in UTC."""

    order_ref: str
    payment_method: PaymentMethod
    total_fen: int
    state: OrderState
    payment_state: PaymentState
    paid_fen: int = 0
    refunded_fen: int = 0
    #: Set exactly while the order is reserved and waits for its payment.
    expires_at: datetime | None = None
    #: `net_paid_fen` minus the total, once the buyer has the goods. Unless 0, an operator decides.
    difference_fen: int | None = None

    @property
    def net_paid_fen(self) -> int:
        """Payments minus refunds."""
        return self.paid_fen - self.refunded_fen

    @property
    def due_fen(self) -> int:
        """The cash that the buyer still owes on hand-over."""
        return self.total_fen if self.payment_state == PaymentState.COD_DUE else 0

    @property
    def holds_unpaid_stock(self) -> bool:
        """Whether the order has or will get reserved goods, and the buyer has paid nothing."""
        return self.state in _HOLDING and self.payment_state in _UNPAID

    @property
    def awaits_payment(self) -> bool:
        """Whether the order waits, or will wait once it is reserved, for the buyer's payment."""
        unpaid = self.payment_state in (PaymentState.PENDING, PaymentState.FAILED)
        return unpaid and self.state in (OrderState.PLACED, OrderState.RESERVED)


#: States in which an order's goods are about to be reserved, are reserved, or are with a carrier.
_HOLDING = frozenset(
    (
        OrderState.PLACED,
        OrderState.RESERVED,
        OrderState.CONFIRMED,
        OrderState.IN_FULFILMENT,
        OrderState.SHIPPED,
    )
)
_ENDED_WITHOUT_GOODS = frozenset(
    (OrderState.REJECTED, OrderState.EXPIRED, OrderState.CANCELLED, OrderState.RETURNED)
)
_UNPAID = frozenset((PaymentState.PENDING, PaymentState.FAILED, PaymentState.COD_DUE))


def placed(order_ref: str, payment_method: PaymentMethod, total_fen: int) -> OrderStatus:
    """Return the status of a new order. A prepaid order of 0 fen is paid from the start."""
    if payment_method != PREPAID:
        payment_state = PaymentState.COD_DUE
    else:
        payment_state = PaymentState.PENDING if total_fen else PaymentState.PAID
    return OrderStatus(order_ref, payment_method, total_fen, OrderState.PLACED, payment_state)


# --- Catalog answers --------------------------------------------------------------------------


def reserve(status: OrderStatus, hold_until: datetime) -> OrderStatus:
    """Record that catalog reserved the goods; confirm unless the buyer must pay first.

    Cash orders and paid orders do not wait, so they never expire. A cancelled order stays
    unchanged: catalog releases its stock when it gets the cancellation.

    Raises:
        WrongOrderState: the order was not waiting for catalog's answer.
    """
    if status.state == OrderState.CANCELLED:
        return status
    reserved = _transition(status, OrderState.RESERVED)
    if reserved.awaits_payment:
        return replace(reserved, expires_at=hold_until)
    return _transition(reserved, OrderState.CONFIRMED)


def reject(status: OrderStatus) -> OrderStatus:
    """Reject an order that gets no stock, and refund its payment.

    A cancelled order stays unchanged.

    Raises:
        WrongOrderState: the order was not waiting for catalog's answer.
    """
    if status.state == OrderState.CANCELLED:
        return status
    return _close_payment(_transition(status, OrderState.REJECTED))


def reinstate(status: OrderStatus) -> OrderStatus:
    """Return an order to `placed`, to ask for its stock again, because a reserved lot was recalled.

    The payment stays as it is; if catalog refuses, `reject` refunds it. An order without reserved
    goods, or whose goods have left, stays unchanged.
    """
    if status.state == OrderState.EXPIRED or OrderState.PLACED not in NEXT[status.state]:
        return status
    return _transition(status, OrderState.PLACED)


# --- Money ------------------------------------------------------------------------------------


def refund_cause(status: OrderStatus, amount_fen: int) -> str | None:
    """Return why a payment that arrives now must be refunded at once; None if it is valid."""
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
    """Record a payment. A payment with a `refund_cause` is refunded at once; none is refused.

    The full amount confirms a reserved order, and returns an expired one to `placed`.
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


def take_back(status: OrderStatus, amount_fen: int) -> OrderStatus:
    """Record that the provider or the buyer's bank gave money back without orders' decision.

    `amount_fen` is at most what is paid and not refunded.
    """
    refunded = replace(status, refunded_fen=status.refunded_fen + amount_fen)
    if refunded.difference_fen is not None:
        refunded = replace(refunded, difference_fen=refunded.difference_fen - amount_fen)
    if status.payment_state == PaymentState.PAID and refunded.net_paid_fen == 0:
        return _transition_payment(refunded, PaymentState.REFUNDED)
    return refunded


def regain(status: OrderStatus, amount_fen: int) -> OrderStatus:
    """Record that money which had gone back came again.

    An order that has ended without its goods keeps none: it goes back to the buyer at once.
    """
    received = replace(status, paid_fen=status.paid_fen + amount_fen)
    if status.state in _ENDED_WITHOUT_GOODS:
        return replace(received, refunded_fen=received.refunded_fen + amount_fen)
    if received.difference_fen is not None:
        received = replace(received, difference_fen=received.difference_fen + amount_fen)
    if status.payment_state == PaymentState.REFUNDED:
        return _transition_payment(received, PaymentState.PAID)
    return received


def may_cancel(status: OrderStatus) -> bool:
    """Return whether the order's goods have not left, and it has not ended."""
    return OrderState.CANCELLED in NEXT[status.state]


def fail_payment(status: OrderStatus) -> OrderStatus:
    """Record that an attempt to pay failed. The order still waits for its payment."""
    if status.payment_state == PaymentState.PENDING and status.awaits_payment:
        return _transition_payment(status, PaymentState.FAILED)
    return status


def expire(status: OrderStatus, now: datetime) -> OrderStatus:
    """Expire an order that was not paid in time.

    Raises:
        WrongOrderState: the order is not reserved.
        HoldStillRuns: the order's hold has not ended.
    """
    expired = _transition(status, OrderState.EXPIRED)
    if status.expires_at is None or status.expires_at > now:
        raise HoldStillRuns(f"Order {status.order_ref} is held until {status.expires_at}.")
    return _close_payment(expired)


# --- Cancellation and fulfilment ----------------------------------------------------------------


def cancel(status: OrderStatus) -> OrderStatus:
    """Cancel an order whose goods have not left, and refund its payment. Repeating changes nothing.

    Raises:
        WrongOrderState: the goods have left, or the order has ended.
    """
    if status.state == OrderState.CANCELLED:
        return status
    return _close_payment(_transition(status, OrderState.CANCELLED))


def pack(status: OrderStatus) -> OrderStatus:
    """Record that the goods are packed. A cancelled order stays unchanged.

    Raises:
        WrongOrderState: the order is not confirmed.
    """
    if status.state == OrderState.CANCELLED:
        return status
    return _transition(status, OrderState.IN_FULFILMENT)


def ship(status: OrderStatus) -> OrderStatus:
    """Record that the goods left. A cancelled order stays cancelled; logistics returns its goods.

    Raises:
        WrongOrderState: the goods were not packed.
    """
    if status.state == OrderState.CANCELLED:
        return status
    return _transition(status, OrderState.SHIPPED)


def hand_over(status: OrderStatus, to: OrderState, collected_fen: int) -> OrderStatus:
    """Record that the buyer got the goods (`to` delivered or collected), and the collected cash.

    A wrong amount of cash completes the order too: the carrier or clerk gave the reason, and
    `difference_fen` has the amount. A cancelled order stays cancelled; its cash is recorded,
    because the buyer keeps the goods.

    Raises:
        WrongOrderState: the goods were not shipped.
    """
    after = replace(status, paid_fen=status.paid_fen + collected_fen)
    if status.payment_method != PREPAID:
        if collected_fen or not status.total_fen:
            after = _transition_payment(after, PaymentState.COD_COLLECTED)
        elif status.payment_state == PaymentState.COD_DUE:
            after = _transition_payment(after, PaymentState.COD_REFUSED)
    after = replace(after, difference_fen=after.net_paid_fen - after.total_fen)
    if status.state == OrderState.CANCELLED:
        return after
    return _transition(_transition(after, to), OrderState.COMPLETED)


def fail_delivery(status: OrderStatus) -> OrderStatus:
    """Record that the buyer did not take the goods; due cash becomes `cod_refused`.

    Raises:
        WrongOrderState: the goods were not shipped.
    """
    if status.state not in (OrderState.SHIPPED, OrderState.CANCELLED):
        raise WrongOrderState(
            f"Order {status.order_ref} is {status.state}; only a shipped order's "
            "delivery can fail.",
            state=str(status.state),
        )
    if status.payment_state == PaymentState.COD_DUE:
        return _transition_payment(status, PaymentState.COD_REFUSED)
    return status


def return_goods(status: OrderStatus) -> OrderStatus:
    """Record that undelivered goods are back, and refund the payment. A cancelled order stays so.

    Raises:
        WrongOrderState: the goods were not shipped.
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
    """Refund a payment that was made; void one that was not."""
    if status.payment_state == PaymentState.PAID:
        refunded = replace(status, refunded_fen=status.paid_fen)
        return _transition_payment(refunded, PaymentState.REFUNDED)
    if PaymentState.VOIDED in PAYMENT_NEXT[status.payment_state]:
        return _transition_payment(status, PaymentState.VOIDED)
    return status
