"""Orders in figures for dashboards, counted by a timer and not at each scrape."""

from datetime import timedelta

from prometheus_client import Counter, Gauge
from sqlalchemy import func, select

from services.orders.models import Order
from shared.runtime import clock
from shared.runtime.config import Settings
from shared.runtime.database import Database

#: Orders placed within this time are counted: an index finds them, however many there are.
WITHIN = timedelta(days=1)

_orders = Gauge(
    "farmgate_orders_of_a_day",
    "Orders placed within the last 24 hours, by their present state.",
    ["service", "channel", "state"],
    multiprocess_mode="livemostrecent",
)
payment_news = Counter(
    "farmgate_payment_news",
    "Callbacks of payment providers, by outcome: taken, ignored, or the problem of the refusal.",
    ["service", "provider", "outcome"],
)
_seen: set[tuple[str, str]] = set()


def count_orders(database: Database, settings: Settings) -> None:
    """Count the last day's orders by channel and state."""
    with database.readers() as session:
        counted = session.execute(
            select(Order.channel, Order.state, func.count())
            .where(Order.placed_at > clock.now() - WITHIN)
            .group_by(Order.channel, Order.state)
        ).all()
    now: dict[tuple[str, str], int] = {
        (channel, state.value): count for channel, state, count in counted
    }
    _seen.update(now)
    for channel, state in _seen:
        # A state that no order is in any more is 0, not its last count.
        _orders.labels("orders", channel, state).set(now.get((channel, state), 0))
