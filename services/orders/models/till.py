"""Tables of the journals of stations' tills, and of their entries."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    ForeignKey,
    Index,
    SmallInteger,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from services.orders.models.base import Base, one_of
from services.orders.rules.till import CLOCK_OFF, UNREADABLE, EntryKind, EntryStatus
from shared.events import COUNTER_PAYMENTS, CounterPayment

#: Condition of flagged entries, in the same text as their partial index.
FLAGGED = text("CAST(flags AS TEXT) NOT IN ('[]', 'null')")
_OPEN = "status IN ('waiting', 'disputed', 'settled', 'acknowledged')"


class Journal(Base):
    """The uploaded part of the journal of one epoch of a device.

    An upload locks it, see `use_cases.entries.lock_journal`.
    """

    __tablename__ = "journals"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    device_id: Mapped[UUID]
    epoch: Mapped[int]
    site_id: Mapped[UUID]
    device_code: Mapped[str]
    highest: Mapped[int]
    #: Runs of missing numbers below the highest, as [first, last], in their order.
    holes: Mapped[list[list[int]]] = mapped_column(JSON)
    last_upload_at: Mapped[datetime]
    __table_args__ = (UniqueConstraint("device_id", "epoch"),)


class TillEntry(Base):
    """One entry of a till's journal, under its name: device, epoch and number.

    `copy` is 1 for the first content under a name; other content that comes later under the same
    name is stored beside it as a copy of its own. `version` counts the events published of it.
    """

    __tablename__ = "till_entries"
    #: Made from the name; that of a second copy from name and digest.
    id: Mapped[UUID] = mapped_column(primary_key=True)
    #: Grows with each entry that comes, so that lists have an order.
    arrival: Mapped[UUID] = mapped_column(unique=True)
    device_id: Mapped[UUID]
    epoch: Mapped[int]
    number: Mapped[int]
    copy: Mapped[int] = mapped_column(SmallInteger)
    #: SHA-256 of the content, without the buyer's personal data.
    digest: Mapped[str] = mapped_column(String(64))
    kind: Mapped[EntryKind] = mapped_column(one_of(EntryKind, "kind"))
    status: Mapped[EntryStatus] = mapped_column(one_of(EntryStatus, "status"))
    #: Why it is, or was, disputed, as a code; and in words.
    reason: Mapped[str | None] = mapped_column(String(60))
    detail: Mapped[str | None]
    #: How a dispute ended: covered, lost, voided, cash_booked, noted, corrected.
    resolution: Mapped[str | None] = mapped_column(String(20))
    #: Who acknowledged or corrected it, and that person's note.
    resolved_by: Mapped[str | None] = mapped_column(String(255))
    note: Mapped[str | None]
    #: Oddities that are no reason to dispute it, as codes.
    flags: Mapped[list[str]] = mapped_column(JSON)
    #: The total by the price list of that time, if it differs.
    expected_fen: Mapped[int | None]
    clerk: Mapped[str | None] = mapped_column(String(60))
    #: The number of the entry that opened the shift.
    shift: Mapped[int | None]
    site_id: Mapped[UUID]
    device_code: Mapped[str]
    #: By the device's own clock, which proves nothing.
    device_time: Mapped[datetime | None]
    received_at: Mapped[datetime]
    changed_at: Mapped[datetime]
    #: The sale that is voided, or whose goods came back.
    of_entry_id: Mapped[UUID | None]
    #: A sale that was voided before its upload, and its void: they move no goods and no money.
    voided: Mapped[bool] = mapped_column(Boolean)
    #: Taken from the buyer, or given back.
    total_fen: Mapped[int | None]
    payment: Mapped[CounterPayment | None] = mapped_column(String(10))
    #: The content as uploaded, or as an operator corrected it, without the buyer's personal data.
    body: Mapped[dict[str, Any]] = mapped_column(JSON)
    #: The content as uploaded, if an operator corrected it.
    sent: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    #: What a void or return took back, once it has taken effect; lines as in the event.
    taken: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON(none_as_null=True))
    version: Mapped[int]

    __table_args__ = (
        UniqueConstraint("device_id", "epoch", "number", "copy"),
        UniqueConstraint(
            "device_id", "epoch", "number", "digest", name="uq_till_entries_device_id_digest"
        ),
        CheckConstraint("number >= 1 AND epoch >= 1 AND copy >= 1", name="name"),
        CheckConstraint("total_fen >= 0", name="total"),
        CheckConstraint(f"payment IN {COUNTER_PAYMENTS}", name="payment"),
        CheckConstraint("status != 'disputed' OR reason IS NOT NULL", name="disputed"),
        Index("ix_till_entries_site_id_arrival", "site_id", "arrival"),
        Index("ix_till_entries_device_id_arrival", "device_id", "arrival"),
        # Few entries are not accepted, and tills and operators ask for these often.
        Index(
            "ix_till_entries_open",
            "device_id",
            "epoch",
            "status",
            sqlite_where=text(_OPEN),
            postgresql_where=text(_OPEN),
        ),
        Index(
            "ix_till_entries_status_arrival",
            "status",
            "arrival",
            sqlite_where=text(_OPEN),
            postgresql_where=text(_OPEN),
        ),
        Index(
            "ix_till_entries_flagged",
            "arrival",
            sqlite_where=FLAGGED,
            postgresql_where=FLAGGED,
        ),
        Index(
            "ix_till_entries_of_entry_id",
            "of_entry_id",
            sqlite_where=text("of_entry_id IS NOT NULL"),
            postgresql_where=text("of_entry_id IS NOT NULL"),
        ),
    )

    @property
    def happened_at(self) -> datetime:
        """The moment by the device's clock, or of the upload if that clock was off."""
        if self.device_time is None or CLOCK_OFF in self.flags:
            return self.received_at
        return self.device_time

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The goods of a sale, or those that it took back; none if unreadable or without effect."""
        if self.kind != EntryKind.SALE:
            return self.taken or []
        lines: list[dict[str, Any]] = [] if self.reason == UNREADABLE else self.body["lines"]
        return lines


class TakenBack(Base):
    """What was taken back of one line of a sale; a line without a row has all its goods out."""

    __tablename__ = "taken_back"
    sale_id: Mapped[UUID] = mapped_column(ForeignKey("till_entries.id"), primary_key=True)
    line_no: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    sold: Mapped[int]
    sold_fen: Mapped[int]
    taken: Mapped[int]
    taken_fen: Mapped[int]

    #: Lets the flush insert a new sale before what was taken back of it.
    sale: Mapped[TillEntry] = relationship()

    __table_args__ = (
        CheckConstraint("0 <= taken AND taken <= sold", name="taken"),
        CheckConstraint("0 <= taken_fen AND taken_fen <= sold_fen", name="taken_fen"),
    )
