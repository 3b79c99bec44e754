"""The correction of a balance by a count; the balance may have moved since the count."""

from collections.abc import Collection
from dataclasses import dataclass

from services.catalog.rules.stock.ledger import Reason
from shared.runtime.errors import Conflict

#: Movements that are booked when the goods leave or arrive. What a person books, and the sale of
#: an offline till, may happen before a count and be booked after it.
ACCOUNTED = frozenset({Reason.CONSUMED, Reason.RESTOCKED})


class OutdatedCount(Conflict):
    """Raised when the balance moved after a count, which makes the count uncertain; count again."""


@dataclass(frozen=True)
class Since:
    """What changed a balance since a moment: the net of accounted movements, and other reasons."""

    moved: int = 0
    unclear: Collection[str] = ()

    @property
    def anything(self) -> bool:
        """Tell whether the balance changed."""
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
    """Return the correction of the books by a count, given the movements since the count.

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
    """Return the correction of the books by a count, given the books at the time of the count.

    Raises:
        OutdatedCount: the books have moved since, or the caller did not name them.
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
