"""Routes for the import and export of CSV files: limits, documentation, schemas."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import Any, cast

from flask import Response, request
from marshmallow import fields, validate
from sqlalchemy.orm import Session

from shared.runtime.schemas import RequestSchema, ResponseSchema
from shared.runtime.spreadsheets import (
    CODECS,
    MOST_BYTES,
    SEPARATORS,
    Column,
    Form,
    NotCsv,
    Outcome,
    Sheet,
    read,
    write,
)
from shared.web.access import large, scope
from shared.web.requests import Blueprint
from shared.web.transactions import idempotent, reading

#: The description of all these routes.
GUIDE = (
    "CSV files with a header, at most 20,000 rows. Encoding, separator and order of dates are "
    "detected from the file; where they are ambiguous, the request must name them. Without a "
    "column its values stay as they are; an empty cell clears a value. Either all rows are "
    "imported or none; the answer lists the mistakes of the whole file by line and column. With "
    "`dry_run` nothing is imported, and the answer lists mistakes and changes."
)
#: Seconds for 20,000 new rows on a busy machine; an idle one needs a quarter.
SECONDS = 120

Import = Callable[[Sheet, bool], Outcome]
Rows = Callable[[Session], Iterable[Sequence[Any]]]


def importing(
    blp: Blueprint, kind: str, needs: str, columns: Mapping[str, Column], example: str
) -> Callable[[Import], Callable[..., Outcome]]:
    """Make a function of a sheet and `dry_run` the route `POST /imports/<kind>`.

    The file is read before the function opens its transaction. `example` is a row for the OpenAPI
    document. The route raises the errors of `_sheet`.
    """
    lines = "\n".join((",".join(columns), example, ""))
    body = {"required": True, "content": {"text/csv": {"example": lines}}}

    def decorate(work: Import) -> Callable[..., Outcome]:
        @blp.post(f"/imports/{kind}")
        @scope(needs)
        @large(MOST_BYTES, SECONDS)
        @idempotent
        @blp.arguments(ImportRequest, location="query")
        @blp.response(200, ImportResponse)
        @blp.doc(requestBody=body)
        @wraps(work)
        def route(import_in: dict[str, Any]) -> Outcome:
            dry_run = import_in.pop("dry_run")
            return work(_sheet(columns, **import_in), dry_run)

        return cast(Callable[..., Outcome], route)

    return decorate


def exporting(
    blp: Blueprint, kind: str, needs: str, columns: Iterable[str]
) -> Callable[[Rows], Callable[..., Response]]:
    """Make a function that reads rows the route `GET /exports/<kind>.csv`, a download."""

    def decorate(rows: Rows) -> Callable[..., Response]:
        @blp.get(f"/exports/{kind}.csv")
        @scope(needs)
        @blp.response(200, content_type="text/csv", schema={"type": "string"})
        @wraps(rows)
        def route() -> Response:
            with reading() as session:
                content = write(columns, rows(session))
            headers = {"Content-Disposition": f'attachment; filename="{kind}.csv"'}
            return Response(content, mimetype="text/csv", headers=headers)

        return cast(Callable[..., Response], route)

    return decorate


def _sheet(
    columns: Mapping[str, Column], encoding: str | None, separator: str | None, dates: Any
) -> Sheet:
    """Read the current request's file.

    Raises:
        NotCsv: the content type is not CSV, or the file is no CSV.
        WrongEncoding: it is not in the named encoding.
    """
    if request.mimetype not in ("text/csv", "text/tab-separated-values"):
        raise NotCsv("Send the file with Content-Type: text/csv.")
    return read(request.get_data(), columns, Form(encoding, separator, dates))


class ImportRequest(RequestSchema):
    """Parameters of an import; encoding, separator and dates are detected unless named."""

    dry_run = fields.Boolean(
        load_default=False,
        metadata={
            "description": "true: list mistakes and changes and count the rows, import nothing."
        },
    )
    encoding = fields.String(
        load_default=None,
        validate=validate.OneOf(list(CODECS)),
        metadata={"description": "Detected from the file unless named."},
    )
    separator = fields.String(
        load_default=None,
        validate=validate.OneOf(list(SEPARATORS)),
        metadata={"description": "Detected from the header unless named."},
    )
    dates = fields.String(
        load_default=None,
        validate=validate.OneOf(("dmy", "mdy")),
        metadata={"description": "The order of day and month in dates such as 5/11/2026."},
    )


class LineErrorResponse(ResponseSchema):
    """One mistake in a file: its line (from 1), its column, and the correction."""

    line = fields.Integer(required=True)
    column = fields.String(required=True, allow_none=True)
    message = fields.String(required=True)


class ChangeResponse(ResponseSchema):
    """A value of an existing thing that the import changed, or would change in a dry run."""

    line = fields.Integer(required=True)
    name = fields.String(required=True)
    column = fields.String(required=True)
    before = fields.Raw(required=True, allow_none=True)
    after = fields.Raw(required=True, allow_none=True)


class ImportResponse(ResponseSchema):
    """The result of an import or a dry run; `errors` and `changes` list the first 500."""

    rows = fields.Integer(required=True)
    created = fields.Integer(required=True)
    changed = fields.Integer(required=True)
    unchanged = fields.Integer(required=True)
    dry_run = fields.Boolean(required=True)
    encoding = fields.String(required=True)
    separator = fields.String(required=True)
    errors = fields.List(fields.Nested(LineErrorResponse), required=True)
    changes = fields.List(fields.Nested(ChangeResponse), required=True)
