"""Tables of the cash that stations' clerks hold for the centre."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from services.orders.models.base import Base
from services.orders.rules.cash import CAUSES


class Custody(Base):
    """The cash that one clerk of a site must hold: taken, minus refunded, remitted, written off."""

    __tablename__ = "custodies"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    site_id: Mapped[UUID]
    clerk: Mapped[str] = mapped_column(String(60))
    collected_fen: Mapped[int]
    refunded_fen: Mapped[int]
    remitted_fen: Mapped[int]
    #: Missing at a count, or written off by an operator; below 0: there was more than expected.
    written_off_fen: Mapped[int]
    #: Below 0 while sales whose cash was remitted are not uploaded yet.
    held_fen: Mapped[int]
    __table_args__ = (
        # Not unique, although `id` is made from both: when two transactions open the same custody
        # at once, PostgreSQL would refuse the second by this key before it compares the ids.
        Index(None, "site_id", "clerk"),
        CheckConstraint(
            "held_fen = collected_fen - refunded_fen - remitted_fen - written_off_fen",
            name="held",
        ),
    )


class CashEntry(Base):
    """Cash that came into a clerk's custody (above 0) or left it (below 0), and why."""

    __tablename__ = "cash_entries"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    site_id: Mapped[UUID]
    clerk: Mapped[str] = mapped_column(String(60))
    device_id: Mapped[UUID | None]
    epoch: Mapped[int | None]
    #: The number of the entry that opened the shift.
    shift: Mapped[int | None]
    amount_fen: Mapped[int]
    cause: Mapped[str] = mapped_column(String(20))
    #: The entry of the till's journal; it moves cash once.
    entry_id: Mapped[UUID | None] = mapped_column(ForeignKey("till_entries.id"), unique=True)
    remittance_id: Mapped[UUID | None] = mapped_column(ForeignKey("remittances.id"), index=True)
    #: Why cash was written off, and by whom.
    reason: Mapped[str | None]
    recorded_by: Mapped[str | None] = mapped_column(String(255))
    at: Mapped[datetime]
    __table_args__ = (
        CheckConstraint(f"cause IN {CAUSES}", name="cause"),
        Index("ix_cash_entries_device_id_epoch_shift", "device_id", "epoch", "shift"),
        Index("ix_cash_entries_site_id_clerk", "site_id", "clerk"),
    )


class Remittance(Base):
    """Cash that a clerk handed on to the centre, counted by the clerk and by the centre."""

    __tablename__ = "remittances"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    site_id: Mapped[UUID]
    clerk: Mapped[str] = mapped_column(String(60))
    sent_fen: Mapped[int]
    counted_fen: Mapped[int]
    #: Why the counts differ.
    reason: Mapped[str | None]
    recorded_by: Mapped[str] = mapped_column(String(255))
    remitted_at: Mapped[datetime]
    __table_args__ = (
        CheckConstraint("sent_fen >= 0 AND counted_fen >= 0", name="counts"),
        CheckConstraint("sent_fen = counted_fen OR reason IS NOT NULL", name="reason"),
    )


class Shift(Base):
    """A clerk's time at one till, from the float put in to the count at its end.

    Its entries come in any order: `opened_at` and float are null until the opening is uploaded.
    """

    __tablename__ = "shifts"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    device_id: Mapped[UUID]
    epoch: Mapped[int]
    #: The number of the entry that opened it.
    number: Mapped[int]
    site_id: Mapped[UUID]
    device_code: Mapped[str]
    clerk: Mapped[str] = mapped_column(String(60))
    #: By the device's own clock.
    opened_at: Mapped[datetime | None]
    float_fen: Mapped[int | None]
    closed_number: Mapped[int | None]
    closed_at: Mapped[datetime | None]
    counted_fen: Mapped[int | None]
    note: Mapped[str | None]
    __table_args__ = (
        UniqueConstraint("device_id", "epoch", "number"),
        Index("ix_shifts_site_id_id", "site_id", "id"),
    )
