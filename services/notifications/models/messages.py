"""Tables: contacts and preferences, read models of what texts mention, and the messages."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from services.notifications.models.base import Base, where
from services.notifications.rules.messages import STATUSES

#: The condition of the index of messages by status; a query must have it word for word.
NOT_SENT = "status <> 'sent'"


class Contact(Base):
    """How to reach the buyer of one order, or one enterprise; erased when no longer needed.

    `key` is a message's recipient: `order:<order_id>` or `enterprise:<enterprise_id>`. Names and
    addresses are not kept, because no message needs them.
    """

    __tablename__ = "contacts"
    key: Mapped[str] = mapped_column(String(60), primary_key=True)
    phone: Mapped[str | None]
    language: Mapped[str] = mapped_column(String(2))
    given_at: Mapped[datetime] = mapped_column(index=True)


class Preference(Base):
    """The preferences of one person; without a row the defaults apply."""

    __tablename__ = "preferences"
    person: Mapped[str] = mapped_column(primary_key=True)
    language: Mapped[str | None] = mapped_column(String(2))
    quiet_from: Mapped[int]
    quiet_to: Mapped[int]
    channels: Mapped[list[str]]
    daily_cap: Mapped[int | None]


class OrderReadModel(Base):
    """What texts mention of an order; the first of its facts that arrives makes the row."""

    __tablename__ = "order_copies"
    order_id: Mapped[UUID] = mapped_column(primary_key=True)
    #: Whose inbox and preferences: `buyer:<id>`, or `order:<id>` for a guest; None: not known yet.
    person: Mapped[str | None]
    #: The partner that placed it; None: nobody's, or not known yet.
    partner: Mapped[str | None]
    order_ref: Mapped[str | None]
    site_id: Mapped[UUID | None]
    collect: Mapped[bool | None]
    total_fen: Mapped[int | None]
    due_fen: Mapped[int | None]
    #: `{variant_id, quantity}` per line as ordered.
    lines: Mapped[list[dict[str, Any]] | None]
    #: `{producer_id, variant_id, quantity}` as confirmed; None: never confirmed.
    sales: Mapped[list[dict[str, Any]] | None]
    #: True once the order is paid or over: no payment may be requested any more.
    settled: Mapped[bool] = mapped_column(default=False)
    #: When the order ended; None again once its contact is erased.
    contact_unused_since: Mapped[datetime | None] = mapped_column(index=True)


class VariantReadModel(Base):
    """Name, grade and unit of a variant, for texts."""

    __tablename__ = "variant_copies"
    variant_id: Mapped[UUID] = mapped_column(primary_key=True)
    names: Mapped[dict[str, Any]]
    grade: Mapped[str]
    unit: Mapped[str]


class SiteReadModel(Base):
    """Name of a site, for texts."""

    __tablename__ = "site_copies"
    site_id: Mapped[UUID] = mapped_column(primary_key=True)
    names: Mapped[dict[str, Any]]


class Attempt(Base):
    """One attempt to hand a message to its channels, with the result per channel.

    Most messages are sent at the first attempt. Then `sent_at` and `taken_by` of the message say
    all, and there is no row here.
    """

    __tablename__ = "attempts"
    message_id: Mapped[UUID] = mapped_column(
        ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    #: Channel → `sent`, or the reason why not.
    results: Mapped[dict[str, Any]]


class Message(Base):
    """A message to one recipient, caused by one event: one row, however often the event comes.

    The text is not stored: it is rendered from `facts` and the read models when it is needed.
    """

    __tablename__ = "messages"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    cause_id: Mapped[UUID]
    #: Key of the contact: `order:<id>` or `enterprise:<id>`.
    recipient: Mapped[str] = mapped_column(String(60))
    template: Mapped[str] = mapped_column(String(40))
    #: Whose inbox it is in; None: the order's buyer is not known yet.
    person: Mapped[str | None]
    order_id: Mapped[UUID] = mapped_column(index=True)
    facts: Mapped[dict[str, Any]]
    status: Mapped[str] = mapped_column(String(10))
    #: Why it is in this state, as a word: `quiet_hours`, `daily_cap`, …
    reason: Mapped[str | None] = mapped_column(String(40))
    happened_at: Mapped[datetime]
    #: When the sender looks at it next; None: it has ended.
    due_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(default=0)
    #: Names of the channels that have taken it, besides the inbox.
    taken_by: Mapped[list[str]] = mapped_column(default=list)
    sent_at: Mapped[datetime | None]
    read_at: Mapped[datetime | None]
    #: "raise" forbids a query a message: a query that needs the attempts loads them with it.
    recorded_tries: Mapped[list[Attempt]] = relationship(
        order_by=Attempt.number, lazy="raise", viewonly=True
    )
    __table_args__ = (
        UniqueConstraint("cause_id", "recipient", "template", name="uq_messages_cause"),
        CheckConstraint(f"status IN ({', '.join(map(repr, STATUSES))})", name="status"),
        # Of the few that wait, and of those that operators look for: most messages are neither.
        Index("ix_messages_due_at", "due_at", **where("due_at IS NOT NULL")),
        Index("ix_messages_status", "status", "id", **where(NOT_SENT)),
        Index("ix_messages_person", "person", "id"),
        {"postgresql_with": {"autovacuum_vacuum_scale_factor": "0.02"}},
    )

    @property
    def tries(self) -> list[Attempt]:
        """Every attempt, first to last."""
        if self.recorded_tries or self.attempts != 1 or self.sent_at is None:
            return self.recorded_tries
        results = dict.fromkeys(self.taken_by, "sent")
        return [Attempt(message_id=self.id, number=1, at=self.sent_at, results=results)]


class VerifiedPhone(Base):
    """A phone whose owner showed a collection code that was sent to it; erased after a year.

    `digest` is the number's SHA-256: enough to recognise the number, and not readable as a list.
    """

    __tablename__ = "verified_phones"
    digest: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    verified_at: Mapped[datetime] = mapped_column(index=True)


class PhoneTally(Base):
    """How many messages were sent to one phone on one day; kept for two days."""

    __tablename__ = "phone_tallies"
    #: `<day>/<phone>`, the day in Asia/Shanghai.
    key: Mapped[str] = mapped_column(primary_key=True)
    count: Mapped[int]
