"""The pages' application. It has no data of its own, and uses services only by their HTTP API."""

from flask import Flask
from flask_bootstrap import Bootstrap5

from shared.runtime.locations import keep_relative
from web import till


def create_app() -> Flask:
    """Return a new application with all pages."""
    app = Flask(__name__)
    # The package serves Bootstrap's files, because the pages must work without internet.
    app.config["BOOTSTRAP_SERVE_LOCAL"] = True
    Bootstrap5(app)
    keep_relative(app)
    app.register_blueprint(till.blueprint)
    return app
