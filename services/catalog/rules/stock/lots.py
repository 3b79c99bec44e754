"""The status of a lot, and how long it may be sold."""

from collections.abc import Mapping
from datetime import date, timedelta
from enum import StrEnum

from services.catalog.rules.stock.ledger import Bucket
from shared.runtime.errors import Conflict, Unprocessable


class LotStatus(StrEnum):
    """The status of a lot; only a released lot may be sold."""

    HARVESTED = "harvested"
    INSPECTED = "inspected"
    RELEASED = "released"
    HELD = "held"
    RECALLED = "recalled"


class WrongLotState(Conflict):
    """Raised when a lot's state does not allow the step; the message names the state."""


_LOT_STEPS: Mapping[LotStatus, frozenset[LotStatus]] = {
    LotStatus.HARVESTED: frozenset({LotStatus.INSPECTED}),
    LotStatus.INSPECTED: frozenset({LotStatus.RELEASED}),
    LotStatus.RELEASED: frozenset({LotStatus.HELD, LotStatus.RECALLED}),
    # A hold is how most recalls begin: the doubt comes first, the finding later.
    LotStatus.HELD: frozenset({LotStatus.RELEASED, LotStatus.RECALLED}),
    LotStatus.RECALLED: frozenset(),
}


def lot_step(present: LotStatus, wanted: LotStatus) -> LotStatus:
    """Return `wanted` if a lot may go there from `present`, or is there already.

    Raises:
        WrongLotState: there is no such step; the message lists those there are.
    """
    if wanted != present and wanted not in _LOT_STEPS[present]:
        allowed = ", ".join(sorted(_LOT_STEPS[present])) or "nothing else"
        raise WrongLotState(
            f"The lot is {present} and cannot become {wanted}; it can become {allowed}.",
            state=str(present),
        )
    return wanted


def free_bucket(status: LotStatus | str) -> Bucket:
    """Return the bucket for goods of a lot that nobody has a claim on."""
    return Bucket.AVAILABLE if status == LotStatus.RELEASED else Bucket.QUARANTINED


def picking_key(best_before: date | None, harvest_date: date, code: str) -> tuple[date, date, str]:
    """Return the key that sorts lots first expired, first out; what never expires comes last.

    Ties go to the older harvest, then to the lot's code, so that the order is always the same.
    """
    return best_before or date.max, harvest_date, code


def keeps(best_before: date | None, min_life_days: int, today: date) -> bool:
    """Tell whether a lot may still be sold: it keeps longer than the buyer was promised.

    `min_life_days` is what must be left when the goods reach the buyer. The day they do is
    not known when stock is reserved (logistics promises it later), so today stands for it.
    """
    return best_before is None or best_before > today + timedelta(days=min_life_days)


def last_sale_day(best_before: date | None, min_life_days: int) -> date | None:
    """Return the last date on which `keeps` is true; None: the lot never spoils."""
    if best_before is None:
        return None
    days = (best_before - date.min).days - min_life_days - 1
    return date.min + timedelta(days=max(0, days))


class NoBestBefore(Unprocessable):
    """Raised when a lot of perishable goods has no best-before date."""


class ImpossibleDates(Unprocessable):
    """Raised when dates contradict each other or the calendar."""


def best_before_of(harvest_date: date, shelf_life_days: int | None) -> date | None:
    """Return the best-before date of goods harvested on that day; None: they do not spoil."""
    return None if shelf_life_days is None else harvest_date + timedelta(days=shelf_life_days)


def check_keeping(perishable: bool, best_before: date | None) -> None:
    """Refuse a lot of perishable goods without a best-before date: it could be sold for ever.

    Raises:
        NoBestBefore: it has no best-before date.
    """
    if perishable and best_before is None:
        raise NoBestBefore(
            "The product is perishable and has no shelf life; give the lot a best_before date, or "
            "the product its shelf_life_days."
        )


def check_dates(harvest_date: date, best_before: date | None, today: date) -> None:
    """Refuse a harvest in the future and goods that expire before they are harvested.

    Raises:
        ImpossibleDates: one of these.
    """
    if harvest_date > today:
        raise ImpossibleDates(f"The harvest date {harvest_date} is in the future.")
    if best_before is not None and best_before < harvest_date:
        raise ImpossibleDates(f"Best before {best_before} is earlier than the harvest.")
