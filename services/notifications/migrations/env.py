"""Notifications' migrations: its own tables and the messaging tables."""

from services.notifications.models import Base
from shared.messaging import tables  # noqa: F401 (with each history go the tables of events)
from shared.runtime.migrations import run

run(Base.metadata)
