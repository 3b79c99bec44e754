"""Notifications' HTTP application."""

from flask import Flask

from services.notifications.api import blp
from services.notifications.use_cases.late import LATE
from shared import web
from shared.runtime.config import Settings


def create_app(settings: Settings | None = None) -> Flask:
    """Return notifications' HTTP application."""
    return web.create_app("notifications", "Farmgate notifications", [blp], settings, late=LATE)
