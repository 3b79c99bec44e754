"""The notifications service as its worker runs it."""

from services.notifications.handlers import PREPARE, SUBSCRIPTIONS
from services.notifications.timers import TIMERS
from services.notifications.use_cases.late import LATE
from shared.messaging.service import Service

SERVICE = Service(
    name="notifications",
    subscriptions=SUBSCRIPTIONS,
    prepare=PREPARE,
    timers=TIMERS,
    late=LATE,
)
