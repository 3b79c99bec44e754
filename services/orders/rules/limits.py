"""How much unpaid stock one buyer, one telephone or one caller may have set aside.

Counted are open orders: those for which nothing has been paid and whose goods are, or are about
to be, set aside; by whichever method they are to be paid. So nobody hoards a rare lot for nothing.
"""

from dataclasses import dataclass

#: Why an order waits for an operator's approval, as a code.
OPEN_ORDERS, OPEN_VALUE = "open_orders", "open_value"
#: The same: so many orders of others have the telephone that a known buyer gave.
OTHERS_ORDERS = "others_orders"


@dataclass(frozen=True)
class Allowance:
    """How many open orders one of them may have at once, and what these may cost together."""

    orders: int
    fen: int


@dataclass(frozen=True)
class Limits:
    """What orders may hold before anything is paid."""

    #: For how long a prepaid order's goods wait for the money.
    hold_seconds: int
    #: Of one buyer, and of one telephone.
    buyer: Allowance
    #: Of one token that orders for others, and of one till.
    caller: Allowance


@dataclass(frozen=True)
class Open:
    """The open orders of one buyer, telephone or caller, without a new one."""

    orders: int = 0
    fen: int = 0


def exceeded(has: Open, total_fen: int, allowance: Allowance) -> str | None:
    """Return by what code a new order over `total_fen` goes beyond an allowance, if it does."""
    if has.orders >= allowance.orders:
        return OPEN_ORDERS
    if has.fen + total_fen > allowance.fen:
        return OPEN_VALUE
    return None
