"""Orders' HTTP application."""

from flask import Flask

from services.orders.api import BLUEPRINTS
from shared import web
from shared.config import Settings


def create_app(settings: Settings | None = None) -> Flask:
    """Return orders' HTTP application."""
    return web.create_app("orders", "Farmgate orders", BLUEPRINTS, settings)
