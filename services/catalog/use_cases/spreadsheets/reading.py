"""Read CSV row by row, with every mistake named by row and column."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from shared.errors import Unprocessable

#: Rows of one file; a longer one is split by whoever sends it.
MOST_ROWS = 20_000
#: Mistakes that are listed; a file with more is wrong as a whole.
MOST_ERRORS = 500
#: Grams or pieces: a thousand tonnes, more than any one place holds.
MOST_QUANTITY = 1_000_000_000

_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,39}")


class ImportRefused(Unprocessable):
    """Raised when a file has mistakes; nothing of it was written, and `errors` lists them."""


@dataclass(frozen=True)
class RowError:
    """One mistake: in which row (the header is row 1) and column (None: the row as a whole)."""

    row: int
    column: str | None
    message: str


@dataclass
class Outcome:
    """What an import did, or would do."""

    rows: int = 0
    created: int = 0
    changed: int = 0
    unchanged: int = 0
    errors: list[RowError] = field(default_factory=list)
    dry_run: bool = False

    def refuse_if_wrong(self) -> None:
        """Refuse the file when it has mistakes and is not only tried.

        Raises:
            ImportRefused: with the mistakes.
        """
        if self.errors and not self.dry_run:
            raise ImportRefused(
                f"{len(self.errors)} mistakes; nothing was imported. Correct the rows and send "
                "the file again.",
                errors=[vars(error) for error in self.errors[:MOST_ERRORS]],
            )


@dataclass(frozen=True)
class Column:
    """How one column is read; `parse` gets the stripped text and raises ValueError."""

    parse: Callable[[str], Any]
    #: False: the cell may be empty, or the column missing; it is None then.
    required: bool = True


@dataclass(frozen=True)
class Row:
    """One row that could be read."""

    number: int
    cells: Mapping[str, Any]


def read_rows(text: str, columns: Mapping[str, Column]) -> tuple[list[Row], list[RowError]]:
    """Return the rows that could be read, and every mistake in the others."""
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    errors: list[RowError] = []
    rows: list[Row] = []
    number = 1
    try:
        errors.extend(_header_errors(reader.fieldnames or (), columns))
        if errors:
            return [], errors
        for number, cells in enumerate(reader, start=2):
            if number > MOST_ROWS + 1:
                errors.append(RowError(number, None, f"more than {MOST_ROWS} rows; split the file"))
                break
            _read_row(number, cells, columns, rows, errors)
    except csv.Error as error:
        errors.append(RowError(number + 1, None, f"no CSV: {error}"))
    return rows, errors


def _header_errors(names: Sequence[str], columns: Mapping[str, Column]) -> list[RowError]:
    required = {name for name, column in columns.items() if column.required}
    errors = [RowError(1, name, "column is missing") for name in sorted(required.difference(names))]
    errors += [
        RowError(1, name, f"column is not known; there are {', '.join(columns)}")
        for name in names
        if name not in columns
    ]
    errors += [
        RowError(1, name, "column is there twice") for name in names if names.count(name) > 1
    ]
    return errors


def _read_row(
    number: int,
    cells: Mapping[str | Any, Any],
    columns: Mapping[str, Column],
    rows: list[Row],
    errors: list[RowError],
) -> None:
    if None in cells:
        errors.append(RowError(number, None, "more cells than the header has columns"))
        return
    values: dict[str, Any] = {}
    wrong = False
    for name, column in columns.items():
        text = (cells.get(name) or "").strip()
        if "\x00" in text:
            errors.append(RowError(number, name, "has a NUL character"))
            wrong = True
        elif not text:
            values[name] = None
            if column.required:
                errors.append(RowError(number, name, "is empty"))
                wrong = True
        else:
            try:
                values[name] = column.parse(text)
            except ValueError as error:
                errors.append(RowError(number, name, str(error)))
                wrong = True
    if not wrong:
        rows.append(Row(number, values))


# --- How cells are read ----------------------------------------------------------------------


def code(text: str) -> str:
    """Read a code: letters, digits, `.`, `_`, `/`, `-`, at most 40."""
    if _CODE.fullmatch(text) is None:
        raise ValueError("is no code: up to 40 letters, digits, . _ / -")
    return text


def words(text: str) -> str:
    """Read a text of at most 200 characters."""
    if len(text) > 200:
        raise ValueError("is longer than 200 characters")
    return text


def day(text: str) -> date:
    """Read a calendar date such as 2025-07-31."""
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text) is None:
        raise ValueError("is no date such as 2025-07-31")
    return date.fromisoformat(text)


def yes_or_no(text: str) -> bool:
    """Read `yes` or `no`."""
    if text not in ("yes", "no"):
        raise ValueError("is neither yes nor no")
    return text == "yes"


def whole(least: int, most: int) -> Callable[[str], int]:
    """Return a reader of whole numbers from `least` to `most`."""

    def read(text: str) -> int:
        if re.fullmatch(r"-?[0-9]{1,18}", text) is None or not least <= int(text) <= most:
            raise ValueError(f"is no whole number from {least} to {most}")
        return int(text)

    return read


def one_of(*choices: str) -> Callable[[str], str]:
    """Return a reader of one of `choices`."""

    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"is none of {', '.join(choices)}")
        return text

    return read


# --- How rows are written ------------------------------------------------------------------------


def write_rows(columns: Iterable[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return CSV with a header; None is an empty cell, True and False are yes and no."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow(
            ("yes" if cell else "no") if isinstance(cell, bool) else cell for cell in row
        )
    return out.getvalue()
