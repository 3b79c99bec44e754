"""Tables of payments, of the money that went back, and of what providers did about it."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, SmallInteger, String, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from services.orders.models.base import Base, one_of
from services.orders.rules.payments import STANDARD, DisputeState, ProviderRefundState

#: Refunds that a provider has yet to be asked for, or asked about.
CALLABLE = text("due_at IS NOT NULL")
REFUSED = text("state = 'refused'")


class Payment(Base):
    """One attempt to pay that a provider reported, named by the provider's reference.

    Money that had gone back and came again (`of_payment_id`) is a payment, too: a chargeback that
    was won, or a refund that failed at the provider.
    """

    __tablename__ = "payments"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    payment_ref: Mapped[str] = mapped_column(String(100), unique=True)
    #: Which provider reported it, and refunds it.
    provider: Mapped[str] = mapped_column(String(20), default=STANDARD)
    order_id: Mapped[UUID] = mapped_column(ForeignKey("orders.id"), index=True)
    amount_fen: Mapped[int]
    status: Mapped[str] = mapped_column(String(10))
    #: Why it failed, as the provider's code; of money that came again, why it had gone back.
    reason: Mapped[str | None] = mapped_column(String(64))
    #: The payment whose money came again.
    of_payment_id: Mapped[UUID | None]
    received_at: Mapped[datetime]
    __table_args__ = (
        CheckConstraint("status IN ('paid', 'failed')", name="status"),
        CheckConstraint("amount_fen > 0", name="amount"),
        Index(
            "ix_payments_of_payment_id",
            "of_payment_id",
            sqlite_where=text("of_payment_id IS NOT NULL"),
            postgresql_where=text("of_payment_id IS NOT NULL"),
        ),
    )


class Refund(Base):
    """Money that goes back to a buyer, and why."""

    __tablename__ = "refunds"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    payment_id: Mapped[UUID | None] = mapped_column(ForeignKey("payments.id"), index=True)
    order_id: Mapped[UUID] = mapped_column(ForeignKey("orders.id"), index=True)
    amount_fen: Mapped[int]
    cause: Mapped[str] = mapped_column(String(40))
    refunded_at: Mapped[datetime]
    __table_args__ = (CheckConstraint("amount_fen > 0", name="amount"),)


class ProviderRefund(Base):
    """What the provider of a payment did about its refund."""

    __tablename__ = "provider_refunds"
    refund_id: Mapped[UUID] = mapped_column(ForeignKey("refunds.id"), primary_key=True)
    state: Mapped[ProviderRefundState] = mapped_column(one_of(ProviderRefundState, "state"))
    #: When the provider is asked (again); None: it is not.
    due_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(SmallInteger, default=0)
    #: See `rules.payments.refund_key`.
    key_round: Mapped[int] = mapped_column(SmallInteger, default=0)
    provider_ref: Mapped[str | None] = mapped_column(String(100), unique=True)
    #: Why it is refused, or not done yet, as a code.
    reason: Mapped[str | None] = mapped_column(String(64))
    #: The operator who said that a refused refund is settled.
    settled_by: Mapped[str | None] = mapped_column(String(255))
    changed_at: Mapped[datetime]

    #: So that a flush in the middle of a batch inserts the refund first.
    refund: Mapped[Refund] = relationship()

    __table_args__ = (
        Index(
            "ix_provider_refunds_due_at",
            "due_at",
            sqlite_where=CALLABLE,
            postgresql_where=CALLABLE,
        ),
        Index(
            "ix_provider_refunds_refused",
            "changed_at",
            sqlite_where=REFUSED,
            postgresql_where=REFUSED,
        ),
    )


class Dispute(Base):
    """A chargeback of a payment, as the provider reported it last."""

    __tablename__ = "disputes"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    dispute_ref: Mapped[str] = mapped_column(String(100), unique=True)
    payment_id: Mapped[UUID] = mapped_column(ForeignKey("payments.id"), index=True)
    amount_fen: Mapped[int]
    #: How much of it was the order's; the rest had gone back to the buyer before.
    booked_fen: Mapped[int]
    state: Mapped[DisputeState] = mapped_column(one_of(DisputeState, "state"))
    changed_at: Mapped[datetime]
    __table_args__ = (
        CheckConstraint("0 <= booked_fen AND booked_fen <= amount_fen", name="booked"),
    )
