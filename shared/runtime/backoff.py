"""Exponential back-off: the pause between retries, for loops and for rows with a next attempt.

tenacity repeats one call and counts its attempts. Here a row counts its attempts across processes,
and a loop that ran well for a while begins again with the first pause. So each has its own loop,
and they share only this function.
"""

from datetime import timedelta
from typing import TypeVar

#: Seconds, or a timedelta.
Span = TypeVar("Span", float, timedelta)
#: Doublings at most: every pause reaches its limit sooner, and a larger power would overflow.
MOST_DOUBLINGS = 30


def pause_after(attempts: int, first: Span, longest: Span) -> Span:
    """Return the pause after `attempts` failures: `first`, doubled each time up to `longest`."""
    return min(longest, first * (1 << min(attempts - 1, MOST_DOUBLINGS)))
