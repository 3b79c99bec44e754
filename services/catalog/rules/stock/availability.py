"""How much of a variant is shown as available."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from services.catalog.rules.stock.lots import keeps


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown of a variant's availability; `capped`: there is more."""

    quantity: int
    capped: bool


def sellable(stock: Iterable[tuple[date | None, int]], min_life_days: int, today: date) -> int:
    """Return how much an order could reserve: the stock that keeps long enough.

    `stock` has the free quantity of released lots by their best-before date.
    """
    return sum(
        quantity for best_before, quantity in stock if keeps(best_before, min_life_days, today)
    )


def shown(quantity: int, most: int | None) -> Shown:
    """Return what is shown of a quantity, if the operator shows `most` (None: all)."""
    if most is None or quantity <= most:
        return Shown(quantity, False)
    return Shown(most, True)
