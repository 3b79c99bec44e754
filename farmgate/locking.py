"""One `farmgate up` per data folder: two processes on the same SQLite files would both relay."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from farmgate.failures import Failed


@contextmanager
def alone_in(data: Path) -> Iterator[None]:
    """Hold the data folder; the lock ends with the process, however it ends.

    Raises:
        Failed: another process holds it, or it cannot be written.
    """
    try:
        data.mkdir(parents=True, exist_ok=True)
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
