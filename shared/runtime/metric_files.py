"""Files in which several processes of one service add their metrics up; they never grow.

A process writes into the files of the lowest number that no living process has. It goes on where
a dead one stopped: sums stay right, and there are never more files than processes at once. Their
room is taken before they are used, because a process that writes to a mapped file on a full disk
is ended by SIGBUS.
"""

import fcntl
import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from prometheus_client import multiprocess

#: Bytes of each file, by its kind. Labels come from closed sets, so this is enough for good;
#: tests/contracts/test_observability.py adds up what all labels of a service would take.
ROOM = {
    "counter": 1024 * 1024,
    "histogram": 1024 * 1024,
    "gauge_mostrecent": 64 * 1024,
    "gauge_livemostrecent": 64 * 1024,
}


class Numbers:
    """Says which number this process writes under; for `MultiProcessValue`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pid = self._lock = -1
        self._number = ""

    def __call__(self) -> str:
        """Return the number, another one after a fork.

        Raises:
            OSError: the folder cannot be written, or has no room.
        """
        if self._pid != os.getpid():
            if self._lock != -1:
                os.close(self._lock)  # The parent has the lock as well, and keeps it.
                self._lock = -1
            self._lock, self._number = _take(self._folder)
            self._pid = os.getpid()
        return self._number


def _take(folder: Path) -> tuple[int, str]:
    for number in map(str, count()):
        # Never deleted: two processes could then lock two files of one name.
        lock = os.open(folder / f"{number}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            # The system releases it when the process ends, however it ends.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _reserve(folder, number)
        except BlockingIOError:
            os.close(lock)
        except BaseException:
            os.close(lock)
            raise
        else:
            return lock, number
    raise AssertionError("numbers end")


def _reserve(folder: Path, number: str) -> None:
    # What the dead process said of itself is no longer true.
    multiprocess.mark_process_dead(number, str(folder))  # type: ignore[no-untyped-call]
    files = dict(_files(folder, number))
    try:
        for path, room in files.items():
            with path.open("ab") as file:
                # Written and not only said: a file with holes gets its room when it is used.
                file.write(bytes(max(0, room - file.tell())))
    except OSError:
        for path in files:
            path.unlink(missing_ok=True)
        raise


def _files(folder: Path, number: str) -> Iterator[tuple[Path, int]]:
    for kind, room in ROOM.items():
        yield folder / f"{kind}_{number}.db", room
