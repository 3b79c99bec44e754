"""The routes for monitoring: liveness, readiness and metrics."""

from flask import Blueprint, Response, jsonify

from shared.runtime import metrics
from shared.web.access import public
from shared.web.state import state


def blueprint() -> Blueprint:
    """Return the routes `health/live`, `health/ready` and `metrics`."""
    operations = Blueprint("operations", __name__, static_folder=None)

    @operations.get("/health/live")
    @public
    def live() -> Response:
        return jsonify(service=state().settings.service, status="live")

    @operations.get("/health/ready")
    @public
    def ready() -> tuple[Response, int]:
        report, good = state().health.ready()
        return jsonify(report), 200 if good else 503

    @operations.get("/metrics")
    @public
    def counted() -> Response:
        state().health.measure()
        state().health.count_late()
        return Response(metrics.expose(), content_type=metrics.CONTENT_TYPE)

    return operations
