"""What an import did, or would do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from shared.runtime.clock import rfc3339
from shared.runtime.errors import Unprocessable

#: Mistakes, and changes, that are listed; a file with more is wrong, or new, as a whole.
MOST_LISTED = 500


class ImportRefused(Unprocessable):
    """Raised when a file has mistakes; nothing of it was written, and `errors` lists them."""


@dataclass(frozen=True)
class LineError:
    """One mistake: in which line of the file (from 1) and column (None: the row as a whole)."""

    line: int
    column: str | None
    message: str


@dataclass(frozen=True)
class Change:
    """One value of something that was there before, and what the file makes of it."""

    line: int
    name: str
    column: str
    before: Any
    after: Any


def _shown(value: Any) -> Any:
    """Return a value as JSON has it."""
    if isinstance(value, datetime):
        return rfc3339(value)
    return value.isoformat() if isinstance(value, date) else value


@dataclass
class Outcome:
    """What an import did, or (dry run) would do."""

    rows: int = 0
    created: int = 0
    changed: int = 0
    unchanged: int = 0
    errors: list[LineError] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    dry_run: bool = False
    encoding: str = ""
    separator: str = ""

    def wrong(self, line: int, column: str | None, message: str) -> None:
        """Note a mistake."""
        self.errors.append(LineError(line, column, message))

    def differ(
        self, line: int, name: str, before: Mapping[str, Any], after: Mapping[str, Any]
    ) -> bool:
        """Note what the file changes of something that is there; tell whether it changes any."""
        found = [key for key, value in after.items() if before[key] != value]
        self.changes += [
            Change(line, name, key, _shown(before[key]), _shown(after[key])) for key in found
        ]
        return bool(found)

    def refuse_if_wrong(self) -> None:
        """Refuse the file when it has mistakes and is not only tried.

        Raises:
            ImportRefused: with the mistakes, in the order of their lines.
        """
        self.errors.sort(key=lambda error: error.line)
        if self.errors and not self.dry_run:
            raise ImportRefused(
                f"{len(self.errors)} mistakes; nothing was imported. Correct these lines and send "
                "the file again.",
                errors=[vars(error) for error in self.errors[:MOST_LISTED]],
            )
