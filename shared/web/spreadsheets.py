"""Routes that take and give CSV files: their limits, how they are documented, what they answer."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flask import Response, request
from marshmallow import fields, validate

from shared.schemas import RequestSchema, ResponseSchema
from shared.spreadsheets import (
    CODECS,
    MOST_BYTES,
    SEPARATORS,
    Column,
    Form,
    NotCsv,
    Sheet,
    read,
    write,
)
from shared.web.access import large

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

#: Let a route take a file.
takes_file = large(MOST_BYTES, SECONDS)


def file(*lines: str) -> dict[str, Any]:
    """Return how the document explains a file: by an example, since no schema describes CSV."""
    return {"required": True, "content": {"text/csv": {"example": "\n".join((*lines, ""))}}}


def sheet(
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


def answer(columns: Iterable[str], rows: Iterable[Sequence[Any]], name: str) -> Response:
    """Return rows as a file to save."""
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return Response(write(columns, rows), mimetype="text/csv", headers=headers)


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
