"""Tables of partners' feeds: subscriptions, entries, and facts that wait for their order."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from services.notifications.models.base import Base, where
from shared.runtime.tables import Serial

#: The condition of the index of subscriptions that get more than their partner's own orders.
WIDE = "is_wide"


class Subscription(Base):
    """A partner's subscription: which events enter its feed, and how far the feed has come.

    Only the consumer, one at a time, changes `last_position`.
    """

    __tablename__ = "subscriptions"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    #: The subject of the partner's tokens, which its orders carry.
    partner: Mapped[str] = mapped_column(String(255), unique=True)
    #: Patterns of event types, as in file names; empty: the default.
    types: Mapped[list[str]]
    #: What an operator granted besides the partner's own orders; see `rules.feed.GRANTS`.
    grants: Mapped[list[str]]
    #: Whether events of other subjects than the partner's orders may enter the feed.
    is_wide: Mapped[bool]
    #: The position of the newest entry; 0: there was none.
    last_position: Mapped[int]
    #: The position of the newest entry that was deleted because of its age.
    pruned_position: Mapped[int]
    #: `[epoch, position]`: for each epoch of the database the position at which it began.
    epochs: Mapped[list[list[int]]] = mapped_column(JSON)
    created_at: Mapped[datetime]
    __table_args__ = (Index("ix_subscriptions_is_wide", "is_wide", **where(WIDE)),)


class FeedEntry(Base):
    """An event in a feed. Positions are 1, 2, 3, … without a gap, in the order of the commits."""

    __tablename__ = "feed_entries"
    subscription_id: Mapped[UUID] = mapped_column(
        ForeignKey("subscriptions.id", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    event_id: Mapped[UUID]
    type: Mapped[str]
    subject: Mapped[str]
    #: The CloudEvent as it was published.
    body: Mapped[bytes] = mapped_column(LargeBinary)
    entered_at: Mapped[datetime]


class EarlyFact(Base):
    """A fact of another service about an order that is not known yet; it waits for the order."""

    __tablename__ = "early_facts"
    arrival: Mapped[int] = mapped_column(Serial, primary_key=True, autoincrement=True)
    order_id: Mapped[UUID] = mapped_column(index=True)
    event_id: Mapped[UUID]
    type: Mapped[str]
    subject: Mapped[str]
    body: Mapped[bytes] = mapped_column(LargeBinary)
    arrived_at: Mapped[datetime] = mapped_column(index=True)


class PartnerAction(Base):
    """What somebody did to a partner's access: who, when, what. Never updated or deleted."""

    __tablename__ = "partner_actions"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    partner: Mapped[str] = mapped_column(String(255), index=True)
    #: The subject of the token.
    actor: Mapped[str] = mapped_column(String(255))
    action: Mapped[str] = mapped_column(String(40))
    #: Such as the types before and after; never a secret.
    details: Mapped[dict[str, Any]]
    done_at: Mapped[datetime]
