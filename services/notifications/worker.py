"""The notifications service as its worker runs it."""

from services.notifications import feeder
from services.notifications.batch import NotificationsBatch
from services.notifications.handlers import SUBSCRIPTIONS, load
from services.notifications.push.sender import run as push
from services.notifications.timers import TIMERS
from services.notifications.use_cases import queues
from services.notifications.use_cases.late import LATE
from shared.messaging.service import Loop, Service

SERVICE = Service(
    name="notifications",
    subscriptions=SUBSCRIPTIONS,
    batch=NotificationsBatch,
    load=load,
    timers=TIMERS,
    loops=(Loop("push", push), Loop("queues", feeder.run)),
    on_queue_lost=queues.set_back_lost,
    late=LATE,
)
