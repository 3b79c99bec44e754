"""The outcome of an import or a dry run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from shared.runtime.clock import rfc3339
from shared.runtime.errors import Unprocessable

#: Mistakes and changes that are listed at most; more would not help to correct a file.
MOST_LISTED = 500


class ImportRefused(Unprocessable):
    """Raised when a file has mistakes; nothing was imported, and `errors` lists them."""


@dataclass(frozen=True)
class LineError:
    """One mistake: its line in the file (from 1) and column (None: the whole row)."""

    line: int
    column: str | None
    message: str


@dataclass(frozen=True)
class Change:
    """One changed value of an existing thing, before and after the import."""

    line: int
    name: str
    column: str
    before: Any
    after: Any


def _shown(value: Any) -> Any:
    """Return the JSON form of a value."""
    if isinstance(value, datetime):
        return rfc3339(value)
    return value.isoformat() if isinstance(value, date) else value


@dataclass
class Outcome:
    """The counts, changes and mistakes of an import, or of a dry run."""

    rows: int = 0
    created: int = 0
    changed: int = 0
    unchanged: int = 0
    errors: list[LineError] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    dry_run: bool = False
    encoding: str = ""
    separator: str = ""

    def add_error(self, line: int, column: str | None, message: str) -> None:
        """Add a mistake."""
        self.errors.append(LineError(line, column, message))

    def add_changes(
        self, line: int, name: str, before: Mapping[str, Any], after: Mapping[str, Any]
    ) -> bool:
        """Add the changed values of an existing thing; return whether there are any."""
        found = [key for key, value in after.items() if before[key] != value]
        self.changes += [
            Change(line, name, key, _shown(before[key]), _shown(after[key])) for key in found
        ]
        return bool(found)

    def refuse_errors(self) -> None:
        """Refuse a file with mistakes, unless this is a dry run.

        Raises:
            ImportRefused: with the mistakes, sorted by line.
        """
        self.errors.sort(key=lambda error: error.line)
        if self.errors and not self.dry_run:
            raise ImportRefused(
                f"{len(self.errors)} mistakes; nothing was imported. Correct these lines and send "
                "the file again.",
                errors=[vars(error) for error in self.errors[:MOST_LISTED]],
            )
