"""Parses requests: strict JSON, known fields only, and each flaw named in the answer."""

from collections.abc import Mapping
from typing import Any, NoReturn

import flask_smorest
from flask import Request, request
from marshmallow import Schema, ValidationError, fields
from webargs.core import missing
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import RequestEntityTooLarge

from shared.runtime import strict_json
from shared.runtime.errors import BadRequest, Unprocessable
from shared.runtime.schemas import RequestSchema

#: Errors that one answer lists; a body of a megabyte can have a hundred thousand.
MOST_ERRORS = 100
#: Characters of an invalid key that are shown.
_LONGEST_KEY = 100


class UnreadableBody(BadRequest):
    """Raised when a request's body is missing or is no valid JSON."""


class UnsupportedBody(BadRequest):
    """Raised when the type of a request's body is not application/json (415)."""


class ValidationFailed(Unprocessable):
    """Raised when fields are missing, unknown or invalid; `errors` lists them."""


class Parser(FlaskParser):
    """webargs' parser with strict JSON and our errors; the schema decides about unknown fields."""

    #: None: the schema decides; webargs would drop unknown query parameters.
    DEFAULT_UNKNOWN_BY_LOCATION: dict[str, str | None] = {  # noqa: RUF012
        **FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION,
        "query": None,
        "querystring": None,
    }

    def load_json(self, req: Request, schema: Schema) -> Any:
        """Return the request's JSON; without a body `missing`, so that each missing field is named.

        Raises:
            UnsupportedBody: the body has another type.
            UnreadableBody: it is no JSON in UTF-8, or has a repeated key; or there is no body, and
                the schema has no required field.
        """
        body = req.get_data(cache=True)
        if not body:
            if not any(field.required for field in schema.load_fields.values()):
                raise UnreadableBody("The request has no body; send JSON, at least {}.")
            return missing
        if not req.is_json:
            raise UnsupportedBody("Send the body with `Content-Type: application/json`.")
        flaws_are_kept = isinstance(schema, RequestSchema) and schema.KEEPS_FLAWED
        try:
            found = (strict_json.read_flawed if flaws_are_kept else strict_json.read)(body)
            if flaws_are_kept and isinstance(found, dict):
                strict_json.refuse_repeated(found)
            return found
        except ValueError as error:
            raise UnreadableBody(f"The body is not valid JSON in UTF-8: {error}.") from error

    def load_querystring(self, req: Request, schema: Schema) -> Any:
        """Return the query parameters; only parameters with a list may be repeated.

        Raises:
            ValidationFailed: another parameter is repeated, and either value would be a guess.
        """
        lists = {
            field.data_key or name
            for name, field in schema.load_fields.items()
            if isinstance(field, fields.List)
        }
        twice = [name for name, values in req.args.lists() if len(values) > 1 and name not in lists]
        if twice:
            raise _validation_failed({name: ["Appears twice; send it once."] for name in twice})
        return super().load_querystring(req, schema)

    def handle_error(
        self,
        error: ValidationError,
        req: Request,
        schema: Schema,
        *,
        error_status_code: int | None,
        error_headers: Mapping[str, str] | None,
    ) -> NoReturn:
        """Refuse the request with its errors by field.

        Raises:
            ValidationFailed: always.
        """
        found = error.messages
        if isinstance(found, dict) and len(found) == 1:
            (found,) = found.values()  # webargs groups the fields by location (json, query)
        raise _validation_failed(found) from error


def refuse_invalid(error: ValidationError) -> NoReturn:
    """Refuse a request that a view validated itself.

    Raises:
        ValidationFailed: always.
    """
    raise _validation_failed(error.messages) from error


def refuse_long_stream() -> None:
    """Refuse a body over the limit before it is parsed.

    Werkzeug truncates a chunked body without a length at the limit and passes it on as complete: an
    import would then read half a file.

    Raises:
        RequestEntityTooLarge: the body is larger than the limit.
    """
    limit = request.max_content_length
    if limit is None:
        return
    if request.content_length is not None:
        too_long = request.content_length > limit
    else:
        too_long = len(request.get_data()) >= limit and bool(request.environ["wsgi.input"].read(1))
    if too_long:
        raise RequestEntityTooLarge(
            f"The body is larger than the limit of {limit} bytes; send it in parts."
        )


def validated(schema: Schema, found: Any) -> Any:
    """Return a part of a request's body as its schema loads it; other parts are not affected.

    Raises:
        ValidationFailed: fields are missing, unknown or invalid.
    """
    try:
        return schema.load(found)
    except ValidationError as error:
        raise _validation_failed(error.messages) from error


def _validation_failed(found: Any) -> ValidationFailed:
    left = [MOST_ERRORS]
    shown = _first_of(found, left)
    more = " Only the first errors are listed." if left[0] < 0 else ""
    return ValidationFailed(
        f"Some fields are invalid; `errors` lists them with the reason.{more}", errors=shown
    )


def _first_of(found: Any, left: list[int]) -> Any:
    """Return the first messages of a tree; `left` counts down the messages that still fit."""
    if not isinstance(found, dict):
        left[0] -= 1
        return found
    shown = {}
    for key, inner in found.items():
        if left[0] <= 0:
            left[0] = -1
            break
        shown[str(key)[:_LONGEST_KEY]] = _first_of(inner, left)
    return shown


class Blueprint(flask_smorest.Blueprint):
    """Routes of a service, with our parser for requests."""

    ARGUMENTS_PARSER = Parser()

    def arguments(self, schema: type[Schema], **options: Any) -> Any:
        """Parse the arguments of a view by `schema`.

        One instance for all requests: webargs would copy the fields of a class for each of them.
        """
        return super().arguments(schema(), **options)
