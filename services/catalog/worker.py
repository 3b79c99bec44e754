"""Catalog's worker: its handlers, and its timers."""

from services.catalog.handlers import PREPARE, SUBSCRIPTIONS
from services.catalog.timers import TIMERS
from shared.messaging.service import Service

SERVICE = Service(name="catalog", subscriptions=SUBSCRIPTIONS, prepare=PREPARE, timers=TIMERS)
