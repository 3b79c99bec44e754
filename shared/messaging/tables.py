"""The messaging tables that every service has: outbox, relay state, inbox, parked events."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    JSON,
    CheckConstraint,
    Index,
    LargeBinary,
    SmallInteger,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from shared.messaging.envelope import LARGEST
from shared.runtime.tables import Serial, SharedBase


class Outbox(SharedBase):
    """One event, committed with its change; `position` is set when the broker confirmed it."""

    __tablename__ = "outbox"
    id: Mapped[int] = mapped_column(Serial, primary_key=True, autoincrement=True)
    event_id: Mapped[UUID]
    type: Mapped[str]
    subject: Mapped[str]
    sequence: Mapped[int]
    body: Mapped[bytes] = mapped_column(LargeBinary)
    correlation_id: Mapped[str]
    traceparent: Mapped[str | None]
    recorded_at: Mapped[datetime]
    position: Mapped[int | None] = mapped_column(unique=True)
    published_at: Mapped[datetime | None]
    __table_args__ = (
        UniqueConstraint("subject", "sequence", name="uq_outbox_subject_sequence"),
        CheckConstraint(f"length(body) <= {LARGEST}", name="size"),
        Index(
            "ix_outbox_waiting",
            "id",
            sqlite_where=text("position IS NULL"),
            postgresql_where=text("position IS NULL"),
        ),
        {
            "sqlite_autoincrement": True,
            "postgresql_with": {"autovacuum_vacuum_scale_factor": "0.02"},
        },
    )


class RelayState(SharedBase):
    """One row: the last position. `epoch` rises when a restored backup lost positions."""

    __tablename__ = "relay_state"
    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    epoch: Mapped[int]
    position: Mapped[int]
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)


class Inbox(SharedBase):
    """An event that took effect here, was ignored here, or is parked here."""

    __tablename__ = "inbox"
    event_id: Mapped[UUID] = mapped_column(primary_key=True)
    type: Mapped[str]
    subject: Mapped[str] = mapped_column(index=True)
    sequence: Mapped[int]
    recorded_at: Mapped[datetime]
    handled_at: Mapped[datetime] = mapped_column(index=True)
    __table_args__ = ({"postgresql_with": {"autovacuum_vacuum_scale_factor": "0.02"}},)


class Parked(SharedBase):
    """An event that could not take effect yet, or waits behind such an event of its subject.

    `state`: `waiting` is retried at `next_attempt_at`; `behind` follows the first of its subject;
    `suspect` is being handled, or was when the worker died; `dead` needs an operator. `attempts`
    counts starts; `arrival` is the place in the order.
    """

    __tablename__ = "parked_events"
    event_id: Mapped[UUID] = mapped_column(primary_key=True)
    arrival: Mapped[int] = mapped_column(unique=True)
    subject: Mapped[str] = mapped_column(index=True)
    publisher: Mapped[str]
    type: Mapped[str]
    body: Mapped[bytes] = mapped_column(LargeBinary)
    reason: Mapped[str] = mapped_column(String(40))
    error: Mapped[str | None]
    attempts: Mapped[int]
    first_failed_at: Mapped[datetime]
    #: Null for `behind` and `dead`, which are not retried.
    next_attempt_at: Mapped[datetime | None] = mapped_column(index=True)
    state: Mapped[str] = mapped_column(String(10))
    __table_args__ = (
        CheckConstraint("state IN ('waiting', 'behind', 'suspect', 'dead')", name="state"),
    )


class ParkedAction(SharedBase):
    """An operator's action on a parked event: who, when, what, why. Never updated."""

    __tablename__ = "parked_actions"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    event_id: Mapped[UUID] = mapped_column(index=True)
    type: Mapped[str]
    subject: Mapped[str]
    action: Mapped[str] = mapped_column(String(10))
    #: The event's reason, error and attempts at that time.
    reason: Mapped[str] = mapped_column(String(40))
    error: Mapped[str | None]
    attempts: Mapped[int]
    actor: Mapped[str] = mapped_column(String(255))
    why: Mapped[str | None]
    done_at: Mapped[datetime]
    #: For an edit: the event's data before and after, without personal values.
    before: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    after: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    __table_args__ = (CheckConstraint("action IN ('replay', 'discard', 'edit')", name="action"),)
