"""Notifications' HTTP application."""

from flask import Flask

from services.notifications.api import BLUEPRINTS
from services.notifications.channels import channels_of
from services.notifications.push.networks import networks_of
from services.notifications.timers import contact_days, feed_days, limits_of
from services.notifications.use_cases.late import LATE
from shared import web
from shared.runtime.config import Settings
from shared.web import contracts


def create_app(settings: Settings | None = None) -> Flask:
    """Return notifications' HTTP application.

    Raises:
        Misconfigured: a setting is missing or malformed.
    """
    app = web.create_app("notifications", "Farmgate notifications", BLUEPRINTS, settings, late=LATE)
    app.register_blueprint(contracts.pages)
    with app.app_context():
        # A wrong one fails now; the worker would only log it, and neither send nor erase.
        channels_of(web.settings())
        limits_of(web.settings().environment)
        contact_days(web.settings().environment)
        networks_of(web.settings().environment)
        feed_days(web.settings().environment)
    return app
