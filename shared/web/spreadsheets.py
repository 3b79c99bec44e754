"""Routes that take and give CSV files: their limits, how they are documented, what they answer."""

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

#: What every description of such routes says.
GUIDE = (
    "CSV files with a header, at most 20,000 rows. Encoding, separator and the form of dates are "
    "told from the file, or named where they have two readings. A column that a file does not "
    "have leaves its values as they are; an empty cell clears one. All rows are imported or none; "
    "mistakes are listed by line and column, at once for the whole file. With `dry_run` they are "
    "only listed, beside what would change."
)
#: Seconds for 20,000 rows that are all new, on a busy machine; a quiet one needs a quarter.
SECONDS = 120

Import = Callable[[Sheet, bool], Outcome]
Rows = Callable[[Session], Iterable[Sequence[Any]]]


def importing(
    blp: Blueprint, kind: str, needs: str, columns: Mapping[str, Column], example: str
) -> Callable[[Import], Callable[..., Outcome]]:
    """Make a function of a sheet and `dry_run` the route `POST /imports/<kind>`.

    The file is read before the function opens its transaction. `example` is a row: no schema
    describes CSV. The route raises what `_sheet` raises.
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
    """Make a function that reads rows the route `GET /exports/<kind>.csv`, a file to save."""

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
    """Return what the present request's file says.

    Raises:
        NotCsv: it is not sent as CSV, or is none.
        WrongEncoding: it is not in the encoding that is named.
    """
    if request.mimetype not in ("text/csv", "text/tab-separated-values"):
        raise NotCsv("Send the file with Content-Type: text/csv.")
    return read(request.get_data(), columns, Form(encoding, separator, dates))


class ImportRequest(RequestSchema):
    """How to import, and the form of the file where it cannot be told from the file."""

    dry_run = fields.Boolean(
        load_default=False,
        metadata={
            "description": "true: list mistakes and changes and count the rows, change nothing."
        },
    )
    encoding = fields.String(
        load_default=None,
        validate=validate.OneOf(list(CODECS)),
        metadata={"description": "Told from the file unless named."},
    )
    separator = fields.String(
        load_default=None,
        validate=validate.OneOf(list(SEPARATORS)),
        metadata={"description": "Told from the header unless named."},
    )
    dates = fields.String(
        load_default=None,
        validate=validate.OneOf(("dmy", "mdy")),
        metadata={"description": "The order in dates such as 5/11/2026, which has two readings."},
    )


class LineErrorResponse(ResponseSchema):
    """One mistake in a file: in which line (the first is 1) and column, and what to do."""

    line = fields.Integer(required=True)
    column = fields.String(required=True, allow_none=True)
    message = fields.String(required=True)


class ChangeResponse(ResponseSchema):
    """A value that was there before and is, or (dry run) would be, another after the import."""

    line = fields.Integer(required=True)
    name = fields.String(required=True)
    column = fields.String(required=True)
    before = fields.Raw(required=True, allow_none=True)
    after = fields.Raw(required=True, allow_none=True)


class ImportResponse(ResponseSchema):
    """What an import did, or (dry run) would do; `errors` and `changes` list the first 500."""

    rows = fields.Integer(required=True)
    created = fields.Integer(required=True)
    changed = fields.Integer(required=True)
    unchanged = fields.Integer(required=True)
    dry_run = fields.Boolean(required=True)
    encoding = fields.String(required=True)
    separator = fields.String(required=True)
    errors = fields.List(fields.Nested(LineErrorResponse), required=True)
    changes = fields.List(fields.Nested(ChangeResponse), required=True)
