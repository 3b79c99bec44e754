"""Sends requests that wait at the same moment, so that they are one group."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

from flask import Flask

from tests.support.servers import wait_until


def send_together(
    app: Flask,
    first: Callable[[], Any],
    others: Sequence[Callable[[], Any]],
    *,
    inside: Event,
    opened: Event,
) -> list[Any]:
    """Return the answers to `others`, which wait while `first` is at work, and are the next group.

    `first` sets `inside` in its transaction, and waits there for `opened`.
    """
    groups = app.extensions["farmgate"].groups

    def all_wait() -> bool:
        ended = sum(future.done() for future in futures)
        return ended + sum(group.waiting for group in groups.values()) == len(others)

    with ThreadPoolExecutor(len(others) + 1) as pool:
        held = pool.submit(first)
        try:
            assert inside.wait(10), "the first request is not at work"
            futures = [pool.submit(other) for other in others]
            wait_until(all_wait, 10, f"{len(others)} requests wait")
        finally:
            opened.set()
        held.result()
        return [future.result() for future in futures]
