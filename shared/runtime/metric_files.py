"""The files in which several processes of one service add up their metrics; their size is fixed.

A process takes the lowest number that no living process holds, and goes on with that number's
files: sums stay right, and there are never more sets of files than concurrent processes. Disk space
is allocated first, because SIGBUS ends a process that writes to a mapped file on a full disk.
"""

import fcntl
import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from prometheus_client import multiprocess

#: Bytes of each file, by its kind. Labels come from closed sets, so the size is sufficient;
#: tests/contracts/test_observability.py adds up the bytes of all labels of a service.
ROOM = {
    "counter": 1024 * 1024,
    "histogram": 1024 * 1024,
    "gauge_mostrecent": 64 * 1024,
    "gauge_livemostrecent": 64 * 1024,
}


class ProcessNumber:
    """The number of this process's metric files; for `MultiProcessValue`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pid = self._lock = -1
        self._number = ""

    def __call__(self) -> str:
        """Return the number; a forked child takes another.

        Raises:
            OSError: the folder cannot be written, or has no room.
        """
        if self._pid != os.getpid():
            if self._lock != -1:
                os.close(self._lock)  # The parent shares the lock and keeps it.
                self._lock = -1
            self._lock, self._number = _take(self._folder)
            self._pid = os.getpid()
        return self._number


def _take(folder: Path) -> tuple[int, str]:
    for number in map(str, count()):
        # Never deleted: otherwise two processes could lock two files of the same name.
        lock = os.open(folder / f"{number}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            # The kernel releases it when the process ends, also if it is killed.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _reserve(folder, number)
        except BlockingIOError:
            os.close(lock)
        except BaseException:
            os.close(lock)
            raise
        else:
            return lock, number
    raise AssertionError("unreachable")


def _reserve(folder: Path, number: str) -> None:
    # Live gauges of the dead process are no longer true.
    multiprocess.mark_process_dead(number, str(folder))  # type: ignore[no-untyped-call]
    files = dict(_files(folder, number))
    try:
        for path, room in files.items():
            with path.open("ab") as file:
                # Zeros are written: a sparse file would get its space only when it is used.
                file.write(bytes(max(0, room - file.tell())))
    except OSError:
        for path in files:
            path.unlink(missing_ok=True)
        raise


def _files(folder: Path, number: str) -> Iterator[tuple[Path, int]]:
    for kind, room in ROOM.items():
        yield folder / f"{kind}_{number}.db", room
