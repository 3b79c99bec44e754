"""Where stock stands, why it moves, and when the books balance."""

from collections.abc import Mapping
from enum import StrEnum


class Bucket(StrEnum):
    """Where a quantity of a lot at a location stands; on hand is the sum of all six.

    `available` is free to sell, and only released lots have any. `QUARANTINED`
    (stored and shown as `held`) is what may not be sold: goods of a lot that is not released.
    """

    AVAILABLE = "available"
    RESERVED = "reserved"
    COMMITTED = "committed"
    ALLOTTED = "allotted"
    QUARANTINED = "held"
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
    ALLOTTED = "allotted"
    ALLOTMENT_RETURNED = "allotment_returned"
    SHIPPED = "shipped"
    ARRIVED = "arrived"
    QUARANTINED = "held"
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


def on_hand(sums: Mapping[str, int]) -> int:
    """Return the quantity on hand: the sum of all six buckets."""
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
