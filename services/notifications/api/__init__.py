"""Notifications' routes: messages and preferences, and partners' events."""

from services.notifications.api import events, messages

BLUEPRINTS = [messages.blp, events.blp]
