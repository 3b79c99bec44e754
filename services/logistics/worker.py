"""What logistics' worker runs: its subscriptions, and its timers."""

from datetime import timedelta

from services.logistics.batch import LogisticsBatch
from services.logistics.handlers import SUBSCRIPTIONS, load
from services.logistics.use_cases import contacts
from services.logistics.use_cases.late import LATE
from shared.messaging.batch import transaction
from shared.messaging.service import Service, Timer
from shared.runtime import clock
from shared.runtime.config import Settings, read_integer
from shared.runtime.database import Database


def run_erasure(database: Database, settings: Settings) -> bool:
    """Erase contacts `FARMGATE_CONTACT_DAYS` days after they were last needed."""
    days = read_integer(settings.environment, "FARMGATE_CONTACT_DAYS", 30, least=1)
    with transaction(database, LogisticsBatch) as batch:
        erased = contacts.erase_contacts(batch, clock.now() - timedelta(days=days))
    return erased == contacts.ERASED_AT_ONCE


SERVICE = Service(
    name="logistics",
    subscriptions=SUBSCRIPTIONS,
    batch=LogisticsBatch,
    load=load,
    timers=(Timer("erase contacts", 3600.0, run_erasure),),
    late=LATE,
)
