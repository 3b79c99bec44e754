"""Chance within a step; of a tuple of deeds, one that stands there twice is done twice as often."""

from collections.abc import Sequence
from random import Random
from typing import Any

from hypothesis import strategies as st

#: After how many of a till's steps the power is cut; mostly after none.
CUTS = (-1, -1, -1, -1, -1, -1, 1, 2, 3, 4)
#: What can happen to a request; most come through.
FAULTS = ("none", "none", "none", "none", "lost", "unanswered", "doubled", "portal")


class Chance(Random):
    """What is left to chance within a step: one seed, so that steps stay small to Hypothesis."""

    def __init__(self, begin: int) -> None:
        super().__init__(begin)
        self.begin = begin

    def __repr__(self) -> str:
        return f"Chance({self.begin})"

    def some(self, things: Sequence[Any], least: int, most: int) -> list[Any]:
        """Return some of the things, in any order, perhaps one more than once."""
        return self.choices(things, k=self.randint(least, most))


CHANCES = st.integers(0, 2**32 - 1).map(Chance)
