"""Logistics' HTTP application."""

from flask import Flask

from services.logistics.api import BLUEPRINTS
from services.logistics.use_cases.late import LATE
from shared import web
from shared.runtime.config import Settings


def create_app(settings: Settings | None = None) -> Flask:
    """Return logistics' HTTP application."""
    return web.create_app("logistics", "Farmgate logistics", BLUEPRINTS, settings, late=LATE)
