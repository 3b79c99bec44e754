"""What a station sold over the counter: booked all or none, disputed beyond the grant."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from shared.events import SoldLine, StationSaleKind
from shared.runtime.errors import Conflict


class SaleStatus(StrEnum):
    """What catalog decided when it recorded a sale, void or return.

    `reduced`: it undid (part of) a sale that was never booked, so it moved no stock either.
    """

    BOOKED = "booked"
    OVERDRAWN = "overdrawn"
    DISPUTED = "disputed"
    REDUCED = "reduced"


class OverdraftStatus(StrEnum):
    """The status of an overdraft, a sale beyond what its device was granted."""

    OPEN = "open"
    COVERED = "covered"
    LOST = "lost"
    VOIDED = "voided"


class ReturnStatus(StrEnum):
    """The status of goods that a device reported as given back."""

    ACCEPTED = "accepted"
    DISPUTED = "disputed"


#: Why a sale is overdrawn.
BEYOND_GRANT, NO_ALLOTMENT = "beyond_grant", "no_allotment"


class BeyondSale(Conflict):
    """Raised when more of a line comes back than was sold and is still out."""


@dataclass(frozen=True, slots=True)
class Sold:
    """One line of a sale, or of what came back of it."""

    line_no: int
    variant_id: UUID
    lot_id: UUID
    quantity: int
    #: Of goods that came back: whether they can be sold again.
    restock: bool | None = None

    @classmethod
    def of(cls, line: SoldLine) -> "Sold":
        """Return a line of an event."""
        return cls(line.line_no, line.variant_id, line.lot_id, line.quantity, line.restock)

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> "Sold":
        """Return a line as it is stored."""
        return cls(
            line["line_no"], UUID(line["variant_id"]), UUID(line["lot_id"]), line["quantity"]
        )

    def to_json(self) -> dict[str, Any]:
        """Return the line as it is stored: without `restock`."""
        return {
            "line_no": self.line_no,
            "variant_id": str(self.variant_id),
            "lot_id": str(self.lot_id),
            "quantity": self.quantity,
        }


@dataclass(frozen=True, slots=True)
class RecordedSale:
    """A station sale, void or return, and the decision of catalog when it recorded it."""

    sale_id: UUID
    kind: StationSaleKind
    device_id: UUID
    epoch: int
    number: int
    site_id: UUID
    #: The sale that is voided, or whose goods came back.
    of_sale_id: UUID | None
    status: SaleStatus
    lines: tuple[Sold, ...]
    at: datetime


def overdrawn(lines: Iterable[Sold], remaining: Mapping[UUID, int]) -> list[tuple[Sold, int]]:
    """Return the lines beyond what is left of their lots, each with what was left for it.

    Lines on one lot share what is left of it. When any line is beyond, none may be booked.
    """
    left = dict(remaining)
    beyond = []
    for line in lines:
        there = left.get(line.lot_id, 0)
        if line.quantity > there:
            beyond.append((line, there))
        else:
            left[line.lot_id] = there - line.quantity
    return beyond


def check_back(sale: Iterable[Sold], before: Iterable[Sold], back: Sequence[Sold]) -> None:
    """Refuse goods that come back but were not sold by `sale`, or have come back `before`.

    Raises:
        BeyondSale: a line is unknown, of another lot, or of more than is still out.
    """
    out: defaultdict[tuple[int, UUID], int] = defaultdict(int)
    for line in sale:
        out[line.line_no, line.lot_id] += line.quantity
    for line in (*before, *back):
        out[line.line_no, line.lot_id] -= line.quantity
    for line in back:
        if out[line.line_no, line.lot_id] < 0:
            raise BeyondSale(
                f"Line {line.line_no} gives back more of lot {line.lot_id} than was sold and "
                "is still out."
            )


def reduced(lines: Iterable[Sold], back: Iterable[Sold]) -> list[Sold]:
    """Return what is left of an uncovered sale's lines when some of it came back."""
    less: defaultdict[tuple[int, UUID], int] = defaultdict(int)
    for line in back:
        less[line.line_no, line.lot_id] += line.quantity
    rest = []
    for line in lines:
        quantity = line.quantity - less[line.line_no, line.lot_id]
        if quantity > 0:
            rest.append(Sold(line.line_no, line.variant_id, line.lot_id, quantity))
    return rest


def sale_moves(status: SaleStatus | str, overdraft: OverdraftStatus | str | None) -> bool:
    """Tell whether a sale, void or return has moved stock; `overdraft` is its status, if any."""
    return status == SaleStatus.BOOKED or overdraft == OverdraftStatus.COVERED
