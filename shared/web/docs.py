"""The OpenAPI document and the Swagger UI page, served from packaged files only."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

import flask_smorest
import flask_swagger_ui
from apispec import BasePlugin
from flask import Blueprint, Flask, Response, json, render_template, send_from_directory, url_for
from werkzeug.routing import Rule

from shared.runtime.schemas import Text, check_storable
from shared.web import problems
from shared.web.access import (
    EVERYBODY,
    IDEMPOTENT,
    OPTIONAL_TOKEN,
    declarations_of,
    public,
    scope_of,
)
from shared.web.idempotency import KEY_PATTERN

_DIST = Path(flask_swagger_ui.__file__).parent / "dist"
#: Seconds for which a browser may cache the page's files.
CACHED = 86_400
#: The introduction of each document: rules for all routes.
GUIDE = """\
Rules for all routes:

- **Units.** Money is whole fen (CNY), quantities are whole grams or pieces, moments are RFC 3339
  in UTC, dates are calendar dates in Asia/Shanghai, ids are UUIDs (version 7, sorted by time of
  creation).
- **Access.** Send `Authorization: Bearer <token>`. A route's `x-required-scope` is the scope that
  it needs; a route without `security`, or with an empty one, is public. A token with `site_ids` is
  limited to these sites: things of other sites are a 404, and routes that do not filter by site
  are a 403.
- **Repeating.** A client may repeat a POST with its `Idempotency-Key` for 24 hours: the work is
  done once, and the answer is the first one.
- **Problems.** Every refusal is `application/problem+json` (RFC 9457). Decide by `type`, which
  is stable; show `detail`, which names the next step.
- **Lists** come in pages: pass `next` as `cursor` until it is null.
- **Text** is stored in Unicode's NFC, without invisible characters, outer and repeated spaces; its
  length is counted after that. **Dates** are from 1900 to 2199.
- **Unknown fields and query parameters are refused**, so that a misspelt name is noticed. A
  repeated key is refused, and so is a repeated query parameter that is not a list.
- **Tracing.** Each answer has the id of its request in `X-Request-Id`; a client may choose it.
"""
#: OpenAPI's name of the bearer token.
SECURITY = "bearer"
_KEY_PARAMETER = {
    "in": "header",
    "name": "Idempotency-Key",
    "required": True,
    "description": (
        "Identifies this request: a new key for each request, the same key to repeat it. Use a key "
        "that is hard to guess, such as a UUID: it also encrypts the stored answer. For 24 hours a "
        "repeated request gets the stored answer, with `Idempotency-Replayed: true`. The key is "
        "refused with another request (422), and while the first request is still running (409)."
    ),
    "schema": {"type": "string", "pattern": KEY_PATTERN},
    "example": "5f1d7c1e-3c8a-4f2b-9a56-0f7f3c1f8b1d",
}
#: Only our own scripts and styles; Swagger UI sets inline styles and uses `data:` images.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


def blueprint_of(
    name: str,
    title: str,
    blueprints: Sequence[flask_smorest.Blueprint],
    security_schemes: Mapping[str, Any],
) -> Blueprint:
    """Return the routes `openapi.json` and `docs` of the service `name`.

    The document describes `blueprints`. It is made at the first request for it: this takes longer
    than the rest of the application's start, and most processes get no such request.
    """
    docs = Blueprint(
        "docs",
        __name__,
        url_prefix=f"/api/{name}",
        template_folder="templates",
        static_folder=None,
    )

    @cache
    def written() -> str:
        return json.dumps(_described(title, blueprints, security_schemes), indent=1)

    @docs.get("/openapi.json")
    @public
    def document() -> Response:
        return Response(written(), mimetype="application/json")

    @docs.get("/docs")
    @public
    def page() -> Response:
        text = render_template(
            "docs.html", title=title, document=url_for("docs.document"), files=url_for("docs.page")
        )
        return Response(text, headers={"Content-Security-Policy": _POLICY})

    @docs.get("/docs/<string:name>")
    @public
    def file(name: str) -> Response:
        folder = Path(__file__).parent / "static" if name == "start.js" else _DIST
        return send_from_directory(folder, name, max_age=CACHED)

    return docs


class _Api(flask_smorest.Api):
    """flask-smorest's Api with problems as error bodies."""

    ERROR_SCHEMA = problems.ProblemSchema
    #: Each route lists its problems; "default" would allow any.
    DEFAULT_ERROR_RESPONSE_NAME = None


