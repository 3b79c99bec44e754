"""Rules for allotments, the stock that a device may sell offline: states, quantities, lease.

An allotment is an escrow: only its device can sell this stock, so the device sells it without
asking first. Sources: O'Neil, "The Escrow Transactional Method", ACM TODS 11(4), 1986; "Escrow
techniques for mobile sales and inventory applications", Wireless Networks,
doi 10.1023/A:1019161318592.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from enum import StrEnum

from shared.runtime.clock import LOCAL
from shared.runtime.errors import Conflict


class AllotmentStatus(StrEnum):
    """The status of an allotment.

    `granted` becomes `active` at the device's next contact. `returning`: its last sale day is over,
    and the device must give the rest back. `suspended`: the device must not sell from it. `closed`:
    nothing is left of it; a later grant of the same lot to the same device opens it again.
    """

    GRANTED = "granted"
    ACTIVE = "active"
    RETURNING = "returning"
    SUSPENDED = "suspended"
    CLOSED = "closed"


#: In these states a device may sell, once a contact has told it of the allotment.
RUNNING = (AllotmentStatus.GRANTED, AllotmentStatus.ACTIVE)


class SuspensionReason(StrEnum):
    """The reason for which an allotment is suspended."""

    LOT_HELD = "lot_held"
    LOT_RECALLED = "lot_recalled"
    OPERATOR = "operator"


class WrongAllotmentState(Conflict):
    """Raised when an allotment's state does not allow the step; the message names the state."""


class BeyondRemaining(Conflict):
    """Raised when more is taken from an allotment than it has left."""


class AllotmentNotEmpty(Conflict):
    """Raised when an operator closes an allotment that has stock left."""


_STEPS: Mapping[AllotmentStatus, frozenset[AllotmentStatus]] = {
    AllotmentStatus.GRANTED: frozenset(
        {
            AllotmentStatus.ACTIVE,
            AllotmentStatus.RETURNING,
            AllotmentStatus.SUSPENDED,
            AllotmentStatus.CLOSED,
        }
    ),
    AllotmentStatus.ACTIVE: frozenset(
        {
            AllotmentStatus.GRANTED,
            AllotmentStatus.RETURNING,
            AllotmentStatus.SUSPENDED,
            AllotmentStatus.CLOSED,
        }
    ),
    AllotmentStatus.RETURNING: frozenset({AllotmentStatus.SUSPENDED, AllotmentStatus.CLOSED}),
    # Like a new grant: the device must learn that it is resumed before it sells.
    AllotmentStatus.SUSPENDED: frozenset({AllotmentStatus.GRANTED, AllotmentStatus.CLOSED}),
    AllotmentStatus.CLOSED: frozenset({AllotmentStatus.GRANTED}),
}


def allotment_step(present: AllotmentStatus | str, wanted: AllotmentStatus) -> AllotmentStatus:
    """Return `wanted` if an allotment may change to it from `present`, or has it already.

    Raises:
        WrongAllotmentState: there is no such step; the message lists the steps from `present`.
    """
    status = AllotmentStatus(present)
    if wanted != status and wanted not in _STEPS[status]:
        allowed = ", ".join(sorted(_STEPS[status]))
        raise WrongAllotmentState(
            f"The allotment is {status} and cannot become {wanted}; it can become {allowed}.",
            state=str(status),
        )
    return wanted


#: From the weakest reason to the strongest.
_RANKS = (SuspensionReason.LOT_HELD, SuspensionReason.OPERATOR, SuspensionReason.LOT_RECALLED)


def outranks(reason: SuspensionReason, present: SuspensionReason | str | None) -> bool:
    """Tell whether `reason` replaces the present reason of a suspension.

    A recall is final, so it replaces all others. An operator's reason replaces a hold, and a hold
    does not replace an operator's: the suspension would then end with the hold.
    """
    return present is None or _RANKS.index(reason) > _RANKS.index(SuspensionReason(present))


@dataclass(frozen=True, slots=True)
class Quota:
    """An allotment's five quantities; `granted = sold + returned + remaining + written_off`.

    `sold` is gross and only grows: goods that a buyer returns at the counter are granted anew. So
    a device's sales never exceed its grants, whichever uploads have arrived, in whichever order.
    """

    granted: int = 0
    sold: int = 0
    returned: int = 0
    remaining: int = 0
    written_off: int = 0

    def grant(self, quantity: int) -> "Quota":
        """Return the quota with `quantity` more to sell."""
        return replace(self, granted=self.granted + quantity, remaining=self.remaining + quantity)

    def sell(self, quantity: int) -> "Quota":
        """Return the quota with `quantity` sold.

        Raises:
            BeyondRemaining: less is left.
        """
        return replace(self._without(quantity), sold=self.sold + quantity)

    def give_back(self, quantity: int) -> "Quota":
        """Return the quota with `quantity` returned to the free stock.

        Raises:
            BeyondRemaining: less is left.
        """
        return replace(self._without(quantity), returned=self.returned + quantity)

    def write_off(self, quantity: int) -> "Quota":
        """Return the quota with `quantity` found missing.

        Raises:
            BeyondRemaining: less is left.
        """
        return replace(self._without(quantity), written_off=self.written_off + quantity)

    def _without(self, quantity: int) -> "Quota":
        if quantity > self.remaining:
            raise BeyondRemaining(
                f"{quantity} asked for, {self.remaining} left of what was allotted.",
                requested=quantity,
                remaining=self.remaining,
            )
        return replace(self, remaining=self.remaining - quantity)


def end_of_day(day: date) -> datetime:
    """Return the moment at which a date in Asia/Shanghai ends."""
    return datetime.combine(day + timedelta(days=1), time.min, tzinfo=LOCAL)


def lease_end(lease_until: datetime | None, sell_by: date | None) -> datetime | None:
    """Return when a device's lease for one lot ends: with its own lease or with the last sale day.

    The earlier moment counts; None if the device has no lease. After it the device must not sell
    the lot. The allotment itself stays: only a return or an operator's count ends it.
    """
    if lease_until is None or sell_by is None:
        return lease_until
    return min(lease_until, end_of_day(sell_by))
