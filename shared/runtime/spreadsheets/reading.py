"""Reads a sheet line by line and lists every mistake with line and column."""

import csv
import io
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from marshmallow import Schema, ValidationError, fields

from shared.runtime.spreadsheets.cells import DateOrder, reader, unguarded
from shared.runtime.spreadsheets.encodings import codec_of
from shared.runtime.spreadsheets.outcome import LineError, Outcome
from shared.runtime.text import normalised

#: Rows of one file at most; the user splits a longer file.
MOST_ROWS = 20_000
#: Bytes of one file at most: 20,000 rows of 400 bytes.
MOST_BYTES = 8 * 1024 * 1024
#: Columns of one file at most, ten times the columns of the largest import.
MOST_COLUMNS = 200
#: Mistakes after which reading stops.
_MOST_ERRORS = 2000

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t"}


@dataclass(frozen=True)
class Column:
    """A column of a sheet: a field of an HTTP schema. A `required` one must be in every file."""

    field: fields.Field[Any]
    required: bool


@dataclass(frozen=True)
class Form:
    """The client's parameters for its file; None: detected from the file."""

    encoding: str | None = None
    separator: str | None = None
    dates: DateOrder | None = None


@dataclass(frozen=True)
class Row:
    """One valid row: its first line, and its values by column.

    An empty cell is None. A column that is not in the file is not in `cells`.
    """

    line: int
    cells: Mapping[str, Any]


@dataclass
class Sheet:
    """A file as read: the valid rows, and the mistakes in the others."""

    rows: list[Row] = field(default_factory=list)
    errors: list[LineError] = field(default_factory=list)
    encoding: str = ""
    separator: str = ""

    def outcome(self, dry_run: bool) -> Outcome:
        """Return the initial outcome of an import of this sheet."""
        return Outcome(
            rows=len(self.rows),
            errors=list(self.errors),
            dry_run=dry_run,
            encoding=self.encoding,
            separator=self.separator,
        )


def column(schema: type[Schema], name: str, required: bool | None = None) -> Column:
    """Return the column for the field `name` of an HTTP schema, with all its checks."""
    # From an instance of the schema: a field gets its last checks when it is bound.
    found = schema().load_fields[name]
    return Column(found, found.required if required is None else required)


def read(data: bytes, columns: Mapping[str, Column], form: Form) -> Sheet:
    """Read a file: its valid rows, and every mistake.

    Raises:
        NotCsv: it is a workbook, or its encoding cannot be detected.
        WrongEncoding: it is not in the named encoding.
    """
    sheet, line, names, records = _begin(data, columns, form)
    if not sheet.errors:
        sheet.errors += _header_errors(line, names, columns)
    if not sheet.errors:
        _read_rows(records, names, columns, form, sheet)
    return sheet


def header(data: bytes, known: Collection[str], form: Form) -> list[str]:
    """Return the names of a file's columns; the `known` names serve to detect the separator.

    Raises:
        NotCsv: it is a workbook, or its encoding cannot be detected.
        WrongEncoding: it is not in the named encoding.
    """
    return _begin(data, known, form)[2]


def _begin(
    data: bytes, known: Collection[str], form: Form
) -> tuple[Sheet, int, list[str], Iterator[tuple[int, list[str]]]]:
    """Return a sheet without rows, the header's line, its names, and the records below it."""
    codec = codec_of(data, form.encoding)
    sheet = Sheet(encoding=codec.removesuffix("-sig"))
    # Decoded piece by piece: the whole text would take four times the memory of the file.
    lines = io.TextIOWrapper(io.BytesIO(data), encoding=codec, newline="")
    above, first, named = _find_header(lines)
    separator = SEPARATORS[form.separator] if form.separator else named
    separator = separator or _separator_of(first, known)
    sheet.separator = next(word for word, sign in SEPARATORS.items() if sign == separator)
    records = _records(chain((first,), lines), separator, above, sheet)
    _, names = next(records, (1, []))
    while names and not names[-1].strip():
        names.pop()  # the header ends with separators
    if len(names) > MOST_COLUMNS:
        sheet.errors.append(LineError(above + 1, None, f"more than {MOST_COLUMNS} columns"))
        names = []
    return sheet, above + 1, [_column_name(name) for name in names], records


