"""Notifications' tables."""

from services.notifications.models.base import Base
from services.notifications.models.feed import (
    EarlyFact,
    FeedEntry,
    PartnerAction,
    Subscription,
)
from services.notifications.models.messages import (
    NOT_SENT,
    Attempt,
    Contact,
    Message,
    OrderReadModel,
    PhoneTally,
    Preference,
    SiteReadModel,
    VariantReadModel,
    VerifiedPhone,
)
from services.notifications.models.queues import QueueFeed
from services.notifications.models.webhooks import Delivery, Endpoint

__all__ = [
    "NOT_SENT",
    "Attempt",
    "Base",
    "Contact",
    "Delivery",
    "EarlyFact",
    "Endpoint",
    "FeedEntry",
    "Message",
    "OrderReadModel",
    "PartnerAction",
    "PhoneTally",
    "Preference",
    "QueueFeed",
    "SiteReadModel",
    "Subscription",
    "VariantReadModel",
    "VerifiedPhone",
]
