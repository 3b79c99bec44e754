"""Rules for reversals, the voids and returns of a sale: together at most what the sale sold.

Reversals of one sale are applied in the order of their numbers, and only when every entry between
the sale and them has arrived, so the result does not depend on the order of uploads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class BeyondSale(ValueError):
    """Raised when a reversal exceeds what is left of the sale; the message says why."""


@dataclass(frozen=True, slots=True)
class Taken:
    """The quantity and money that reversals took back of one line of a sale."""

    quantity: int = 0
    fen: int = 0


_NOTHING = Taken()


def void(
    lines: Sequence[Mapping[str, Any]],
    total_fen: int,
    before: Mapping[int, Taken],
    refund_fen: int,
) -> list[dict[str, Any]]:
    """Return what the void of a sale takes back: all that is left, as lines of an event.

    `before`: line number → what earlier reversals took back.

    Raises:
        BeyondSale: nothing is left, or the refund differs from the price of what is left.
    """
    rest = []
    for line in lines:
        taken = before.get(line["line_no"], _NOTHING)
        if line["quantity"] > taken.quantity:
            fen = line["line_total_fen"] - taken.fen
            rest.append(_line(line, line["quantity"] - taken.quantity, fen, restock=True))
    if not rest:
        raise BeyondSale("Nothing is left of the sale: it was voided or returned before.")
    left_fen = total_fen - sum(taken.fen for taken in before.values())
    if refund_fen != left_fen:
        raise BeyondSale(
            f"A void gives back all that is left of the sale, {left_fen} fen, not {refund_fen}."
        )
    return rest


def take_back(
    lines: Sequence[Mapping[str, Any]],
    total_fen: int,
    before: Mapping[int, Taken],
    returned: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Return what a return takes back, as lines of an event.

    Raises:
        BeyondSale: more comes back, in goods or money, than is left of a line or of the sale.
    """
    sold = {line["line_no"]: line for line in lines}
    present = dict(before)
    back = []
    for part in returned:
        line = sold.get(part["line_no"])
        if line is None:
            raise BeyondSale(f"The sale has no line {part['line_no']}.")
        taken = present.get(line["line_no"], _NOTHING)
        now = Taken(taken.quantity + part["quantity"], taken.fen + part["refund_fen"])
        if now.quantity > line["quantity"]:
            left = line["quantity"] - taken.quantity
            raise BeyondSale(
                f"Line {line['line_no']}: {part['quantity']} came back, {left} of it are left."
            )
        if now.fen > line["line_total_fen"]:
            left = line["line_total_fen"] - taken.fen
            raise BeyondSale(
                f"Line {line['line_no']}: {part['refund_fen']} fen were given back, {left} fen of "
                "it are left."
            )
        present[line["line_no"]] = now
        back.append(_line(line, part["quantity"], part["refund_fen"], restock=part["restock"]))
    if sum(taken.fen for taken in present.values()) > total_fen:
        raise BeyondSale(f"More would be given back than the {total_fen} fen that the sale cost.")
    return back


def _line(line: Mapping[str, Any], quantity: int, fen: int, *, restock: bool) -> dict[str, Any]:
    return {
        "line_no": line["line_no"],
        "variant_id": line["variant_id"],
        "lot_id": line["lot_id"],
        "quantity": quantity,
        "line_total_fen": fen,
        "restock": restock,
    }
