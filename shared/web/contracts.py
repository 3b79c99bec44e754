"""The event contracts for integrators: JSON Schemas, the AsyncAPI document, and pages to browse.

Only public events are here. The files are part of the package and change with a release only.
"""

import json
import re
from pathlib import Path
from typing import Any

from flask import Blueprint as Pages
from flask import Response, jsonify, render_template, request, url_for
from markupsafe import Markup, escape

from shared.events.description import (
    ASYNCAPI,
    ENVELOPE,
    EXAMPLES,
    PUBLIC,
    SCHEMAS,
    example,
    read_field,
    schema,
)
from shared.runtime.errors import NotFound
from shared.web.access import public
from shared.web.requests import Blueprint

#: Seconds for which a client may keep an answer; a release changes them.
KEPT = 3_600
SCHEMA_TYPE = "application/schema+json"
#: No script and nothing from elsewhere.
_POLICY = (
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)

blp = Blueprint(
    "contracts",
    __name__,
    url_prefix="/api/events/v1",
    description="The contracts of the public events; `/api/events/docs` shows them as pages.",
)
pages = Pages(
    "contract-pages",
    __name__,
    url_prefix="/api/events/docs",
    template_folder="templates",
    static_folder=None,
)

_NAME_IN_PATH = {
    "in": "path",
    "name": "name",
    "description": "An event type, or `envelope`: the schema of what all events have in common.",
    "schema": {"type": "string", "enum": [ENVELOPE, *PUBLIC]},
    "example": "orders.order_placed.v1",
}


class UnknownEventType(NotFound):
    """Raised when there is no public event of a type."""


@blp.get("/schemas")
@public
@blp.response(200, {"type": "object"}, description="The schemas, by event type.")
def list_schemas() -> Response:
    """List the public event types, with the address of each JSON Schema.

    `dataschema` is the URI by which events name the schema.
    """
    listed = [
        {
            "type": type_,
            "meaning": _meaning(type_),
            "dataschema": schema(type_)["$id"],
            "schema": url_for("contracts.show_schema", name=type_),
        }
        for type_ in PUBLIC
    ]
    return _cached(jsonify(items=listed))


@blp.get("/schemas/<string:name>", parameters=[_NAME_IN_PATH])
@public
@blp.response(200, {"type": "object"}, content_type=SCHEMA_TYPE, description="The schema.")
def show_schema(name: str) -> Response:
    """Show the JSON Schema (2020-12) of an event type's `data`, or of the envelope."""
    if name != ENVELOPE:
        _check(name)
    return _file(SCHEMAS / f"{name}.json", SCHEMA_TYPE)


@blp.get("/asyncapi.json")
@public
@blp.response(200, {"type": "object"}, description="The document.")
def show_asyncapi() -> Response:
    """Show the AsyncAPI 3 document: all public events, and the ways by which they come."""
    return _file(ASYNCAPI, "application/json")


@pages.app_template_filter("code")
def code(text: object) -> Markup:
    """Return text as HTML, with `…` as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))


@pages.get("")
@public
def index() -> Response:
    return _page(
        "contracts.html",
        events=[(type_, _meaning(type_)) for type_ in PUBLIC],
        envelope=list(read_field(schema(ENVELOPE)).rows()),
    )


@pages.get("/<string:event_type>")
@public
def event(event_type: str) -> Response:
    _check(event_type)
    described: dict[str, Any] = dict(schema(event_type))
    shown = ""
    if (EXAMPLES / f"{event_type}.json").exists():
        shown = json.dumps(example(event_type), ensure_ascii=False, indent=2)
    return _page(
        "contract.html",
        event_type=event_type,
        paragraphs=described["description"].split("\n\n"),
        subject=described["x-subject"],
        fields=list(read_field(described).rows()),
        example=shown,
    )


@pages.get("/style.css")
@public
def style() -> Response:
    return _file(Path(__file__).parent / "static" / "contracts.css", "text/css")


def _file(path: Path, mimetype: str) -> Response:
    return _cached(Response(path.read_bytes(), mimetype=mimetype))


def _page(template: str, **values: Any) -> Response:
    answer = Response(render_template(template, **values), mimetype="text/html")
    answer.headers["Content-Security-Policy"] = _POLICY
    return _cached(answer)


def _check(event_type: str) -> None:
    """Refuse a type that is not public.

    Raises:
        UnknownEventType: it is unknown or internal.
    """
    if event_type not in PUBLIC:
        raise UnknownEventType("There is no public event of this type; GET /schemas lists them.")


def _meaning(event_type: str) -> str:
    return str(schema(event_type)["description"]).partition("\n\n")[0]


def _cached(answer: Response) -> Response:
    """Let everybody keep an answer, and ask later whether it changed."""
    answer.headers["Cache-Control"] = f"public, max-age={KEPT}"
    answer.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    answer.headers["Access-Control-Allow-Origin"] = "*"
    answer.add_etag()
    answer.make_conditional(request)
    return answer
