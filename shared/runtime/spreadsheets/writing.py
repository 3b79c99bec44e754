"""Writes a sheet that spreadsheet programs can open and imports can read unchanged."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from shared.runtime.spreadsheets.cells import written


def write(columns: Iterable[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return CSV with a header; no program takes a cell for a formula.

    It begins with a byte order mark: without one, Excel does not detect UTF-8.
    """
    out = io.StringIO(newline="")
    out.write("\ufeff")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([written(cell) for cell in row] for row in rows)
    return out.getvalue()
