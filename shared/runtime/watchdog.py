"""Ends the process when a unit of work hangs, and logs the stack of its thread.

No other thread can end a hanging thread, and supervision does not see it, because it does not fail.
So the process ends, and the process manager restarts it. The broker delivers the event again, and
an event that hangs repeatedly becomes a suspect (see `shared.messaging.processing`).

faulthandler has one timer per process and knows no units of work. It is the fallback for a blocked
interpreter, in which this thread does not run.
"""

import faulthandler
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from time import monotonic
from typing import Protocol

from shared.runtime.config import read_integer
from shared.runtime.logs import get
from shared.runtime.supervision import Stopping

log = get(__name__)

#: Seconds that one transaction may take, by default (FARMGATE_HANG_SECONDS). By then the broker has
#: delivered the batch to another worker, and PostgreSQL has cancelled a request's statement.
HANG_SECONDS = 30
#: Seconds between checks.
CHECK_SECONDS = 0.5
#: Seconds beyond the limit after which faulthandler ends a process whose interpreter is blocked.
GRACE = 5.0
#: The exit code of a hanging process. Source: EX_SOFTWARE of sysexits.h.
HUNG = 70
#: Frames of the stack that are logged, from the innermost.
CALLS = 12


class Limit(Protocol):
    """Makes the context of a unit of work that has a time limit."""

    def __call__(self, what: str, seconds: float | None = None) -> AbstractContextManager[None]:
        """Return the context of the work `what`; `seconds` replaces the usual limit."""


def unlimited(what: str, seconds: float | None = None) -> AbstractContextManager[None]:
    """Return a context without a time limit."""
    return nullcontext()


def seconds_of(environment: Mapping[str, str]) -> int:
    """Return the number of seconds that one transaction may take.

    Raises:
        Misconfigured: the setting is not a whole number of at least 1.
    """
    return read_integer(environment, "FARMGATE_HANG_SECONDS", HANG_SECONDS, least=1)


@dataclass(frozen=True, eq=False)
class _Work:
    what: str
    seconds: float
    thread: int = field(default_factory=threading.get_ident)
    begun: float = field(default_factory=monotonic)


class Watchdog:
    """Ends this process when a unit of work takes longer than its limit.

    `measured` is called at each check with the seconds that the longest current work has taken.
    """

    def __init__(
        self, seconds: float, measured: Callable[[float], None] = lambda seconds: None
    ) -> None:
        self.seconds = seconds
        self.measured = measured
        self._works: dict[int, _Work] = {}

    @contextmanager
    def limit(self, what: str, seconds: float | None = None) -> Iterator[None]:
        """Limit the work inside to `seconds`, by default the watchdog's own."""
        work = _Work(what, self.seconds if seconds is None else seconds)
        self._works[id(work)] = work
        try:
            yield
        finally:
            del self._works[id(work)]

    def run(self, stopping: Stopping) -> None:
        """Check until the process stops; end the process when work hangs."""
        try:
            while not stopping.is_set():
                # Works without the interpreter's lock: a regular expression may hold it for hours.
                faulthandler.dump_traceback_later(self.seconds + GRACE, exit=True)
                self._check()
                stopping.wait(CHECK_SECONDS)
        finally:
            faulthandler.cancel_dump_traceback_later()

    def _check(self) -> None:
        moment = monotonic()
        works = list(self._works.values())
        self.measured(max((moment - work.begun for work in works), default=0.0))
        for work in works:
            if moment - work.begun > work.seconds:
                log.critical(
                    "work hangs, the process ends",
                    loop=work.what,
                    seconds=round(moment - work.begun, 1),
                    error=_stack(work.thread),
                )
                sys.stderr.flush()
                os._exit(HUNG)


def _stack(thread: int) -> str:
    """Return a thread's stack in one line, the innermost call first."""
    frame = sys._current_frames().get(thread)
    calls = reversed(traceback.extract_stack(frame)[-CALLS:]) if frame is not None else ()
    return " < ".join(
        f"{call.name} at {call.filename.rpartition('/')[2]}:{call.lineno}" for call in calls
    )
