"""The OpenAPI document and its page, from packaged files: nothing is fetched from outside."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import flask_smorest
import flask_swagger_ui
from flask import Blueprint, Flask, Response, json, render_template, send_from_directory, url_for
from flask_smorest.utils import prepare_response

from shared.web import problems
from shared.web.access import public
from shared.web.requests import SECURITY, storable2properties

_DIST = Path(flask_swagger_ui.__file__).parent / "dist"
#: Seconds a browser may keep the page's files.
KEPT = 86_400
#: What holds for every route, at the head of each document.
GUIDE = """\
What is the same for all routes:

- **Units.** Money is whole fen (CNY), quantities are whole grams or pieces, moments are RFC 3339
  in UTC, dates are calendar dates in Asia/Shanghai, ids are UUIDs (version 7, so their order is
  that of time).
- **Who may.** `Authorization: Bearer <token>`; the scope a route needs is its
  `x-required-scope`. Routes without `security` are public. A token with `site_ids` is answered for
  these sites only; what is elsewhere is a 404, or a 403 where a route looks at no site.
- **Repeating.** A POST that takes an `Idempotency-Key` may be repeated with it for 24 hours: it
  counts once, and the answer is the first one again.
- **Problems.** Every refusal is `application/problem+json` (RFC 9457). Decide by `type`, which
  is stable; show `detail`, which says what to do next.
- **Lists** come in pages: pass `next` as `cursor` until it is null.
- **Text** is kept in Unicode's NFC, without invisible characters, outer and repeated spaces; its
  length is that of what is kept. **Dates** are from 1900 to 2199.
- **Unknown fields and query parameters are refused**, so a misspelt one does no silent harm; so
  is a key or a query parameter that comes twice, unless it is a list.
- **Tracing.** Each answer names its request in `X-Request-Id`; a client may choose the name.
"""
#: Scripts and styles of our own only; Swagger UI sets styles on elements and has `data:` images.
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

    The document describes `blueprints`. The first request for it makes it: that takes longer
    than to make the rest of the application, and most processes are never asked.
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
        return send_from_directory(folder, name, max_age=KEPT)

    return docs


class _Api(flask_smorest.Api):
    """flask-smorest's Api with problems instead of its own error body."""

    ERROR_SCHEMA = problems.ProblemSchema
    #: Each route names the problems it may answer with; "default" would allow any.
    DEFAULT_ERROR_RESPONSE_NAME = None

    def _register_responses(self) -> None:
        # smorest would document problems as application/json. A private method: a test pins it.
        for status, meaning in problems.MEANING.items():
            response = {"description": meaning, "schema": self.ERROR_SCHEMA}
            if status in problems.HEADERS:
                name, description = problems.HEADERS[status]
                header = {"description": description, "required": True}
                response["headers"] = {name: header | {"schema": {"type": "string"}}}
            prepare_response(response, self.spec, problems.CONTENT_TYPE)
            self.spec.components.response(status.name, response, lazy=True)


def _described(
    title: str,
    blueprints: Sequence[flask_smorest.Blueprint],
    security_schemes: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the document of these routes."""
    # An application that serves nobody: the one that serves takes no more blueprints by now.
    app = Flask(__name__, static_folder=None)
    app.config.update(
        API_TITLE=title,
        API_VERSION="1",
        OPENAPI_VERSION="3.1.0",
        API_SPEC_OPTIONS={"info": {"description": GUIDE}},
    )
    api = _Api(app)
    api.ma_plugin.converter.add_attribute_function(storable2properties)
    bearer = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    for scheme, explained in ({SECURITY: bearer} | dict(security_schemes)).items():
        api.spec.components.security_scheme(scheme, dict(explained))
    for blueprint in blueprints:
        api.register_blueprint(blueprint)
    described: dict[str, Any] = api.spec.to_dict()
    return described
