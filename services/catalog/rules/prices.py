"""Which of a variant's prices holds, and which is next."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Term:
    """A price in fen per `price_unit`, from a moment on until a later one begins or it ends."""

    price_fen: int
    price_unit: int
    valid_from: datetime
    valid_to: datetime | None


def present_and_next(terms: Sequence[Term], moment: datetime) -> tuple[Term | None, Term | None]:
    """Return the price that holds at `moment`, and the first one that begins later.

    `terms` are in the order of their beginning. Where a later price begins an earlier one is
    over, also when the later one has ended since.
    """
    begun = [term for term in terms if term.valid_from <= moment]
    later = next((term for term in terms if term.valid_from > moment), None)
    if not begun or (begun[-1].valid_to is not None and begun[-1].valid_to <= moment):
        return None, later
    return begun[-1], later
