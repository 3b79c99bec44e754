"""Catalog's HTTP application."""

from flask import Flask

from services.catalog.api import BLUEPRINTS
from shared import web
from shared.config import Settings


def create_app(settings: Settings | None = None) -> Flask:
    """Return catalog's HTTP application."""
    return web.create_app("catalog", "Farmgate catalog", BLUEPRINTS, settings)
