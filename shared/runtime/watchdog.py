"""Ends a process whose work hangs, and logs where that work stands.

A thread cannot be ended from outside, and supervision sees failures, not endless waiting. So the
process ends, and whoever started it starts it again. The event that was being handled comes back;
one that hangs again and again is a suspect (see `shared.messaging.processing`).

faulthandler has one timer per process and knows no work by name, so it only stands behind: it ends
a process whose interpreter never lets this thread run.
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

#: Seconds that one transaction may take, if FARMGATE_HANG_SECONDS says nothing else: by then the
#: broker has given a batch to another worker, and PostgreSQL has long cut a request's statement.
HANG_SECONDS = 30
#: Seconds between looks.
LOOK = 0.5
#: Seconds beyond the limit after which a process ends whose interpreter never lets go.
GRACE = 5.0
#: The exit code of a process that hung. Source: EX_SOFTWARE of sysexits.h.
HUNG = 70
#: Calls, from the innermost on, that are named.
CALLS = 12


class Limit(Protocol):
    """Gives the context in which some work is done, with its name and how long it may take."""

    def __call__(self, what: str, seconds: float | None = None) -> AbstractContextManager[None]:
        """Return the context; without `seconds` what is usual holds."""


def unlimited(what: str, seconds: float | None = None) -> AbstractContextManager[None]:
    """Let work take as long as it likes."""
    return nullcontext()


def seconds_of(environment: Mapping[str, str]) -> int:
    """Return how many seconds one transaction may take.

    Raises:
        Misconfigured: the setting is no whole number, or less than 1.
    """
    return read_integer(environment, "FARMGATE_HANG_SECONDS", HANG_SECONDS, least=1)


@dataclass(frozen=True, eq=False)
class _Work:
    what: str
    seconds: float
    thread: int = field(default_factory=threading.get_ident)
    begun: float = field(default_factory=monotonic)


class Watchdog:
    """Ends this process when a piece of work takes longer than its limit.

    `measured` is told at each look how many seconds the work at hand has taken so far.
    """

    def __init__(
        self, seconds: float, measured: Callable[[float], None] = lambda seconds: None
    ) -> None:
        self.seconds = seconds
        self.measured = measured
        self._works: dict[int, _Work] = {}

    @contextmanager
    def limit(self, what: str, seconds: float | None = None) -> Iterator[None]:
        """Do work that may take `seconds`, if not given the watchdog's own."""
        work = _Work(what, self.seconds if seconds is None else seconds)
        self._works[id(work)] = work
        try:
            yield
        finally:
            del self._works[id(work)]

    def run(self, stopping: Stopping) -> None:
        """Watch until the process stops, or end it."""
        try:
            while not stopping.is_set():
                # Needs no turn of the interpreter: one search for a pattern may take it for hours.
                faulthandler.dump_traceback_later(self.seconds + GRACE, exit=True)
                self._look()
                stopping.wait(LOOK)
        finally:
            faulthandler.cancel_dump_traceback_later()

    def _look(self) -> None:
        moment = monotonic()
        works = list(self._works.values())
        self.measured(max((moment - work.begun for work in works), default=0.0))
        for work in works:
            if moment - work.begun > work.seconds:
                log.critical(
                    "work hangs, the process ends",
                    loop=work.what,
                    seconds=round(moment - work.begun, 1),
                    error=_place(work.thread),
                )
                sys.stderr.flush()
                os._exit(HUNG)


def _place(thread: int) -> str:
    """Return where a thread stands, the innermost call first."""
    frame = sys._current_frames().get(thread)
    calls = reversed(traceback.extract_stack(frame)[-CALLS:]) if frame is not None else ()
    return " < ".join(
        f"{call.name} at {call.filename.rpartition('/')[2]}:{call.lineno}" for call in calls
    )
