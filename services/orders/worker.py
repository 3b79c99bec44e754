"""What orders' worker runs: its subscriptions, and its timers."""

from time import monotonic

from services.orders import providers
from services.orders.batch import OrdersBatch
from services.orders.gauges import count_orders
from services.orders.handlers import SUBSCRIPTIONS, load
from services.orders.rules.payments import ProviderRefundState
from services.orders.use_cases import decide, refund
from services.orders.use_cases.late import LATE
from shared.events import StockRefused, StockReserved
from shared.messaging.batch import transaction
from shared.messaging.service import Service, Timer
from shared.runtime import clock
from shared.runtime.config import Settings
from shared.runtime.database import Database

#: Seconds after which a run returns: other timers wait for the same thread.
BUDGET = 5.0


def run_expiry(database: Database, settings: Settings) -> bool:
    """Expire prepaid orders that were not paid in time."""
    with transaction(database, OrdersBatch) as batch:
        return decide.expire_unpaid(batch, clock.now()) == decide.EXPIRED_AT_ONCE


def run_refunds(database: Database, settings: Settings) -> bool:
    """Ask providers for the refunds that are due, for a few seconds; return whether there are more.

    One at a time: each is claimed in one transaction, asked for outside of any, and its outcome
    recorded in another. `services.orders.use_cases.refund` says what that guarantees.
    """
    deadline = monotonic() + BUDGET
    while monotonic() < deadline:
        with database.readers() as session:
            if not refund.any_due(session):
                return False
        found = providers.configured(settings.environment)
        able = [name for name, provider in found.items() if provider.can_refund]
        with transaction(database, OrdersBatch) as batch:
            claimed = refund.claim_refunds(batch, able, limit=1)
        for request in claimed:
            outcome = found[request.provider].refund(request)
            with transaction(database, OrdersBatch) as batch:
                refund.record_outcome(batch, request, outcome)
            if outcome.state == ProviderRefundState.DUE:
                return False  # a provider that does not answer would hold up the other timers
    return True


SERVICE = Service(
    name="orders",
    subscriptions=SUBSCRIPTIONS,
    awaited=(StockReserved, StockRefused),
    batch=OrdersBatch,
    load=load,
    timers=(
        Timer("expire unpaid", 1.0, run_expiry),
        Timer("refund", 2.0, run_refunds),
        Timer("count orders", 30.0, count_orders),
    ),
    late=LATE,
    check=lambda settings: providers.configured(settings.environment),
)
