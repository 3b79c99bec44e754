"""Notifications' routes: messages and preferences, partners' events, and the events' contracts."""

from services.notifications.api import events, messages
from shared.web import contracts

BLUEPRINTS = [messages.blp, events.blp, contracts.blp]
