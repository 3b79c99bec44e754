"""How far a backup or a restore is, on the terminal."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TaskID, TimeElapsedColumn

from farmgate.backup.manifest import Show
from farmgate.backup.saving import Watch
from farmgate.console import Label, err


@contextmanager
def progress() -> Iterator[Watch]:
    """Show a bar for each service and step that is watched."""
    with Progress(
        Label(24),
        BarColumn(),
        TimeElapsedColumn(),
        console=err,
        transient=True,
    ) as bars:

        def watch(service: str, step: str) -> Show:
            task: TaskID = bars.add_task(f"{service}: {step}", total=None)
            return lambda done, total: bars.update(task, completed=done, total=total or None)

        yield watch
