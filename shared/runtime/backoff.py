"""Pauses between attempts, for all that try again: in a loop, or at the moment that a row names.

tenacity would repeat one call and count its attempts: a row counts them over processes, and a loop
that ran well for a while begins anew, so each has its own loop and only the pause in common.
"""

from datetime import timedelta
from typing import TypeVar

#: Seconds, or a span of time.
Span = TypeVar("Span", float, timedelta)
#: Doublings that no pause needs to reach its limit; many more would overflow.
MOST_DOUBLINGS = 30


def pause_after(attempts: int, first: Span, longest: Span) -> Span:
    """Return the pause after so many attempts in a row: `first`, doubling up to `longest`."""
    return min(longest, first * (1 << min(attempts - 1, MOST_DOUBLINGS)))
