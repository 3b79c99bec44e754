"""Lock the data folder: two processes on the same SQLite files would both run relays."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from farmgate.failures import Failed


@contextmanager
def lock_data_folder(data: Path) -> Iterator[None]:
    """Hold the data folder's lock, which the system releases when the process ends.

    Only the folder's owner may read the databases in it.

    Raises:
        Failed: another process holds the lock, or the folder cannot be written.
    """
    try:
        data.mkdir(parents=True, exist_ok=True)
        _remove_others_permissions(data)
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


def _remove_others_permissions(data: Path) -> None:
    """Remove others' permissions, which version 0.1 gave them: databases hold personal data."""
    if not (data / "keys").exists():
        return  # Not a data folder yet: it may hold other files.
    for path in (data, *data.glob("*.db*")):
        path.chmod(path.stat().st_mode & ~0o077)
