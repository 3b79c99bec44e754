"""Notifications' migrations: its own tables and the messaging tables."""

from services.notifications.models import Base
from shared.migrations import run

run(Base.metadata)
