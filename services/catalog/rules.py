"""Catalog's rules: how lots and reservations change state, and which lots an order takes.

Values in, values out. Quantities are integers in the variant's unit (grams or pieces).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

from shared.errors import Conflict, Unprocessable


class Bucket(StrEnum):
    """Where a quantity of a lot at a location stands; on hand is the sum of all six.

    `available` is free to sell, and only released lots have any. `held` is what may not be
    sold: goods of a lot that is not released.
    """

    AVAILABLE = "available"
    RESERVED = "reserved"
    COMMITTED = "committed"
    ALLOTTED = "allotted"
    HELD = "held"
    DAMAGED = "damaged"


class Account(StrEnum):
    """Where goods come from and go to outside the buckets: the other side of a movement."""

    RECEIVED = "received"
    FOUND = "found"
    RESTOCKED = "restocked"
    CONSUMED = "consumed"
    LOST = "lost"
    IN_TRANSIT = "in_transit"


class Reason(StrEnum):
    """Why a quantity moved."""

    RECEIVED = "received"
    RESERVED = "reserved"
    RELEASED = "released"
    COMMITTED = "committed"
    CONSUMED = "consumed"
    RESTOCKED = "restocked"
    SHIPPED = "shipped"
    ARRIVED = "arrived"
    HELD = "held"
    COUNTED = "counted"
    ADJUSTED = "adjusted"
    SHRUNK = "shrunk"
    SPOILED = "spoiled"
    WRITTEN_OFF = "written_off"


#: Reasons a person may give for an adjustment.
ADJUSTMENT_REASONS = (
    Reason.COUNTED,
    Reason.ADJUSTED,
    Reason.SHRUNK,
    Reason.SPOILED,
    Reason.WRITTEN_OFF,
)
#: Reasons that only take away: dried goods do not come back.
LOSS_REASONS = (Reason.SHRUNK, Reason.SPOILED, Reason.WRITTEN_OFF)


class LotStatus(StrEnum):
    """How far a lot is on its way to the buyers."""

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
        WrongLotState: the step is not drawn; the message says which ones are.
    """
    if wanted != present and wanted not in _LOT_STEPS[present]:
        allowed = ", ".join(sorted(_LOT_STEPS[present])) or "nothing else"
        raise WrongLotState(
            f"The lot is {present} and cannot become {wanted}; it can become {allowed}.",
            state=str(present),
        )
    return wanted


def free_bucket(status: LotStatus | str) -> Bucket:
    """Return where goods of a lot go when nobody has a claim on them."""
    return Bucket.AVAILABLE if status == LotStatus.RELEASED else Bucket.HELD


class ReservationStatus(StrEnum):
    """What became of the stock that an order asked for."""

    REFUSED = "refused"
    HELD = "held"
    COMMITTED = "committed"
    CONSUMED = "consumed"
    RELEASED = "released"
    RETURNED = "returned"


class WrongReservationState(Conflict):
    """Raised when a fact does not fit the reservation's state: something was lost or doubled."""


#: A reservation whose lines still stand in these states has its goods in this bucket.
BUCKET_OF: Mapping[ReservationStatus, Bucket] = {
    ReservationStatus.HELD: Bucket.RESERVED,
    ReservationStatus.COMMITTED: Bucket.COMMITTED,
}

_RESERVATION_STEPS: Mapping[ReservationStatus, frozenset[ReservationStatus]] = {
    # Money that came late asks once more.
    ReservationStatus.REFUSED: frozenset({ReservationStatus.HELD, ReservationStatus.REFUSED}),
    ReservationStatus.RELEASED: frozenset({ReservationStatus.HELD, ReservationStatus.REFUSED}),
    # Logistics may be quicker than orders: goods can leave before `order_confirmed` is heard.
    ReservationStatus.HELD: frozenset(
        {ReservationStatus.COMMITTED, ReservationStatus.RELEASED, ReservationStatus.CONSUMED}
    ),
    ReservationStatus.COMMITTED: frozenset(
        {ReservationStatus.CONSUMED, ReservationStatus.RELEASED}
    ),
    ReservationStatus.CONSUMED: frozenset({ReservationStatus.RETURNED}),
    ReservationStatus.RETURNED: frozenset(),
}


