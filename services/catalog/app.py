"""Catalog's HTTP application."""

from flask import Flask

from services.catalog.api import BLUEPRINTS
from services.catalog.api.stations import till
from services.catalog.timers import shown_packs
from shared import web
from shared.runtime.config import Settings


def create_app(settings: Settings | None = None) -> Flask:
    """Return catalog's HTTP application.

    Raises:
        Misconfigured: a setting is missing or malformed.
    """
    app = web.create_app("catalog", "Farmgate catalog", BLUEPRINTS, settings)
    with app.app_context():
        # Wrong settings fail now.
        till.lease_seconds(web.settings().environment)
        shown_packs(web.settings().environment)
    return app
