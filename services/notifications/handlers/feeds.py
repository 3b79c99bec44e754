"""Facts that partners get: each is entered into their feeds after its own handler."""

from functools import wraps
from typing import Any

from services.notifications.batch import NotificationsBatch
from services.notifications.use_cases import feed
from shared.events import Fact
from shared.messaging.envelope import Event
from shared.messaging.service import Handler


def fed(handler: Handler) -> Handler:
    """Return the handler that also enters its events into partners' feeds."""

    @wraps(handler)
    def handle(batch: NotificationsBatch, event: Event[Any]) -> None:
        was_awaited = feed.is_awaited(batch, event)
        handler(batch, event)
        feed.enter(batch, event)
        if was_awaited:
            feed.release(batch, event.data.order_id)

    return handle


@fed
def on_fact(batch: NotificationsBatch, event: Event[Fact]) -> None:
    """Nothing else: only partners want to know."""
