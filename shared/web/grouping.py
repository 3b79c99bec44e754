"""Group commit: items that wait at the same moment are done together, by the thread of one of them.

An item that finds no other at work is done at once, so nobody waits at low load. Items that arrive
meanwhile are the next group: the more arrive, the larger the groups and the less each item costs.

Source: Hendler, Incze, Shavit, Tzafrir, "Flat combining and the synchronization-parallelism
tradeoff", SPAA 2010.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")


class _Waiting(Generic[Item]):
    """An item whose thread waits until its group ends, or until it leads the next group."""

    def __init__(self, item: Item) -> None:
        self.item = item
        self.ended = False
        self.called = threading.Event()


class Grouping(Generic[Item]):
    """Calls `do_together` with the items of all threads that wait, at most `most` at once.

    `do_together` stores the outcome of each item in the item, and raises nothing.
    """

    def __init__(self, do_together: Callable[[Sequence[Item]], None], most: int) -> None:
        self._do_together = do_together
        self._most = most
        self._lock = threading.Lock()
        self._queue: deque[_Waiting[Item]] = deque()
        self._busy = False

    @property
    def waiting(self) -> int:
        """How many items wait for the group that is at work."""
        return len(self._queue)

    def do(self, item: Item) -> None:
        """Return when the group of `item` has ended."""
        waiting = _Waiting(item)
        with self._lock:
            self._queue.append(waiting)
            leads = not self._busy
            self._busy = True
        if not leads:
            waiting.called.wait()
        if not waiting.ended:
            self._lead()

    def _lead(self) -> None:
        with self._lock:
            group = [self._queue.popleft() for _ in range(min(len(self._queue), self._most))]
        try:
            self._do_together([each.item for each in group])
        finally:
            # Also if this thread dies: the others must not wait for ever.
            for each in group:
                each.ended = True
            with self._lock:
                self._busy = bool(self._queue)
                called = [*self._queue][:1] + group
            for each in called:
                each.called.set()
