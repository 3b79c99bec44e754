"""Book a provider's news, whatever it is about."""

from services.orders.batch import OrdersBatch
from services.orders.models import Payment
from services.orders.rules.payments import (
    Attempt,
    Disputed,
    News,
    OneRefund,
    RefundedInAll,
    RefundFailed,
)
from services.orders.use_cases import pay, take_back


def take(batch: OrdersBatch, provider: str, news: News) -> Payment:
    """Book news, and return the payment that it is about. News that is booked changes nothing.

    Raises:
        UnknownOrder, PaymentAlreadyBooked, UnknownPayment
    """
    match news:
        case Attempt():
            return pay.book_payment(batch, provider, news)
        case RefundedInAll():
            return take_back.book_refunds(batch, provider, news)
        case OneRefund():
            return take_back.book_one_refund(batch, provider, news)
        case RefundFailed():
            return take_back.book_refund_failed(batch, provider, news)
        case Disputed():
            return take_back.book_dispute(batch, provider, news)
