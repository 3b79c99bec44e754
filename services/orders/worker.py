"""What orders' worker runs: its subscriptions, and its timers."""

from services.orders.gauges import count_orders
from services.orders.handlers import PREPARE, SUBSCRIPTIONS
from services.orders.use_cases import decide
from services.orders.use_cases.late import LATE
from shared.messaging.service import Service, Timer
from shared.runtime import clock
from shared.runtime.config import Settings
from shared.runtime.database import Database


def run_expiry(database: Database, settings: Settings) -> bool:
    """Expire prepaid orders that were not paid in time."""
    with database.sessions.begin() as session:
        return decide.expire_unpaid(session, clock.now()) == decide.EXPIRED_AT_ONCE


SERVICE = Service(
    name="orders",
    subscriptions=SUBSCRIPTIONS,
    prepare=PREPARE,
    timers=(
        Timer("expire unpaid", 1.0, run_expiry),
        Timer("count orders", 30.0, count_orders),
    ),
    late=LATE,
)
