"""Printing that never raises, for all commands.

The exit code reports what a command did, not whether its output could be encoded or written.
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

#: Replacements in encodings that lack a character, such as GBK or ASCII.
REPLACEMENTS = {"¥": "CNY ", "✓": "ok", "✗": "wrong:", "–": "-", "…": "..."}


def echo(text: str) -> None:
    """Print one line without control characters."""
    print(plain(text), flush=True)


def write_error() -> str | None:
    """Return why output could not be written, such as a full disk; None if all was written.

    A closed pipe (`| head`) is no error: its reader has enough.
    """
    error = getattr(getattr(sys.stdout, "buffer", None), "error", None)
    return error.strerror if isinstance(error, OSError) and error.errno != errno.EPIPE else None


@contextmanager
def never_failing() -> Iterator[None]:
    """Replace the standard streams by ones that never raise, whatever their encoding and state."""
    # The next open file would get a closed descriptor's number, and prints would go into it.
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
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
    """A stream that drops output which cannot be written: the disk is full or the pipe closed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        #: The last write error.
        self.error: Exception | None = None

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
            self._drop(error)
        return memoryview(data).nbytes

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._drop(error)

    def _drop(self, error: Exception) -> None:
        self.error = error
        # Python flushes the buffer again at exit; a second failure would change the exit code.
        with suppress(OSError, ValueError), open(os.devnull, "wb") as null:
            os.dup2(null.fileno(), self.fileno())


def _replace(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    rest = error.object[error.start : error.end]
    return "".join(REPLACEMENTS.get(each) or escaped(each) for each in rest), error.end


codecs.register_error("farmgate", _replace)
