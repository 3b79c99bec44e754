"""Partners' feeds: each subscription's events, numbered without a gap.

Whoever delivers events to a partner (HTTP, webhooks, AMQP) reads the entries of its subscription
with `read_entries`, by position, and keeps the position up to which it has delivered.
"""

from services.notifications.use_cases.feed.actions import list_actions, record_action
from services.notifications.use_cases.feed.cursors import (
    CursorExpired,
    EpochChanged,
    cursor_of,
    position_of,
)
from services.notifications.use_cases.feed.enter import (
    enter,
    is_awaited,
    load_subscriptions,
    partner_in,
    release,
)
from services.notifications.use_cases.feed.prune import prune_feeds
from services.notifications.use_cases.feed.read import (
    Entry,
    Feed,
    Part,
    find_feed,
    list_subscriptions,
    read_entries,
    read_part,
)
from services.notifications.use_cases.feed.subscribe import (
    SubscriptionNotFound,
    grant,
    remove_subscription,
    subscribe,
)

__all__ = [
    "CursorExpired",
    "Entry",
    "EpochChanged",
    "Feed",
    "Part",
    "SubscriptionNotFound",
    "cursor_of",
    "enter",
    "find_feed",
    "grant",
    "is_awaited",
    "list_actions",
    "list_subscriptions",
    "load_subscriptions",
    "partner_in",
    "position_of",
    "prune_feeds",
    "read_entries",
    "read_part",
    "record_action",
    "release",
    "remove_subscription",
    "subscribe",
]
