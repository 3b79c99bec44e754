"""By how much a count changes a balance that may have moved since the count."""

from collections.abc import Collection
from dataclasses import dataclass

from services.catalog.rules.stock.ledger import Reason
from shared.runtime.errors import Conflict

#: Movements that are booked when the goods go or come. What a person books, and the sale of a
#: till that was offline, may have happened before the count and be booked after it.
ACCOUNTED = frozenset({Reason.CONSUMED, Reason.RESTOCKED})


class OutdatedCount(Conflict):
    """Raised when the balance moved since a count, which is uncertain then; count again."""


@dataclass(frozen=True)
class Since:
    """What changed a balance since a moment: the net of accounted movements, and other reasons."""

    moved: int = 0
    unclear: Collection[str] = ()

    @property
    def anything(self) -> bool:
        """Tell whether anything did."""
        return bool(self.moved or self.unclear)


def check_book(present: int, book: int | None) -> None:
    """Refuse a count if the balance has moved since it was taken.

    Raises:
        OutdatedCount: the balance was another when it was taken.
    """
    if book not in (None, present):
        raise OutdatedCount(
            f"The books said {book} when it was counted and say {present} now; count again.",
            book=book,
            present=present,
        )


def correction_by_moment(counted: int, present: int, since: Since) -> int:
    """Return by how much a count changes the books, given what moved since it was taken.

    Raises:
        OutdatedCount: the books were corrected since, or more went out than was counted.
    """
    expected = counted + since.moved
    if present == expected or (since.unclear and present == counted):
        return 0
    if since.unclear:
        raise OutdatedCount(
            f"{present} lie there by the books, which changed since the count by "
            f"{', '.join(sorted(since.unclear))}; count again"
        )
    if expected < 0:
        raise OutdatedCount(f"{-since.moved} went out since, more than were counted; count again")
    return expected - present


def correction_by_book(counted: int, present: int, book: int | None, since: Since) -> int:
    """Return by how much a count changes the books, given what they said when it was taken.

    Raises:
        OutdatedCount: the books have moved since, or it is not said what they were.
    """
    if counted == present:
        return 0
    if book is None:
        raise OutdatedCount(
            f"{present} lie there by the books; say in `counted_at` when you counted, or export "
            "the stock and count against its `book`"
        )
    if counted == book:
        return 0  # nobody counted: the row is as it was exported
    if book != present or since.anything:
        raise OutdatedCount(
            f"{book} lay there by the books and {present} do now, with movements since; say in "
            "`counted_at` when you counted, or export the stock and count again"
        )
    return counted - present
