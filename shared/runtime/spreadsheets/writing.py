"""Write a sheet such that a spreadsheet program opens it, and an import takes it as it is."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from shared.runtime.spreadsheets.cells import written


def write(columns: Iterable[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return CSV with a header; no cell can be taken for a formula.

    It begins with a byte order mark, without which Excel takes UTF-8 for something else.
    """
    out = io.StringIO(newline="")
    out.write("\ufeff")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([written(cell) for cell in row] for row in rows)
    return out.getvalue()
