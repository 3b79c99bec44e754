"""Every error as a problem (RFC 9457): one table, looked up along the error's bases."""

import re
from http import HTTPStatus
from typing import Any

import flask
from flask import Response, g, request
from flask_smorest import Api
from marshmallow import Schema, fields
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException

from shared import errors
from shared.database import Trouble, trouble_of
from shared.logs import get

log = get(__name__)

CONTENT_TYPE = "application/problem+json"

#: Base of an error → HTTP status. A leaf's own name gives the problem's type.
STATUS: dict[type[errors.FarmgateError], int] = {
    errors.BadRequest: 400,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Unprocessable: 422,
    errors.Unavailable: 503,
    errors.FarmgateError: 500,
}
#: Seconds after which a client may try again when something of ours is away.
RETRY_AFTER = 2


class ProblemSchema(Schema):
    """RFC 9457 problem details. `type` is stable; further members may come with it."""

    type = fields.String(required=True, metadata={"description": "Stable name of the problem."})
    title = fields.String(required=True, metadata={"description": "The same for each type."})
    status = fields.Integer(required=True)
    detail = fields.String(metadata={"description": "What went wrong, and what to do next."})
    instance = fields.String(metadata={"description": "The request, for the operator's logs."})
    errors = fields.Dict(metadata={"description": "Field by field, what is wrong with it."})


def slug_of(name: str) -> str:
    """Return `out-of-stock` for `OutOfStock`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).lower()


def status_of(error: errors.FarmgateError) -> int:
    """Return the HTTP status of an error, by the first of its bases in the table."""
    return next(STATUS[base] for base in type(error).__mro__ if base in STATUS)


def problem(
    status: int, slug: str, detail: str | None = None, **members: Any
) -> Response:
    """Return a problem answer."""
    title = HTTPStatus(status).phrase if slug == "http" else slug.replace("-", " ").capitalize()
    body = {"type": f"/problems/{slug}", "title": title, "status": status}
    if detail is not None:
        body["detail"] = detail
    body["instance"] = f"urn:request:{g.get('request_id', '-')}"
    response = flask.jsonify({**members, **body})
    response.status_code = status
    response.headers["Content-Type"] = CONTENT_TYPE
    if status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="farmgate"'
    if status == 503:
        response.headers["Retry-After"] = str(RETRY_AFTER)
    return response


def answer_of(error: errors.FarmgateError) -> Response:
    """Return the problem answer for one of our own errors."""
    status = status_of(error)
    return problem(status, slug_of(type(error).__name__), error.detail, **error.extra)


class ProblemApi(Api):
    """flask-smorest's Api with problems instead of its own error body."""

    ERROR_SCHEMA = ProblemSchema

    def handle_http_exception(self, error: HTTPException) -> Response:  # type: ignore[override]
        """Turn what Flask, webargs and smorest raise into a problem."""
        status = error.code or 500
        data = getattr(error, "data", None) or {}
        found = data.get("errors") or data.get("messages")
        details = {"errors": found} if found else {}
        if status == 422:
            slug = "validation-failed"
            detail = "Some fields are not as they must be; `errors` says which."
        elif status == 500:
            slug, detail = "internal", "Something failed on our side; the log has this request."
        else:
            slug = slug_of(HTTPStatus(status).name.title().replace("_", ""))
            detail = str(data.get("message") or error.description or "")
        response = problem(status, slug, detail, **details)
        for name, value in error.get_headers(request.environ):
            if name.lower() not in ("content-type", "content-length"):
                response.headers[name] = value
        return response

    def _register_responses(self) -> None:
        # smorest would document problems as application/json. A private method: a test pins it.
        json = self.DEFAULT_RESPONSE_CONTENT_TYPE
        self.DEFAULT_RESPONSE_CONTENT_TYPE = CONTENT_TYPE
        try:
            super()._register_responses()
        finally:
            self.DEFAULT_RESPONSE_CONTENT_TYPE = json


def register(app: flask.Flask) -> None:
    """Answer our errors, a database that is away, and faults of ours."""

    @app.errorhandler(errors.FarmgateError)
    def known(error: errors.FarmgateError) -> Response:
        return answer_of(error)

    @app.errorhandler(SQLAlchemyError)
    def database_failed(error: SQLAlchemyError) -> Response:
        if trouble_of(error) is Trouble.OTHER:
            return unknown(error)
        log.warning("database away", error=type(error).__name__)
        return problem(
            503, "unavailable", "The database is away or busy; send the same request again."
        )

    @app.errorhandler(Exception)
    def unknown(error: Exception) -> Response:
        log.error("request failed", exc_info=error, request_id=g.get("request_id"))
        return problem(500, "internal", "Something failed on our side; the log has this request.")
