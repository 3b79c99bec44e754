"""The OpenAPI document and its page, from packaged files: nothing is fetched from outside."""

from pathlib import Path

import flask_swagger_ui
from flask import Blueprint, Response, jsonify, render_template, send_from_directory, url_for
from flask_smorest import Api

from shared.web.access import public

_DIST = Path(flask_swagger_ui.__file__).parent / "dist"


def blueprint_of(api: Api, prefix: str, title: str) -> Blueprint:
    """Return the routes `openapi.json` and `docs` under `prefix`."""
    docs = Blueprint("docs", __name__, url_prefix=prefix, template_folder="templates")

    @docs.get("/openapi.json")
    @public
    def document() -> Response:
        return jsonify(api.spec.to_dict())

    @docs.get("/docs")
    @public
    def page() -> str:
        return render_template(
            "docs.html", title=title, document=url_for("docs.document"), files=url_for("docs.page")
        )

    @docs.get("/docs/<path:name>")
    @public
    def file(name: str) -> Response:
        if name == "start.js":
            return Response(render_template("docs.js", document=url_for("docs.document")),
                            mimetype="text/javascript")
        return send_from_directory(_DIST, name, max_age=86400)

    return docs
