"""The OpenAPI document and its page, from packaged files: nothing is fetched from outside."""

from functools import cache
from pathlib import Path

import flask_swagger_ui
from flask import Blueprint, Response, json, render_template, send_from_directory, url_for
from flask_smorest import Api

from shared.web.access import public

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


def blueprint_of(api: Api, prefix: str, title: str) -> Blueprint:
    """Return the routes `openapi.json` and `docs` under `prefix`."""
    docs = Blueprint(
        "docs", __name__, url_prefix=prefix, template_folder="templates", static_folder=None
    )

    @cache
    def written() -> str:
        return json.dumps(api.spec.to_dict(), indent=1)

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
