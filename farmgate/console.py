"""Output of commands: results on stdout, progress and errors on stderr, without markup."""

import json
import sys
from typing import Any

import click
from rich.console import Console
from rich.progress import ProgressColumn, Task
from rich.table import Table
from rich.text import Text

from farmgate.failures import Failed
from farmgate.printing import write_error
from shared.runtime.plain import plain, plain_lines

#: Columns of a table that is piped or written to a file; a terminal has its own width.
WIDTH = 110

#: A text, a text with its style, or a styled text.
Part = str | tuple[str, str] | Text


class _Console(Console):
    """A console that prints text literally: no markup, no emoji, no control characters."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Return the text without control characters."""
        return super().render_str(plain(text), **options)


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    # The stream is None if it was closed before the command began.
    width = None if stream is not None and stream.isatty() else WIDTH
    return _Console(stderr=stderr, highlight=False, markup=False, emoji=False, width=width)


out = _console(stderr=False)
err = _console(stderr=True)


def painted(*parts: Part) -> Text:
    """Join parts into one line, each in its style."""
    line = Text()
    for part in parts:
        if isinstance(part, Text):
            line.append_text(part)
        else:
            text, style = (part, "") if isinstance(part, str) else part
            line.append(plain(text), style)
    return line


OK, WRONG = painted(("✓", "green")), painted(("✗", "red"))


def echo(*parts: Part, console: Console = out) -> None:
    """Print one line without wrapping."""
    console.print(painted(*parts), soft_wrap=True)


def show_table(table: Table) -> None:
    """Print a table that is the result of a command.

    Raises:
        Failed: it could not be written.
    """
    out.print(table)
    check_written()


def echo_json(value: Any, indent: int | None = None) -> None:
    """Print JSON without control characters; a failed write is ignored."""
    is_unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    print(plain_lines(json.dumps(value, ensure_ascii=not is_unicode, indent=indent)), flush=True)


def show_json(value: Any) -> None:
    """Print JSON that is the result of a command.

    Raises:
        Failed: it could not be written.
    """
    echo_json(value, indent=2)
    check_written()


def confirm(question: str, *, abort: bool = False) -> bool:
    """Ask yes or no on stderr; with `abort`, a no ends the command."""
    return click.confirm(plain(question), abort=abort, err=True)  # noqa: TID251


def check_written() -> None:
    """Check that all output was written.

    Raises:
        Failed: output was lost, such as on a full disk.
    """
    if reason := write_error():
        raise Failed(f"The output could not be written: {reason}.")


class Label(ProgressColumn):
    """The description of a progress bar, in at least `width` columns."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def render(self, task: Task) -> Text:
        """Return the text before the bar."""
        return Text(f"{plain(task.description):<{self.width}}")
