"""The states of a reservation, and the plan of which lots an order takes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, NamedTuple, Protocol, TypeVar
from uuid import UUID

from services.catalog.rules.stock.ledger import Bucket
from shared.runtime.errors import Conflict


class ReservationStatus(StrEnum):
    """The status of the stock that an order asked for.

    `RESERVED` is stored and shown as `held`.
    """

    REFUSED = "refused"
    RESERVED = "held"
    COMMITTED = "committed"
    CONSUMED = "consumed"
    RELEASED = "released"
    RETURNED = "returned"


class WrongReservationState(Conflict):
    """Raised when an event does not fit the reservation's state: one was lost or came twice."""


#: The bucket in which a reservation in one of these states has its goods.
BUCKET_OF: Mapping[ReservationStatus, Bucket] = {
    ReservationStatus.RESERVED: Bucket.RESERVED,
    ReservationStatus.COMMITTED: Bucket.COMMITTED,
}

_RESERVATION_STEPS: Mapping[ReservationStatus, frozenset[ReservationStatus]] = {
    # After a late payment the order asks for its stock again.
    ReservationStatus.REFUSED: frozenset({ReservationStatus.RESERVED, ReservationStatus.REFUSED}),
    ReservationStatus.RELEASED: frozenset({ReservationStatus.RESERVED, ReservationStatus.REFUSED}),
    # Logistics may be quicker than orders: goods can leave before `order_confirmed` arrives.
    ReservationStatus.RESERVED: frozenset(
        {ReservationStatus.COMMITTED, ReservationStatus.RELEASED, ReservationStatus.CONSUMED}
    ),
    ReservationStatus.COMMITTED: frozenset(
        {ReservationStatus.CONSUMED, ReservationStatus.RELEASED}
    ),
    ReservationStatus.CONSUMED: frozenset({ReservationStatus.RETURNED}),
    ReservationStatus.RETURNED: frozenset(),
}


def check_reservation_step(present: ReservationStatus | str, wanted: ReservationStatus) -> None:
    """Pass when a reservation may go from `present` to `wanted`.

    Raises:
        WrongReservationState: there is no such step.
    """
    if wanted not in _RESERVATION_STEPS[ReservationStatus(present)]:
        raise WrongReservationState(f"The reservation is {present} and cannot become {wanted}.")


#: An order takes from no more lots than this in all: its events must stay below the size limit
#: (262,144 bytes; a lot in an event needs up to 220).
MOST_LOTS = 1000


class Pickable(Protocol):
    """One lot at one location, with an integer `available`."""

    available: Any


PickableT = TypeVar("PickableT", bound=Pickable)


@dataclass(frozen=True, slots=True)
class WantedLine:
    """The quantity of a variant that a line of an order, or a grant, asks for."""

    line_no: int
    variant_id: UUID
    quantity: int


@dataclass(frozen=True, slots=True)
class Take(Generic[PickableT]):
    """What one line takes from one lot at one location."""

    line: WantedLine
    source: PickableT
    quantity: int


class ReservedLot(NamedTuple):
    """What one line of an order has set aside of one lot at one location."""

    line_no: int
    variant_id: UUID
    lot_id: UUID
    location_id: UUID
    quantity: int


@dataclass(frozen=True, slots=True)
class ShortLine:
    """A line that cannot be covered, and how much is available for it."""

    line: WantedLine
    available: int


def plan(
    lines: Iterable[WantedLine],
    pickable: Mapping[UUID, Sequence[PickableT]],
) -> tuple[list[Take[PickableT]], list[ShortLine]]:
    """Return what each line takes, lot by lot, in picking order, and the shortfalls.

    `pickable` has the lots of each variant in picking order (see `picking_key`). An order gets all
    its lines or none: when any line is short, nothing is taken and the shortfalls are returned.
    Lines on one variant share its stock and together never take more. An order takes at most
    `MOST_LOTS` lots; stock in further lots does not count.
    """
    taken: list[Take[PickableT]] = []
    shortfalls: list[ShortLine] = []
    used: dict[int, int] = {}
    for line in lines:
        missing = line.quantity
        for source in pickable.get(line.variant_id, ()):
            left = source.available - used.get(id(source), 0)
            if left <= 0:
                continue
            if len(taken) == MOST_LOTS:
                break
            quantity = min(left, missing)
            used[id(source)] = used.get(id(source), 0) + quantity
            taken.append(Take(line, source, quantity))
            missing -= quantity
            if not missing:
                break
        if missing:
            shortfalls.append(ShortLine(line, line.quantity - missing))
    return ([], shortfalls) if shortfalls else (taken, [])
