"""What commands show people: results on stdout, progress and troubles on stderr, all plain text."""

import json
import sys
from typing import Any

import click
from rich.console import Console
from rich.progress import ProgressColumn, Task
from rich.table import Table
from rich.text import Text

from farmgate.failures import Failed
from farmgate.printing import lost
from shared.runtime.plain import plain, plain_lines

#: Columns of a table that is piped or written to a file; a terminal says its own.
WIDTH = 110

#: A text, a text and its style, or one that is painted already.
Part = str | tuple[str, str] | Text


class _Console(Console):
    """A console that takes a text for what it is: no markup, no emoji, no controls."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a text to print, plain."""
        return super().render_str(plain(text), **options)


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    # None: it was closed before the command began.
    width = None if stream is not None and stream.isatty() else WIDTH
    return _Console(stderr=stderr, highlight=False, markup=False, emoji=False, width=width)


out = _console(stderr=False)
err = _console(stderr=True)


def painted(*parts: Part) -> Text:
    """Return one line of plain parts; one with a style is shown in it."""
    line = Text()
    for part in parts:
        if isinstance(part, Text):
            line.append_text(part)
        else:
            text, style = (part, "") if isinstance(part, str) else part
            line.append(plain(text), style)
    return line


WELL, WRONG = painted(("✓", "green")), painted(("✗", "red"))


def say(*parts: Part, console: Console = out) -> None:
    """Print one line, however long."""
    console.print(painted(*parts), soft_wrap=True)


def show_table(table: Table) -> None:
    """Print the table that a command is asked for.

    Raises:
        Failed: it could not be written.
    """
    out.print(table)
    check_written()


def say_json(value: Any, indent: int | None = None) -> None:
    """Print as JSON what was done; its texts are plain."""
    is_unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    print(plain_lines(json.dumps(value, ensure_ascii=not is_unicode, indent=indent)), flush=True)


def show_json(value: Any) -> None:
    """Print as JSON what a command is asked for.

    Raises:
        Failed: it could not be written.
    """
    say_json(value, indent=2)
    check_written()


def ask(question: str, *, abort: bool = False) -> bool:
    """Ask a person yes or no, on stderr; with `abort` a no ends the command."""
    return click.confirm(plain(question), abort=abort, err=True)  # noqa: TID251


def check_written() -> None:
    """Check that the results which a command is asked for are not lost.

    Raises:
        Failed: they are, as on a full disk.
    """
    if reason := lost():
        raise Failed(f"The output could not be written: {reason}.")


class Label(ProgressColumn):
    """What a progress bar is about, plain, in at least so many columns."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def render(self, task: Task) -> Text:
        """Return the text before the bar."""
        return Text(f"{plain(task.description):<{self.width}}")
