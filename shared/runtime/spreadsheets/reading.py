"""Read a sheet line by line, with every mistake named by line and column."""

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

#: Rows of one file; a longer one is split by whoever sends it.
MOST_ROWS = 20_000
#: Bytes of one file: 20,000 rows of 400.
MOST_BYTES = 8 * 1024 * 1024
#: Columns of one file, ten times what any importer knows. A line of commas costs no more.
MOST_COLUMNS = 200
#: Mistakes after which nobody needs more of them.
_MOST_ERRORS = 2000

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t"}


@dataclass(frozen=True)
class Column:
    """A column of a sheet: a field of an HTTP schema; `required`: it must be in every file."""

    field: fields.Field[Any]
    required: bool


@dataclass(frozen=True)
class Form:
    """What a client says about its file; None: told from the file."""

    encoding: str | None = None
    separator: str | None = None
    dates: DateOrder | None = None


@dataclass(frozen=True)
class Row:
    """One row that could be read: the line where it begins, and the columns that the file has.

    An empty cell is None. A column that the file does not have is not in `cells`.
    """

    line: int
    cells: Mapping[str, Any]


@dataclass
class Sheet:
    """What a file says: rows that could be read, and the mistakes in the others."""

    rows: list[Row] = field(default_factory=list)
    errors: list[LineError] = field(default_factory=list)
    encoding: str = ""
    separator: str = ""

    def outcome(self, dry_run: bool) -> Outcome:
        """Return the outcome with which an import of the sheet begins."""
        return Outcome(
            rows=len(self.rows),
            errors=list(self.errors),
            dry_run=dry_run,
            encoding=self.encoding,
            separator=self.separator,
        )


def column(schema: type[Schema], name: str, required: bool | None = None) -> Column:
    """Return the column that is the field `name` of an HTTP schema, with all its checks."""
    # From a schema's instance, since a field gets its last checks when it is bound to one.
    found = schema().load_fields[name]
    return Column(found, found.required if required is None else required)


def read(data: bytes, columns: Mapping[str, Column], form: Form) -> Sheet:
    """Return what a file says, and every mistake in it.

    Raises:
        NotCsv: it is a workbook, or its encoding cannot be told.
        WrongEncoding: it is not in the one that is named.
    """
    sheet, line, names, records = _begin(data, columns, form)
    if not sheet.errors:
        sheet.errors += _header_errors(line, names, columns)
    if not sheet.errors:
        _read_rows(records, names, columns, form, sheet)
    return sheet


def header(data: bytes, known: Collection[str], form: Form) -> list[str]:
    """Return the names of a file's columns; `known` ones tell the separator.

    Raises:
        NotCsv: it is a workbook, or its encoding cannot be told.
        WrongEncoding: it is not in the one that is named.
    """
    return _begin(data, known, form)[2]


def _begin(
    data: bytes, known: Collection[str], form: Form
) -> tuple[Sheet, int, list[str], Iterator[tuple[int, list[str]]]]:
    """Return a sheet without rows, the header's line, its names, and the records below it."""
    codec = codec_of(data, form.encoding)
    sheet = Sheet(encoding=codec.removesuffix("-sig"))
    # Decoded piece by piece: the text as a whole would be four times as large as the file.
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
    """Return how many lines are above the header, its line, and the separator that Excel named."""
    separator = None
    for above, line in enumerate(lines):
        text = line.strip(" \r\n\ufeff\"'")
        says = re.fullmatch(r"sep=([,;\t])", text, re.IGNORECASE)
        if says is not None:
            separator = says[1]
        elif text.strip(",;\t"):
            return above, line.lstrip("\ufeff"), separator
    return 0, "", separator


def _separator_of(header: str, known: Collection[str]) -> str:
    """Return the separator by which most names of the header are those of columns."""

    def names_known(sign: str) -> int:
        names = header.split(sign, MOST_COLUMNS)
        return sum(_column_name(name.strip(' "\r\n')) in known for name in names)

    return max(SEPARATORS.values(), key=names_known)


def _column_name(text: str) -> str:
    return re.sub(r"[ -]+", "_", normalised(text).casefold())


def _records(
    lines: Iterator[str], separator: str, above: int, sheet: Sheet
) -> Iterator[tuple[int, list[str]]]:
    """Give each record with the line where it begins; what is no CSV ends them."""
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
                why = "a quotation mark is opened and not closed"
            sheet.errors.append(LineError(begins, None, f"no CSV: {why}"))
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
        *(LineError(line, name, f"column is not known; there are {there}") for name in unknown),
        *(LineError(line, name, "column is there twice") for name in twice),
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
            sheet.errors.append(LineError(line, None, "more cells than the header has columns"))
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
        raise ValueError("has a NUL character; type the cell again")
    text = normalised(unguarded(text.strip(" \u00a0\u3000")))
    if not text:
        if column.field.required:
            raise ValueError("is empty")
        return None
    return column.field.deserialize(read_cell(text))


def _texts(messages: Any) -> Iterator[str]:
    """Give the sentences of a validation error, however deep they lie."""
    if isinstance(messages, str):
        yield messages
    else:
        for each in messages.values() if isinstance(messages, dict) else messages:
            yield from _texts(each)
