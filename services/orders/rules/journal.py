"""Which numbers of a journal have come; a hole is a number that is not uploaded yet."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence

#: A run of numbers that have not come: the first and the last of them.
Hole = list[int]


def receive(
    highest: int, holes: Sequence[Hole], numbers: Iterable[int]
) -> tuple[int, list[Hole], int]:
    """Return the highest number and the holes once `numbers` have come, and how many were new.

    Holes are in their order, do not touch, and lie below the highest. Numbers may repeat.
    """
    wanted = sorted(set(numbers))
    left: list[Hole] = []
    new = position = 0
    for first, last in holes:
        # Skip the numbers below the hole: they came before.
        position = bisect_left(wanted, first, position)
        begins = first
        while position < len(wanted) and wanted[position] <= last:
            number = wanted[position]
            if number > begins:
                left.append([begins, number - 1])
            begins = number + 1
            new += 1
            position += 1
        if begins <= last:
            left.append([begins, last])
    for number in wanted[bisect_left(wanted, highest + 1) :]:
        if number > highest + 1:
            left.append([highest + 1, number - 1])
        highest = number
        new += 1
    return highest, left, new


def missing(holes: Sequence[Hole]) -> int:
    """Return how many numbers have not come."""
    return sum(last - first + 1 for first, last in holes)


def missing_between(holes: Sequence[Hole], first: int, last: int) -> int:
    """Return how many numbers from `first` to `last` have not come, of those below the highest."""
    return sum(max(0, min(to, last) - max(at, first) + 1) for at, to in holes)


def first_missing(holes: Sequence[Hole], most: int) -> list[int]:
    """Return the lowest numbers that have not come, up to `most` of them."""
    found: list[int] = []
    for first, last in holes:
        found += range(first, min(last, first + most - len(found) - 1) + 1)
        if len(found) >= most:
            break
    return found
