"""Every error as a problem (RFC 9457): one table, looked up along the error's bases.

A leaf's name is its stable type: `OutOfStock` is `/problems/out-of-stock`.
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
    errors.Unprocessable: 422,
    errors.Unavailable: 503,
    errors.FarmgateError: 500,
}
#: What the document says of the problems that routes answer with; the detail says more.
MEANING = {
    HTTPStatus.BAD_REQUEST: (
        "The request cannot be read: broken JSON, no body, or no Idempotency-Key where needed."
    ),
    HTTPStatus.UNAUTHORIZED: "No valid token, or no valid signature, came with the request.",
    HTTPStatus.FORBIDDEN: "The token lacks the scope that the route needs.",
    HTTPStatus.NOT_FOUND: "There is no such thing, or it is not yours to see.",
    HTTPStatus.CONFLICT: (
        "The present state does not allow it (`type` says why), or the first request with this "
        "Idempotency-Key is still running."
    ),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is larger than this service takes.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The body is not sent as application/json.",
    HTTPStatus.UNPROCESSABLE_ENTITY: (
        "Fields are not as they must be (`errors` says which), name something that does not "
        "exist or cannot be, or the Idempotency-Key belongs to another request."
    ),
    HTTPStatus.INTERNAL_SERVER_ERROR: "A fault of ours; nothing was changed.",
    HTTPStatus.SERVICE_UNAVAILABLE: "Something needed is away; send the same request again.",
}
#: The header that a problem answer always has, and what it says.
HEADERS = {
    HTTPStatus.SERVICE_UNAVAILABLE: ("Retry-After", "Seconds to wait before the next try."),
}
#: Seconds after which a client may try again when something of ours is away.
RETRY_AFTER = 2
#: PostgreSQL's query_canceled: the statement ran into its time-out.
_CANCELLED = "57014"


class ProblemSchema(ResponseSchema):
    """What went wrong and what to do next (RFC 9457); a type may have members of its own."""

    class Meta:
        # Else the document forbids the members that some types have.
        unknown = INCLUDE

    type = fields.String(required=True, metadata={"description": "Stable name of the problem."})
    title = fields.String(required=True, metadata={"description": "The same for each type."})
    status = fields.Integer(required=True, metadata={"description": "The HTTP status."})
    detail = fields.String(metadata={"description": "What happened, and what to do next."})
    request_id = fields.String(metadata={"description": "Names this request in our logs."})
    errors = fields.Raw(metadata={"description": "What is wrong, by field."})


class Json(DefaultJSONProvider):
    """Flask's JSON, with moments as RFC 3339 and keys in their own order."""

    sort_keys = False

    @staticmethod
    def default(value: Any) -> Any:
        """Return what JSON can hold for `value`."""
        if isinstance(value, datetime):
            return rfc3339(value)
        if isinstance(value, date):
            return value.isoformat()
        return DefaultJSONProvider.default(value)


def status_of(error: errors.FarmgateError) -> int:
    """Return the HTTP status of an error, by the nearest of its bases in the table."""
    return next(STATUS[base] for base in type(error).__mro__ if base in STATUS)


def problem(status: int, slug: str, detail: str, **members: Any) -> Response:
    """Return a problem answer; `members` come with it but replace none of its own."""
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
    """Return the problem answer for one of our own errors."""
    status = status_of(error)
    response = problem(status, slug_of(type(error).__name__), error.detail, **error.extra)
    if isinstance(error, InvalidToken):
        # RFC 6750: no error code for a request that brought no token at all.
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
        500, "internal", "Something failed on our side. Nothing was changed; tell the operator."
    )


def register(app: flask.Flask) -> None:
    """Let the application answer our errors, a database that is away, and faults of ours."""

    @app.errorhandler(errors.FarmgateError)
    def known(error: errors.FarmgateError) -> Response:
        return answer_of(error) if status_of(error) != 500 else _internal(error)

    @app.errorhandler(HTTPException)
    def raised(error: HTTPException) -> Response:
        # What Flask and its router raise.
        if error.response is not None:  # a redirection, or an answer made by hand
            return flask.make_response(error.response)
        status = error.code or 500
        if status == 500:
            return _internal(error)
        response = problem(status, slug_of(type(error).__name__), error.description or error.name)
        # Allow of a 405, Retry-After of a 429.
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
            503, "unavailable", "The database is away or busy; send the same request again."
        )

    @app.errorhandler(Exception)
    def unknown(error: Exception) -> Response:
        return _internal(error)
