"""Progress bars of a backup or a restore."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TaskID, TimeElapsedColumn

from farmgate.backup.creating import Reporter
from farmgate.backup.manifest import OnProgress
from farmgate.console import Label, err


@contextmanager
def progress_bars() -> Iterator[Reporter]:
    """Show a bar for each service and step that is reported."""
    with Progress(
        Label(24),
        BarColumn(),
        TimeElapsedColumn(),
        console=err,
        transient=True,
    ) as bars:

        def report(service: str, step: str) -> OnProgress:
            task: TaskID = bars.add_task(f"{service}: {step}", total=None)
            return lambda done, total: bars.update(task, completed=done, total=total or None)

        yield report
