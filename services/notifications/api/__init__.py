"""Notifications' routes: messages and preferences, partners' events and webhooks, contracts."""

from services.notifications.api import events, messages, webhooks
from shared.web import contracts

BLUEPRINTS = [messages.blp, events.blp, webhooks.blp, contracts.blp]
