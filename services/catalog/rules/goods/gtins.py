"""Article numbers (GTIN) as GS1 defines them."""

from itertools import cycle


def has_right_check_digit(gtin: str) -> bool:
    """Tell whether the last digit follows from the others.

    Source: GS1 General Specifications, 7.9: from the right, digits count three times and once by
    turns, and the sum with the check digit is a multiple of ten.
    """
    weights = cycle((1, 3))
    return sum(int(digit) * next(weights) for digit in reversed(gtin)) % 10 == 0
