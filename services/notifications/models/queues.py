"""The table of integrators' queues at the broker, and how far each is fed."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from services.notifications.models.base import Base


class QueueFeed(Base):
    """A queue at the broker that is fed with the entries of a subscription.

    Only the worker that holds the lock `queues` raises `position`; it is stored after the broker's
    confirms.
    """

    __tablename__ = "queue_feeds"
    #: The queue's name at the broker, such as `integrator.shop-1`.
    queue: Mapped[str] = mapped_column(String(80), primary_key=True)
    subscription_id: Mapped[UUID] = mapped_column(
        ForeignKey("subscriptions.id", ondelete="CASCADE"), index=True
    )
    #: The position of the newest entry that the broker has confirmed.
    position: Mapped[int]
    #: All entries up to this one were surely acknowledged by a subscriber.
    taken_position: Mapped[int]
    #: Rises whenever the position is set back: what was published before does not count then.
    generation: Mapped[int]
    #: The last outcome: fed, full, missing or silent.
    outcome: Mapped[str] = mapped_column(String(10))
    max_bytes: Mapped[int]
    #: Messages that wait in the queue, their bytes as estimated, and its consumers; when looked at
    #: last.
    waiting: Mapped[int]
    waiting_bytes: Mapped[int]
    consumers: Mapped[int]
    looked_at: Mapped[datetime | None]
    #: When the queue was last empty, or its subscriber last took something.
    moved_at: Mapped[datetime]
    created_at: Mapped[datetime]
