"""A service's Flask application, made by `create_app`."""

import re
import secrets
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from time import perf_counter
from typing import Any

from flask import Flask, Response, g, request
from flask_smorest import Blueprint

from shared.runtime import logs, metrics, tracing
from shared.runtime.auth import Verifier
from shared.runtime.config import Settings
from shared.runtime.database import Database
from shared.runtime.late import Late
from shared.runtime.locations import keep_relative
from shared.web import access, docs, operations, parked, problems, requests
from shared.web.health import Health
from shared.web.state import NAME, State, state

log = logs.get(__name__)

#: Seconds after which PostgreSQL cancels a request's statement.
STATEMENT_SECONDS = 10
#: A valid `X-Request-Id` of a client; any other value is replaced.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,100}")
#: W3C Trace Context; an id of zeros only is invalid.
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
#: An API's answers are no pages, scripts or frames; the docs page has a policy of its own.
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def create_app(
    name: str,
    title: str,
    blueprints: Sequence[Blueprint],
    settings: Settings | None = None,
    security_schemes: Mapping[str, Any] | None = None,
    late: Sequence[Late] = (),
) -> Flask:
    """Return a new application of the service `name`: routes, docs page, health, parked events.

    `settings` are read from the environment unless given. Each route must declare `@scope(…)` or
    `@public`. `security_schemes` describe, by name, what routes check besides the token. `late` are
    the kinds of late rows that `/metrics` counts.

    Raises:
        Misconfigured: a setting is missing or malformed.
        TypeError: a route has no declaration of access.
    """
    settings = settings or Settings.from_environment(name)
    logs.configure(name)
    tracing.start(log.warning)
    database = Database(settings.database_url, statement_seconds=STATEMENT_SECONDS)
    app = Flask(f"farmgate.{name}", static_folder=None)
    app.json = problems.Json(app)
    app.config.update(MAX_CONTENT_LENGTH=settings.max_body_bytes, PROPAGATE_EXCEPTIONS=False)
    health = Health(settings, database, late)
    app.extensions[NAME] = State(settings, database, Verifier(settings), health)
    app.before_request(_begin)
    app.before_request(access.check_access)
    app.before_request(requests.refuse_long_stream)
    app.after_request(_end)
    app.teardown_request(_close_cause)
    keep_relative(app)
    problems.register(app)
    described = [*blueprints, parked.blueprint_of(name)]
    for blueprint in described:
        app.register_blueprint(blueprint)
    app.register_blueprint(docs.blueprint_of(name, title, described, security_schemes or {}))
    # Twice: for probes of this process, and under the common URL of all four services.
    app.register_blueprint(operations.blueprint())
    app.register_blueprint(operations.blueprint(), name=f"{name}-of", url_prefix=f"/api/{name}")
    access.check_declarations(app)
    return app


def _begin() -> None:
    """Give the request its id and its cause; each event and log line carries the id."""
    g.started = perf_counter()
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)
    traceparent: str | None = request.headers.get("traceparent", "")
    if not _TRACEPARENT.fullmatch(traceparent or ""):
        # The request's span, if spans are exported, starts a new trace.
        traceparent = None if tracing.exporting() else tracing.new_traceparent()
    g.cause = ExitStack()
    g.cause.enter_context(tracing.caused_by(tracing.Cause(g.request_id, traceparent=traceparent)))
    route = _route()
    if not _is_probe(route):
        method = metrics.known_method(request.method)
        attributes = {"http.request.method": method, "http.route": route}
        attributes["farmgate.correlation_id"] = logs.scrub(g.request_id)
        g.span = g.cause.enter_context(
            tracing.span(state().settings.service, f"{method} {route}", "server", attributes)
        )


def _end(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.request_id
    for header, value in SECURITY_HEADERS.items():
        response.headers.setdefault(header, value)
    seconds = perf_counter() - g.started
    service = state().settings.service
    route = _route()
    method = metrics.known_method(request.method)
    metrics.count_request(service, method, route, response.status_code, seconds)
    span = g.pop("span", None)
    if span is not None:
        span.set_attribute("http.response.status_code", response.status_code)
        if response.status_code >= 500:
            tracing.fail(span, str(response.status_code))
    if not _is_probe(route):
        log.info(
            "request",
            service=service,
            method=method,
            route=route,
            status=response.status_code,
            milliseconds=round(seconds * 1000, 1),
            actor=access.caller().subject or None,
        )
    return response


def _close_cause(error: BaseException | None) -> None:
    cause = g.pop("cause", None)
    if cause is not None:
        cause.close()


def _route() -> str:
    """Return the URL pattern, never the path: the path of a guest's order is its secret."""
    return request.url_rule.rule if request.url_rule is not None else "(none)"


def _is_probe(route: str) -> bool:
    return "/health/" in route or route.endswith("/metrics")
