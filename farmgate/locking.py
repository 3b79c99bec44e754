"""One `farmgate up` per data folder: two processes on the same SQLite files would both relay.

What is in the folder is for its user only.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from farmgate.failures import Failed


@contextmanager
def lock_data_folder(data: Path) -> Iterator[None]:
    """Hold the data folder; the lock ends with the process, however it ends.

    Raises:
        Failed: another process holds it, or it cannot be written.
    """
    try:
        data.mkdir(parents=True, exist_ok=True)
        _close_to_others(data)
        opened = (data / "up.lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise Failed(
            f"{data} cannot be written: {error.strerror}. Set FARMGATE_DATA to a folder of yours."
        ) from error
    with opened as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            pid = file.read().strip() or "unknown"
            raise Failed(
                f"Process {pid} already runs on {data}. Stop it (kill {pid}), "
                "or set FARMGATE_DATA to another folder."
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _close_to_others(data: Path) -> None:
    """Take from others what the version before let them read: databases with names and phones."""
    if not (data / "keys").exists():
        return  # Not made by us yet: it may be a folder with other things in it.
    for path in (data, *data.glob("*.db*")):
        path.chmod(path.stat().st_mode & ~0o077)
