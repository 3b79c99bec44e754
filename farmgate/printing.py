"""Printing that never raises, for all commands.

The exit code tells what a command did, not whether its output could be encoded, stored or read.
"""

import codecs
import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from shared.runtime.plain import escaped, plain

#: What these say in an encoding that lacks them, such as GBK or ASCII.
SPELLED = {"¥": "CNY ", "✓": "ok", "✗": "wrong:", "–": "-", "…": "..."}


def say(text: str) -> None:
    """Print one plain line."""
    print(plain(text), flush=True)


def lost() -> str | None:
    """Return why results could not be written, such as to a full disk; None: nothing is missing.

    A reader that closed the pipe (`| head`) has what it wanted.
    """
    error = getattr(getattr(sys.stdout, "buffer", None), "lost", None)
    return error.strerror if isinstance(error, OSError) and error.errno != errno.EPIPE else None


@contextmanager
def never_failing() -> Iterator[None]:
    """Let nothing that is printed meanwhile raise, whatever the encoding and the streams are."""
    # A closed number would be given to the next file or connection, and printed into.
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    before = sys.stdin, sys.stdout, sys.stderr
    sys.stdin = sys.stdin or io.StringIO()
    sys.stdout, sys.stderr = _safe(sys.stdout), _safe(sys.stderr)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdin, sys.stdout, sys.stderr = before


def _safe(stream: TextIO | None) -> TextIO:
    stream = stream or io.TextIOWrapper(io.FileIO(os.devnull, "w"), encoding="utf-8")
    never_failing: Any = _NeverFailingStream(stream)
    return io.TextIOWrapper(
        never_failing, encoding=stream.encoding, errors="farmgate", line_buffering=True
    )


class _NeverFailingStream(io.BufferedIOBase):
    """Takes everything, also when a disk is full or nobody reads any more; the rest is lost."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        #: Why something was not written.
        self.lost: Exception | None = None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def write(self, data: Any) -> int:
        try:
            self._stream.buffer.write(data)
        except (OSError, ValueError) as error:
            self._lose(error)
        return memoryview(data).nbytes

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._lose(error)

    def _lose(self, error: Exception) -> None:
        self.lost = error
        # What is buffered would be tried again when the process ends, and change its exit code.
        with suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), self.fileno())


def _spelled(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    rest = error.object[error.start : error.end]
    return "".join(SPELLED.get(each) or escaped(each) for each in rest), error.end


codecs.register_error("farmgate", _spelled)
