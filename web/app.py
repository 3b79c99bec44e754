"""The pages' application: no data of its own, and no way to a service but its HTTP API."""

from flask import Flask
from flask_bootstrap import Bootstrap5

from shared.runtime.locations import keep_relative
from web import till


def create_app() -> Flask:
    """Return a new application with all pages."""
    app = Flask(__name__)
    # Bootstrap's files come from the package: the pages must work where there is no internet.
    app.config["BOOTSTRAP_SERVE_LOCAL"] = True
    Bootstrap5(app)
    keep_relative(app)
    app.register_blueprint(till.blueprint)
    return app