def reservation_step(
    present: ReservationStatus | str, wanted: ReservationStatus
) -> ReservationStatus:
    """Return `wanted` if a reservation may go there from `present`.

    Raises:
        WrongReservationState: the step is not drawn.
    """
    if wanted not in _RESERVATION_STEPS[ReservationStatus(present)]:
        raise WrongReservationState(f"The reservation is {present} and cannot become {wanted}.")
    return wanted


# --- Which lots an order takes -----------------------------------------------------------------

#: An order takes from no more lots than this in all: its events must stay below the size limit
#: (262,144 bytes; a lot in an event needs up to 220).
MOST_LOTS = 1000


class Shelved(Protocol):
    """One lot at one location, with an integer `available`."""

    available: Any


ShelvedT = TypeVar("ShelvedT", bound=Shelved)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an order, as catalog needs to know it."""

    line_no: int
    variant_id: UUID
    quantity: int


@dataclass(frozen=True, slots=True)
class Take(Generic[ShelvedT]):
    """What one line takes from one lot at one location."""

    line: Line
    shelved: ShelvedT
    quantity: int


@dataclass(frozen=True, slots=True)
class Short:
    """A line that cannot be covered, and what there was for it."""

    line: Line
    available: int


def plan(
    lines: Iterable[Line],
    shelves: Mapping[UUID, Sequence[ShelvedT]],
    most: int = MOST_LOTS,
) -> tuple[list[Take[ShelvedT]], list[Short]]:
    """Tell what each line takes, lot by lot, in the order of its variant's shelf.

    `shelves` has per variant the lots in the order of picking (see `picking_key`). An order has
    all its lines or none: when any line is short, nothing is taken and the shortfalls are
    returned. Lines on one variant share what there is; together they never take more. With more
    than `most` lots in all, what lies beyond counts as not there.
    """
    taken: list[Take[ShelvedT]] = []
    shortfalls: list[Short] = []
    used: dict[int, int] = {}
    for line in lines:
        missing = line.quantity
        for shelved in shelves.get(line.variant_id, ()):
            left = shelved.available - used.get(id(shelved), 0)
            if left <= 0:
                continue
            if len(taken) == most:
                break
            quantity = min(left, missing)
            used[id(shelved)] = used.get(id(shelved), 0) + quantity
            taken.append(Take(line, shelved, quantity))
            missing -= quantity
            if not missing:
                break
        if missing:
            shortfalls.append(Short(line, line.quantity - missing))
    return ([], shortfalls) if shortfalls else (taken, [])


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


# --- Money, dates, shares ------------------------------------------------------------------------


class ImpossibleDates(Unprocessable):
    """Raised when dates contradict each other or the calendar."""


def best_before_of(harvest_date: date, shelf_life_days: int | None) -> date | None:
    """Return until when goods harvested on that day keep; None: they do not spoil."""
    return None if shelf_life_days is None else harvest_date + timedelta(days=shelf_life_days)


def check_dates(harvest_date: date, best_before: date | None, today: date) -> None:
    """Refuse a harvest in the future and goods that expire before they are harvested.

    Raises:
        ImpossibleDates: one of these.
    """
    if harvest_date > today:
        raise ImpossibleDates(f"The harvest date {harvest_date} is in the future.")
    if best_before is not None and best_before < harvest_date:
        raise ImpossibleDates(f"Best before {best_before} is earlier than the harvest.")


# --- The books -----------------------------------------------------------------------------------


def on_hand(sums: Mapping[str, int]) -> int:
    """Return what lies there: the sum of all six buckets."""
    return sum(sums.get(bucket, 0) for bucket in Bucket)


def is_balanced(movements: Mapping[str, int], levels: Mapping[str, int]) -> bool:
    """Tell whether the balances agree with the ledger they are derived from.

    `movements` has the net quantity of each account over all movements; what came from outside
    counts negative, since a movement takes from one account what it gives to the other.
    `levels` has each bucket's balance. Both must hold: every bucket is the sum of its movements,
    and `received + restocked + found = on_hand + in_transit + consumed + lost`.
    """
    came = -sum(
        movements.get(account, 0)
        for account in (Account.RECEIVED, Account.RESTOCKED, Account.FOUND)
    )
    went = sum(
        movements.get(account, 0)
        for account in (Account.IN_TRANSIT, Account.CONSUMED, Account.LOST)
    )
    return came == on_hand(levels) + went and all(
        movements.get(bucket, 0) == levels.get(bucket, 0) for bucket in Bucket
    )
