"""Catalog's worker: its handlers, and its timers."""

from services.catalog.batch import CatalogBatch
from services.catalog.handlers import SUBSCRIPTIONS, load
from services.catalog.timers import TIMERS
from shared.events import OrderPlaced
from shared.messaging.service import Service

SERVICE = Service(
    name="catalog",
    subscriptions=SUBSCRIPTIONS,
    awaited=(OrderPlaced,),
    batch=CatalogBatch,
    load=load,
    timers=TIMERS,
)