def _find_header(lines: io.TextIOWrapper) -> tuple[int, str, str | None]:
    """Return the number of lines above the header, its text, and Excel's `sep=` if there is one."""
    separator = None
    for above, line in enumerate(lines):
        text = line.strip(" \r\n\ufeff\"'")
        found = re.fullmatch(r"sep=([,;\t])", text, re.IGNORECASE)
        if found is not None:
            separator = found[1]
        elif text.strip(",;\t"):
            return above, line.lstrip("\ufeff"), separator
    return 0, "", separator


def _separator_of(header: str, known: Collection[str]) -> str:
    """Return the separator that splits the header into the most known names."""

    def known_names(sign: str) -> int:
        names = header.split(sign, MOST_COLUMNS)
        return sum(_column_name(name.strip(' "\r\n')) in known for name in names)

    return max(SEPARATORS.values(), key=known_names)


def _column_name(text: str) -> str:
    return re.sub(r"[ -]+", "_", normalised(text).casefold())


def _records(
    lines: Iterator[str], separator: str, above: int, sheet: Sheet
) -> Iterator[tuple[int, list[str]]]:
    """Yield each record with its first line; stop at malformed CSV."""
    records = csv.reader(lines, delimiter=separator, strict=True)
    while True:
        begins = above + records.line_num + 1
        try:
            record = next(records)
        except StopIteration:
            return
        except csv.Error as error:
            why = str(error)
            if "unexpected end of data" in why:
                why = "a quotation mark is not closed"
            sheet.errors.append(LineError(begins, None, f"not CSV: {why}"))
            return
        yield begins, record


def _header_errors(
    line: int, names: Sequence[str], columns: Mapping[str, Column]
) -> list[LineError]:
    there = ", ".join(columns)
    missing = [name for name, column in columns.items() if column.required and name not in names]
    unknown = [name for name in dict.fromkeys(names) if name not in columns]
    twice = [name for name in columns if names.count(name) > 1]
    return [
        *(LineError(line, name, "column is missing") for name in missing),
        *(LineError(line, name, f"unknown column; the columns are {there}") for name in unknown),
        *(LineError(line, name, "column appears twice") for name in twice),
    ]


def _read_rows(
    records: Iterator[tuple[int, list[str]]],
    names: Sequence[str],
    columns: Mapping[str, Column],
    form: Form,
    sheet: Sheet,
) -> None:
    decimal_comma = sheet.separator == "semicolon"
    readers: dict[str, Callable[[str], Any]] = {
        name: reader(columns[name].field, form.dates, decimal_comma) for name in names
    }
    count = 0
    for line, record in records:
        if not any(cell and not cell.isspace() for cell in record):
            continue  # separators only: a spreadsheet's empty row
        count += 1
        if count > MOST_ROWS:
            message = f"more than {MOST_ROWS} rows; split the file"
            sheet.errors.append(LineError(line, None, message))
            return
        if any(cell.strip() for cell in record[len(names) :]):
            sheet.errors.append(LineError(line, None, "more cells than columns in the header"))
            continue
        if len(sheet.errors) > _MOST_ERRORS:
            sheet.errors.append(LineError(line, None, "too many mistakes; the rest was not read"))
            return
        row: dict[str, Any] = {}
        mistakes = []
        for index, name in enumerate(names):
            text = record[index] if index < len(record) else ""
            try:
                row[name] = _value(text, columns[name], readers[name])
            except ValidationError as error:
                mistakes.append(LineError(line, name, " ".join(_texts(error.messages))))
            except ValueError as error:
                mistakes.append(LineError(line, name, str(error)))
        sheet.errors += mistakes
        if not mistakes:
            sheet.rows.append(Row(line, row))


def _value(text: str, column: Column, read_cell: Callable[[str], Any]) -> Any:
    if "\x00" in text:
        raise ValueError("contains a NUL character; type the cell again")
    text = normalised(unguarded(text.strip(" \u00a0\u3000")))
    if not text:
        if column.field.required:
            raise ValueError("is empty")
        return None
    return column.field.deserialize(read_cell(text))


def _texts(messages: Any) -> Iterator[str]:
    """Yield the messages of a validation error at all levels."""
    if isinstance(messages, str):
        yield messages
    else:
        for each in messages.values() if isinstance(messages, dict) else messages:
            yield from _texts(each)
