"""What orders' worker runs: its subscriptions, and its timers."""

from services.orders.batch import OrdersBatch
from services.orders.gauges import count_orders
from services.orders.handlers import SUBSCRIPTIONS, load
from services.orders.use_cases import decide
from services.orders.use_cases.late import LATE
from shared.events import StockRefused, StockReserved
from shared.messaging.batch import transaction
from shared.messaging.service import Service, Timer
from shared.runtime import clock
from shared.runtime.config import Settings
from shared.runtime.database import Database


def run_expiry(database: Database, settings: Settings) -> bool:
    """Expire prepaid orders that were not paid in time."""
    with transaction(database, OrdersBatch) as batch:
        return decide.expire_unpaid(batch, clock.now()) == decide.EXPIRED_AT_ONCE


SERVICE = Service(
    name="orders",
    subscriptions=SUBSCRIPTIONS,
    awaited=(StockReserved, StockRefused),
    batch=OrdersBatch,
    load=load,
    timers=(
        Timer("expire unpaid", 1.0, run_expiry),
        Timer("count orders", 30.0, count_orders),
    ),
    late=LATE,
)
