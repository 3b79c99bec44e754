"""Threads that must not end: started again after any failure, stopped when asked."""

import random
import threading
from collections.abc import Callable
from time import monotonic

from shared.runtime.backoff import pause_after
from shared.runtime.logs import get

log = get(__name__)

#: Seconds before a failed loop starts again: the first time, and at most. One that ran for longer
#: than the longest pause before it failed begins with the first again. What is away comes back for
#: all of a service's loops within the longest, so that is the greater part of a recovery.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0


class Stopped(Exception):
    """Raised inside a loop that was waiting when the process was asked to stop."""


class Stopping(threading.Event):
    """Set once the process is to stop."""

    def pause(self, seconds: float) -> None:
        """Wait, but not longer than until the process is to stop.

        Raises:
            Stopped: it is to stop.
        """
        if self.wait(seconds):
            raise Stopped


def supervise(
    name: str,
    loop: Callable[[], None],
    stopping: Stopping,
    failed: Callable[[BaseException], None] = lambda error: None,
) -> threading.Thread:
    """Run `loop` in a thread, again after every failure with growing pauses, until stopped.

    `loop` must return soon after `stopping` is set; `failed` is told of every failure.
    """

    def run() -> None:
        failures = 0
        while not stopping.is_set():
            started = monotonic()
            try:
                loop()
            except Stopped:
                return
            # Whatever it is, SystemExit of a library too: a process that lives on without one
            # of its loops looks healthy and does half its work.
            except BaseException as error:
                failed(error)
                ran_well = monotonic() - started > LONGEST_PAUSE
                failures = 1 if ran_well else failures + 1
                pause = pause_after(failures, FIRST_PAUSE, LONGEST_PAUSE)
                log.error("loop failed", loop=name, error=repr(error), seconds=pause)
                # Chance: what failed together must not come back together.
                stopping.wait(pause * random.uniform(0.8, 1.2))

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread
