"""Tables of webhooks: partners' endpoints, and what was delivered to each."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, composite, mapped_column, relationship

from services.notifications.models.base import Base, where
from services.notifications.models.feed import Subscription
from services.notifications.rules.webhooks import DELIVERY_STATUSES, ENDPOINT_STATUSES, Health

#: Conditions of indexes; a query must have them word for word.
UNFINISHED = "finished_at IS NULL"


class Endpoint(Base):
    """A URL to which a subscription's events are sent, with its own place in the feed.

    Each entry up to `position` has a delivery, unless the endpoint does not want its type. While
    `resend_after` is less than `resend_until`, the entries between them are delivered once more.
    """

    __tablename__ = "endpoints"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    subscription_id: Mapped[UUID] = mapped_column(
        ForeignKey("subscriptions.id", ondelete="CASCADE"), index=True
    )
    url: Mapped[str]
    description: Mapped[str | None]
    #: Patterns of event types, as in file names; empty: all of the subscription.
    types: Mapped[list[str]]
    position: Mapped[int]
    resend_after: Mapped[int]
    resend_until: Mapped[int]
    #: Together with the operator's key and the id it gives the secret; each change adds one.
    secret_number: Mapped[int]
    #: Until when the secret before the last change signs, too.
    previous_until: Mapped[datetime | None]
    status: Mapped[str] = mapped_column(String(10))
    reason: Mapped[str | None] = mapped_column(String(10))
    failures: Mapped[int]
    failing_since: Mapped[datetime | None]
    paused_until: Mapped[datetime | None]
    created_at: Mapped[datetime]
    #: Its rows are deleted later, in portions.
    deleted_at: Mapped[datetime | None]
    health: Mapped[Health] = composite(
        "status", "reason", "failures", "failing_since", "paused_until"
    )
    subscription: Mapped[Subscription] = relationship(viewonly=True)
    __table_args__ = (
        CheckConstraint(f"status IN ({', '.join(map(repr, ENDPOINT_STATUSES))})", name="status"),
    )


class Delivery(Base):
    """One event for one endpoint, or a ping; the row is also the log of its attempts.

    Of the unfinished deliveries of a subject only one has a `next_try_at`, so that the events of
    a subject are sent one after the other, in the order of their positions.
    """

    __tablename__ = "deliveries"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    endpoint_id: Mapped[UUID] = mapped_column(ForeignKey("endpoints.id", ondelete="CASCADE"))
    #: Of the entry in the feed; None: a ping.
    position: Mapped[int | None]
    event_id: Mapped[UUID]
    type: Mapped[str]
    subject: Mapped[str]
    status: Mapped[str] = mapped_column(String(10))
    #: Attempts since it was last asked for; they decide about the next pause.
    attempts: Mapped[int]
    #: The newest attempts, the oldest first: `at`, `status`, `reason` and `milliseconds` of each.
    tries: Mapped[list[dict[str, Any]]]
    next_try_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None] = mapped_column(index=True)
    __table_args__ = (
        UniqueConstraint("endpoint_id", "position", name="uq_deliveries_endpoint_id"),
        CheckConstraint(f"status IN ({', '.join(map(repr, DELIVERY_STATUSES))})", name="status"),
        Index("ix_deliveries_endpoint_id", "endpoint_id", "id"),
        Index("ix_deliveries_next_try_at", "next_try_at", **where("next_try_at IS NOT NULL")),
        Index(
            "ix_deliveries_unfinished", "endpoint_id", "subject", "position", **where(UNFINISHED)
        ),
        {"postgresql_with": {"autovacuum_vacuum_scale_factor": "0.02"}},
    )
