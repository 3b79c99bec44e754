"""Count the cash in a clerk's custody. Money is integer fen."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from uuid import UUID, uuid5

from services.orders.rules.till import PAYMENT_DIFFERS, REVERSALS, EntryKind, EntryStatus

#: Why cash comes into custody or leaves it: an entry's kind, or what an operator recorded.
REMITTED, WRITTEN_OFF = "remitted", "written_off"
CAUSES = ("sale", "void", "return", "hand_over", REMITTED, WRITTEN_OFF)
#: Kinds of entries by which money is taken.
COLLECTING = (EntryKind.SALE, EntryKind.HAND_OVER)


@dataclass
class Change:
    """What changes in one clerk's custody."""

    collected_fen: int = 0
    refunded_fen: int = 0
    remitted_fen: int = 0
    written_off_fen: int = 0

    @property
    def held_fen(self) -> int:
        """The change of the cash in the clerk's hands."""
        return self.collected_fen - self.refunded_fen - self.remitted_fen - self.written_off_fen

    def add(self, cause: str, amount_fen: int) -> None:
        """Count one cash entry; `amount_fen` is above 0 for cash that comes in."""
        if cause in COLLECTING:
            self.collected_fen += amount_fen
        elif cause in REVERSALS:
            self.refunded_fen -= amount_fen
        elif cause == REMITTED:
            self.remitted_fen -= amount_fen
        else:
            self.written_off_fen -= amount_fen


def custody_id(site_id: UUID, clerk: str) -> UUID:
    """Return the id of a clerk's custody at a site."""
    return uuid5(site_id, clerk)


def near_names(name: str, known: Iterable[str]) -> list[str]:
    """Return up to three known names that are like `name`, the nearest first."""
    # One wrong character is half of a name such as 卓嘎.
    return get_close_matches(name, known, n=3, cutoff=0.5)


def custody_fen(
    kind: EntryKind,
    status: EntryStatus,
    payment: str | None,
    total_fen: int | None,
    voided: bool,
    flags: Collection[str] = (),
    *,
    booked: bool = False,
) -> int:
    """Return the cash that an entry brings into custody (above 0) or takes out of it.

    The cash of a disputed sale or hand-over was taken, so it counts. The refund of a disputed void
    or return counts only once an operator has `booked` it. A sale that was voided before its
    upload, and its void, move no cash together, unless the refund was paid in another way than
    the sale: then the void alone moves the cash.
    """
    if voided and kind == EntryKind.VOID and PAYMENT_DIFFERS in flags and total_fen:
        return -total_fen if payment == "cash" else total_fen
    if payment != "cash" or voided or not total_fen:
        return 0
    if kind in COLLECTING:
        return total_fen
    if kind in REVERSALS and (status == EntryStatus.ACCEPTED or booked):
        return -total_fen
    return 0
