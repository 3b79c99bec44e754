"""How much unpaid stock one buyer, one telephone or one caller may have set aside.

Open orders count: nothing has been paid for them, and their goods are, or are about to be, set
aside. The payment method does not matter. The limits keep a buyer from hoarding a rare lot.
"""

from dataclasses import dataclass
from typing import Literal

#: Why an order waits for an operator's approval, as a code.
OPEN_ORDERS, OPEN_VALUE = "open_orders", "open_value"
#: The same, of an order whose known buyer gave a telephone that has too many orders of others.
OTHERS_ORDERS = "others_orders"


@dataclass(frozen=True)
class Allowance:
    """How many open orders a buyer, telephone or caller may have, and their highest sum."""

    orders: int
    fen: int


@dataclass(frozen=True)
class Limits:
    """What orders may hold before anything is paid."""

    #: How long a prepaid order's goods are held for the payment.
    hold_seconds: int
    #: Of one buyer, and of one telephone.
    buyer: Allowance
    #: Of one token that orders for others, and of one till.
    caller: Allowance


#: Who has open orders: ("phone", its digest), ("buyer", id) or ("caller", subject of the token).
Holder = tuple[Literal["phone", "buyer", "caller"], bytes | str]


@dataclass(frozen=True)
class Open:
    """The open orders of one buyer, telephone or caller, without a new one."""

    orders: int = 0
    fen: int = 0

    def plus(self, orders: int, fen: int) -> "Open":
        """Return these and further orders."""
        return Open(self.orders + orders, self.fen + fen)


def exceeded(has: Open, total_fen: int, allowance: Allowance) -> str | None:
    """Return the code of what a new order over `total_fen` exceeds; None: it is within bounds."""
    if has.orders >= allowance.orders:
        return OPEN_ORDERS
    if has.fen + total_fen > allowance.fen:
        return OPEN_VALUE
    return None
