"""Clients that wait for events: each holds a thread, so only so many may.

`wait` and server-sent events share the seats. A client without a seat is told to come back, and
its position is kept by its own cursor; other requests always find a thread.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from flask import request

from shared.runtime.errors import Unavailable

T = TypeVar("T")

#: Clients that wait at the same time in one process, and those of one partner.
SEATS, SEATS_OF_ONE = 8, 2
#: Seconds between two looks at a feed.
LOOK = 0.25


class TooManyWaiting(Unavailable):
    """Raised when so many clients wait already that one more could take the last threads."""


class Seats:
    """The seats of one process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()

    def take(self, partner: str) -> Callable[[], None]:
        """Take a seat; call the result to leave it, which may be done twice.

        Raises:
            TooManyWaiting: all seats are taken, or all that one partner may have.
        """
        with self._lock:
            if self._taken[partner] >= SEATS_OF_ONE or self._taken.total() >= SEATS:
                raise TooManyWaiting(
                    "Too many clients wait for events. Ask again later, or without `wait`; your "
                    "cursor stays valid."
                )
            self._taken[partner] += 1
        left = threading.Event()

        def leave() -> None:
            with self._lock:
                if not left.is_set():
                    left.set()
                    self._taken[partner] -= 1

        return leave


def server_stops() -> Callable[[], bool]:
    """Return the function that tells whether the request's server stops."""
    asked: Callable[[], bool] = request.environ.get("farmgate.stopping", lambda: False)
    return asked


def look_until(
    deadline: float, look: Callable[[], T | None], is_over: Callable[[], bool]
) -> T | None:
    """Return what `look` finds; None at `deadline` (monotonic seconds), or once it is over."""
    while (left := deadline - time.monotonic()) > 0 and not is_over():
        time.sleep(min(LOOK, left))
        found = look()
        if found is not None:
            return found
    return None