class _Declared(BasePlugin):
    """Adds each view's declarations to its operation: access, Idempotency-Key, problems."""

    def __init__(self, app: Flask) -> None:
        self._views = app.view_functions

    def operation_helper(
        self, path: str | None = None, operations: dict[Any, Any] | None = None, **options: Any
    ) -> None:
        """Complete the operations of one route; see apispec. flask-smorest passes its `rule`."""
        rule: Rule = options["rule"]
        view = self._views[rule.endpoint]
        for method, operation in (operations or {}).items():
            operation["operationId"] = view.__name__
            needed = scope_of(view)
            operation.setdefault("security", _security(view))
            if needed:
                operation["x-required-scope"] = needed
            if IDEMPOTENT in declarations_of(view):
                operation.setdefault("parameters", []).append(dict(_KEY_PARAMETER))
            responses = operation.setdefault("responses", {})
            for status in _refusals(view, rule, method, operation):
                responses.setdefault(status.value, status.name)
            operation["responses"] = dict(sorted(responses.items(), key=lambda item: int(item[0])))


def _security(view: Callable[..., Any]) -> list[dict[str, list[str]]]:
    """Return OpenAPI's alternatives of access to a view; an empty one needs no token."""
    if needed := scope_of(view):
        return [{SECURITY: [needed]}]
    return [{}, {SECURITY: []}] if OPTIONAL_TOKEN in declarations_of(view) else []


def _refusals(
    view: Callable[..., Any], rule: Rule, method: str, operation: Mapping[str, Any]
) -> Iterator[HTTPStatus]:
    """Yield the statuses of a route's problems, by its declarations; a view may add others."""
    if scope_of(view) != EVERYBODY:
        yield from (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
    if OPTIONAL_TOKEN in declarations_of(view):
        yield HTTPStatus.UNAUTHORIZED
    if rule.arguments:
        yield HTTPStatus.NOT_FOUND
    if IDEMPOTENT in declarations_of(view):
        yield from (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY)
    if method != "get":
        yield HTTPStatus.CONFLICT
    if "requestBody" in operation:
        yield from (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        if "application/json" in operation["requestBody"]["content"]:
            yield HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    yield from (HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.SERVICE_UNAVAILABLE)


def storable2properties(converter: Any, field: Any, ret: dict[str, Any], **_: Any) -> Any:
    """Document that text in a request has no NUL characters, unless the field has a pattern.

    Text for people must also contain a character that is not white space.
    """
    free = not ret.keys() & {"pattern", "format", "enum"}
    text = ret.get("type") in ("string", ["string", "null"])
    if isinstance(field, Text):
        return {"minLength": 1, "pattern": r"^[^\u0000]*[^\s\u0000][^\u0000]*$"}
    if free and text and check_storable in field.validators:
        return {"pattern": r"^[^\u0000]*$"}
    return {}


def _described(
    title: str,
    blueprints: Sequence[flask_smorest.Blueprint],
    security_schemes: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the OpenAPI document of these routes."""
    # Another application: the serving one accepts no more blueprints after its first request.
    app = Flask(__name__, static_folder=None)
    app.config.update(
        API_TITLE=title,
        API_VERSION="1",
        OPENAPI_VERSION="3.1.0",
        API_SPEC_OPTIONS={"info": {"description": GUIDE}},
    )
    api = _Api(app, spec_kwargs={"extra_plugins": [_Declared(app)]})
    api.ma_plugin.converter.add_attribute_function(storable2properties)
    bearer = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    for scheme, explained in ({SECURITY: bearer} | dict(security_schemes)).items():
        api.spec.components.security_scheme(scheme, dict(explained))
    for blueprint in blueprints:
        api.register_blueprint(blueprint)
    described: dict[str, Any] = api.spec.to_dict()
    for status, meaning in problems.MEANING.items():
        if (response := described["components"]["responses"].get(status.name)) is not None:
            # flask-smorest would document problems as application/json, without their meaning.
            (content,) = response["content"].values()
            response |= {"description": meaning, "content": {problems.CONTENT_TYPE: content}}
            if status in problems.HEADERS:
                name, text = problems.HEADERS[status]
                header = {"description": text, "required": True, "schema": {"type": "string"}}
                response["headers"] = {name: header}
    return described
