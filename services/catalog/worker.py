"""Catalog's worker: its handlers, and no timers of its own."""

from services.catalog.handlers import PREPARE, SUBSCRIPTIONS
from shared.service import Service

SERVICE = Service(name="catalog", subscriptions=SUBSCRIPTIONS, prepare=PREPARE)
