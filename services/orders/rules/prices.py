"""What a line costs, and which quantities are sold at all. Money is integer fen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from shared.runtime.clock import rfc3339
from shared.runtime.errors import Unprocessable

#: Lines of one order. Catalog locks the lots of all of them at once.
MOST_LINES = 200
#: Of one line, in grams or pieces: ten tonnes, more than a farm brings in a season.
MOST_QUANTITY = 10_000_000
#: Of one order: ten thousand million yuan. Beyond it sums would leave 64 bits.
MOST_TOTAL_FEN = 1_000_000_000_000


class WrongPack(Unprocessable):
    """Raised when a quantity is no whole number of packs."""


class TotalTooLarge(Unprocessable):
    """Raised when an order would cost more than `MOST_TOTAL_FEN`."""


@dataclass(frozen=True, slots=True)
class Price:
    """What `price_unit` grams or pieces cost, from when on, and until when if that is known."""

    price_fen: int
    price_unit: int
    valid_from: datetime
    valid_to: datetime | None


def price_id(variant_id: UUID, channel: str, valid_from: datetime) -> UUID:
    """Return the id of the price of a variant in one channel from one moment on."""
    return uuid5(variant_id, f"{channel} {rfc3339(valid_from)}")


def line_total_fen(quantity: int, price_fen: int, price_unit: int) -> int:
    """Return what `quantity` costs at `price_fen` per `price_unit`, rounded half up, once."""
    return (2 * quantity * price_fen + price_unit) // (2 * price_unit)


def check_packs(line_no: int, quantity: int, pack_quantity: int, unit: str) -> None:
    """Let a line be ordered in whole packs.

    Raises:
        WrongPack: it is no whole number of packs; the nearest that are, are named.
    """
    below = quantity - quantity % pack_quantity
    if below != quantity:
        near = f"{below} or " if below else ""
        raise WrongPack(
            f"Line {line_no} asks for {quantity} {unit}, but packs hold {pack_quantity} {unit}; "
            f"order {near}{below + pack_quantity} {unit}.",
            line_no=line_no,
            pack_quantity=pack_quantity,
        )


def check_total(total_fen: int) -> None:
    """Let an order have this total.

    Raises:
        TotalTooLarge: it is more than orders can book.
    """
    if total_fen > MOST_TOTAL_FEN:
        raise TotalTooLarge(f"The order would cost {total_fen} fen; split it into several.")


def sums_up(lines: Sequence[Mapping[str, Any]], total_fen: int) -> bool:
    """Tell whether each line costs its quantity at its price, and the lines cost the total."""
    return sum(line["line_total_fen"] for line in lines) == total_fen and all(
        line_total_fen(line["quantity"], line["price_fen"], line["price_unit"])
        == line["line_total_fen"]
        for line in lines
    )
