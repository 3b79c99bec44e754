"""One service's application: `create_app` is all a service calls."""

import re
import secrets
from collections.abc import Sequence
from time import perf_counter
from typing import Any

from flask import Blueprint as PlainBlueprint
from flask import Flask, Response, g, jsonify, request
from flask_smorest import Blueprint

from shared import logs, metrics, tracing
from shared.auth import Verifier
from shared.config import Settings
from shared.database import Database
from shared.health import Health
from shared.web import access, docs, problems
from shared.web.access import public
from shared.web.state import NAME, State, state

log = logs.get(__name__)

#: Seconds after which PostgreSQL cuts a request's statement.
STATEMENT_SECONDS = 10
_REQUEST_ID = re.compile(r"^[A-Za-z0-9._:-]{1,100}$")
_TRACEPARENT = re.compile(r"^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")
#: No inline script, nothing from elsewhere. `data:` images and inline styles are Swagger UI's.
_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
SECURITY_HEADERS = {
    "Content-Security-Policy": _CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def create_app(
    name: str, title: str, blueprints: Sequence[Blueprint], settings: Settings | None = None
) -> Flask:
    """Return a new application of the service `name` with its routes, docs and health.

    Raises:
        Misconfigured: a setting is missing or malformed.
    """
    settings = settings or Settings.from_environment(name)
    logs.configure(name)
    app = Flask(f"farmgate.{name}", static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.config.update(
        API_TITLE=title,
        API_VERSION="1",
        OPENAPI_VERSION="3.1.0",
        MAX_CONTENT_LENGTH=settings.max_body_bytes,
        PROPAGATE_EXCEPTIONS=False,
    )
    database = Database(settings.database_url, statement_seconds=STATEMENT_SECONDS)
    health = Health(settings, database)
    app.extensions[NAME] = State(settings, database, Verifier(settings), health)
    app.before_request(_begin)
    app.before_request(access.check_access)
    app.after_request(_end)
    app.teardown_request(_leave)
    problems.register(app)
    api = problems.ProblemApi(app, spec_kwargs={"info": {"description": title}})
    api.spec.components.security_scheme(
        access.SECURITY, {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    )
    for blueprint in blueprints:
        api.register_blueprint(blueprint)
    app.register_blueprint(docs.blueprint_of(api, f"/api/{name}", title))
    # The plain paths are for probes of one process; the others for one address of all services.
    app.register_blueprint(_operations(), name="operations", url_prefix="")
    app.register_blueprint(_operations(), name="operations-of-service", url_prefix=f"/api/{name}")
    return app


def _operations() -> PlainBlueprint:
    blueprint = PlainBlueprint("operations", __name__)

    @blueprint.get("/health/live")
    @public
    def live() -> Response:
        return jsonify(service=state().settings.service, status="live")

    @blueprint.get("/health/ready")
    @public
    def ready() -> tuple[Response, int]:
        report, good = state().health.ready()
        return jsonify(report), 200 if good else 503

    @blueprint.get("/metrics")
    @public
    def exposed() -> Response:
        state().health.ready()
        return Response(metrics.expose(), mimetype="text/plain")

    return blueprint


def _begin() -> None:
    g.started = perf_counter()
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if _REQUEST_ID.match(given) else secrets.token_hex(16)
    traceparent = request.headers.get("traceparent", "")
    cause = tracing.Cause(
        correlation_id=g.request_id,
        traceparent=traceparent if _TRACEPARENT.match(traceparent) else tracing.new_traceparent(),
    )
    g.cause = tracing.caused_by(cause)
    g.cause.__enter__()


def _end(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.get("request_id", "-")
    for header, value in SECURITY_HEADERS.items():
        response.headers.setdefault(header, value)
    service = state().settings.service
    route = request.url_rule.rule if request.url_rule is not None else "(none)"
    seconds = perf_counter() - g.get("started", perf_counter())
    metrics.requests.labels(service, request.method, route, response.status_code).inc()
    metrics.latency.labels(service, route).observe(seconds)
    log.info(
        "request",
        service=service,
        method=request.method,
        route=route,
        status=response.status_code,
        milliseconds=round(seconds * 1000, 1),
    )
    return response


def _leave(error: Any) -> None:
    cause = g.pop("cause", None)
    if cause is not None:
        cause.__exit__(None, None, None)
