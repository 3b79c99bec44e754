"""Supervised threads: restarted after any failure until the process stops."""

import random
import threading
from collections.abc import Callable
from time import monotonic

from shared.runtime.backoff import pause_after
from shared.runtime.logs import get

log = get(__name__)

#: Seconds before a failed loop restarts: the first time, and at most. A loop that ran for longer
#: than the longest pause begins with the first pause again. The longest pause is the main part of a
#: recovery: every loop notices within it that a server is back.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0


class Stopped(Exception):
    """Raised inside a loop's pause when the process stops."""


class Stopping(threading.Event):
    """The event that is set when the process must stop."""

    def pause(self, seconds: float) -> None:
        """Wait for `seconds`, or until the process must stop.

        Raises:
            Stopped: the process must stop.
        """
        if self.wait(seconds):
            raise Stopped


def supervise(
    name: str,
    loop: Callable[[], None],
    stopping: Stopping,
    failed: Callable[[BaseException], None] = lambda error: None,
) -> threading.Thread:
    """Run `loop` in a thread and restart it after each failure, with growing pauses.

    `loop` must return soon after `stopping` is set. `failed` is called with each error.
    """

    def run() -> None:
        failures = 0
        while not stopping.is_set():
            started = monotonic()
            try:
                loop()
            except Stopped:
                return
            # Any error, also a library's SystemExit: a process that lost one of its loops would
            # look healthy and do half its work.
            except BaseException as error:
                failed(error)
                ran_well = monotonic() - started > LONGEST_PAUSE
                failures = 1 if ran_well else failures + 1
                pause = pause_after(failures, FIRST_PAUSE, LONGEST_PAUSE)
                log.error("loop failed", loop=name, error=repr(error), seconds=pause)
                # Jitter: loops that failed together must not restart together.
                stopping.wait(pause * random.uniform(0.8, 1.2))

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread
