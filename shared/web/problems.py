"""Answers every error as a problem (RFC 9457), with the status of its nearest base in a table.

The name of the error's class is its stable type: `OutOfStock` is `/problems/out-of-stock`.
"""

from datetime import date, datetime
from http import HTTPStatus
from typing import Any

import flask
from flask import Response, g, request
from flask.json.provider import DefaultJSONProvider
from marshmallow import INCLUDE, fields
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException

from shared.runtime import errors
from shared.runtime.callers import InvalidToken
from shared.runtime.clock import rfc3339
from shared.runtime.database import DatabaseError, classify
from shared.runtime.errors import slug_of as slug_of
from shared.runtime.logs import get
from shared.runtime.schemas import ResponseSchema
from shared.web.access import MissingScope
from shared.web.requests import UnsupportedBody

log = get(__name__)

CONTENT_TYPE = "application/problem+json"

#: Error → HTTP status; the nearest base counts.
STATUS: dict[type[Exception], int] = {
    UnsupportedBody: 415,
    errors.BadRequest: 400,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Gone: 410,
    errors.Unprocessable: 422,
    errors.Unavailable: 503,
    errors.FarmgateError: 500,
}
#: The descriptions of problems in the OpenAPI document.
MEANING = {
    HTTPStatus.BAD_REQUEST: (
        "The request is malformed: broken JSON, no body, or a missing Idempotency-Key."
    ),
    HTTPStatus.UNAUTHORIZED: "The request has no valid token or signature.",
    HTTPStatus.FORBIDDEN: "The token lacks the scope that the route needs.",
    HTTPStatus.NOT_FOUND: "The thing does not exist, or the caller may not see it.",
    HTTPStatus.CONFLICT: (
        "The current state does not allow the request (`type` names the reason), or the first "
        "request with this Idempotency-Key is still running."
    ),
    HTTPStatus.GONE: "What is asked for was deleted because of its age.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is larger than the service's limit.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The body's type is not application/json.",
    HTTPStatus.UNPROCESSABLE_ENTITY: (
        "Some fields are invalid (`errors` lists them) or name a thing that does not exist, or the "
        "Idempotency-Key belongs to another request."
    ),
    HTTPStatus.INTERNAL_SERVER_ERROR: "The service failed; nothing was changed.",
    HTTPStatus.SERVICE_UNAVAILABLE: "A server is unavailable; send the same request again later.",
}
#: Headers of problems, with their descriptions.
HEADERS = {
    HTTPStatus.SERVICE_UNAVAILABLE: ("Retry-After", "Seconds to wait before the next attempt."),
}
#: Seconds after which a client may retry a 503.
RETRY_AFTER = 2
#: PostgreSQL's query_canceled: the statement exceeded its time-out.
_CANCELLED = "57014"


class ProblemSchema(ResponseSchema):
    """A problem (RFC 9457); its type may add members."""

    class Meta:
        # Otherwise the document would forbid the additional members.
        unknown = INCLUDE

    type = fields.String(required=True, metadata={"description": "Stable name of the problem."})
    title = fields.String(required=True, metadata={"description": "The type in words."})
    status = fields.Integer(required=True, metadata={"description": "The HTTP status."})
    detail = fields.String(metadata={"description": "The reason and the next step, for people."})
    request_id = fields.String(metadata={"description": "The id of this request in the logs."})
    errors = fields.Raw(metadata={"description": "Messages by field."})


class Json(DefaultJSONProvider):
    """Flask's JSON, with moments in RFC 3339 and keys in their original order."""

    sort_keys = False

    @staticmethod
    def default(value: Any) -> Any:
        """Return a JSON value for `value`."""
        if isinstance(value, datetime):
            return rfc3339(value)
        if isinstance(value, date):
            return value.isoformat()
        return DefaultJSONProvider.default(value)


def status_of(error: errors.FarmgateError) -> int:
    """Return the HTTP status of an error: that of its nearest base in the table."""
    return next(STATUS[base] for base in type(error).__mro__ if base in STATUS)


def problem(status: int, slug: str, detail: str, **members: Any) -> Response:
    """Return a problem answer; `members` are added, but replace no standard member."""
    body = {
        "type": f"/problems/{slug}",
        "title": slug.replace("-", " ").capitalize(),
        "status": status,
        "detail": detail,
        "request_id": g.get("request_id"),
    }
    response = flask.jsonify({**body, **members, **body})
    response.status_code = status
    response.content_type = CONTENT_TYPE
    if status == 503:
        response.headers["Retry-After"] = str(RETRY_AFTER)
    return response


def answer_of(error: errors.FarmgateError) -> Response:
    """Return the problem answer for an error."""
    status = status_of(error)
    response = problem(status, slug_of(type(error).__name__), error.detail, **error.extra)
    if isinstance(error, InvalidToken):
        # RFC 6750: no error code for a request without a token.
        code = ', error="invalid_token"' if "Authorization" in request.headers else ""
        response.headers["WWW-Authenticate"] = f'Bearer realm="farmgate"{code}'
    elif isinstance(error, MissingScope):
        response.headers["WWW-Authenticate"] = (
            f'Bearer realm="farmgate", error="insufficient_scope", scope="{error.extra["scope"]}"'
        )
    return response


def _internal(error: BaseException) -> Response:
    log.error("request failed", error=type(error).__name__, exc_info=error)
    return problem(
        500, "internal", "The service failed, and nothing was changed. Tell the operator."
    )


def register(app: flask.Flask) -> None:
    """Register the handlers that answer all errors as problems."""

    @app.errorhandler(errors.FarmgateError)
    def farmgate_error(error: errors.FarmgateError) -> Response:
        return answer_of(error) if status_of(error) != 500 else _internal(error)

    @app.errorhandler(HTTPException)
    def http_exception(error: HTTPException) -> Response:
        # From Flask and its router.
        if error.response is not None:  # a redirect, or an explicit answer
            return flask.make_response(error.response)
        status = error.code or 500
        if status == 500:
            return _internal(error)
        response = problem(status, slug_of(type(error).__name__), error.description or error.name)
        # For example Allow of a 405, Retry-After of a 429.
        for name, value in error.get_headers(request.environ):
            if name.lower() not in ("content-type", "content-length"):
                response.headers[name] = value
        return response

    @app.errorhandler(SQLAlchemyError)
    def database_failed(error: SQLAlchemyError) -> Response:
        cancelled = getattr(getattr(error, "orig", None), "sqlstate", None) == _CANCELLED
        if classify(error) is DatabaseError.OTHER and not cancelled:
            return _internal(error)
        log.warning("database unavailable", error=type(error).__name__)
        return problem(
            503, "unavailable", "The database is unavailable; send the same request again later."
        )

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> Response:
        return _internal(error)
