"""Orders' HTTP application."""

from flask import Flask

from services.orders import providers
from services.orders.api import BLUEPRINTS, payments
from services.orders.api.limits import read_limits
from services.orders.use_cases.late import LATE
from shared import web
from shared.runtime.config import Settings


def create_app(settings: Settings | None = None) -> Flask:
    """Return orders' HTTP application.

    Raises:
        Misconfigured: a setting is missing or malformed.
    """
    app = web.create_app(
        "orders",
        "Farmgate orders",
        BLUEPRINTS,
        settings,
        payments.SECURITY_SCHEMES,
        late=LATE,
    )
    with app.app_context():
        # A wrong setting fails now, not at the first placement or payment.
        read_limits(web.settings().environment)
        providers.configured(web.settings().environment)
    return app
