"""The stories of orders: the steps of each, and how it must end.

A story's end depends on its own steps alone, never on which of two orders came first. So the same
seed has the same result on every system.
"""

from dataclasses import dataclass
from enum import StrEnum


class Step(StrEnum):
    """One action on an order."""

    PAY = "pay"
    PAYMENT_FAILS = "payment fails"
    PACK = "pack"
    DISPATCH = "dispatch"
    ARRIVE = "arrive"
    HAND_OVER = "hand over"
    FAIL = "fail"
    RETURN = "return"
    WRITE_OFF = "write off"
    CANCEL = "cancel"
    EXPIRE = "let expire"
    PAY_LATE = "pay late"


class Goods(StrEnum):
    """Where the goods are at a story's end."""

    #: Never reserved, or back in free stock.
    FREE = "free"
    RESERVED = "reserved"
    COMMITTED = "committed"
    #: With the buyer, on the lorry, or thrown away.
    GONE = "gone"


@dataclass(frozen=True)
class Story:
    """One kind of order; `share` is its percentage of the orders."""

    title: str
    share: int
    prepaid: bool
    steps: tuple[Step, ...]
    #: The order's state at the end.
    ending: str
    goods: Goods
    collect: bool = False
    #: Whether one of its `lines` lines asks for more than there is.
    excessive: bool = False
    lines: int | None = None


_TRAVEL = (Step.PACK, Step.DISPATCH, Step.ARRIVE)

STORIES = (
    Story("cash, delivered", 20, False, (*_TRAVEL, Step.HAND_OVER), "completed", Goods.GONE),
    Story("cash, collected", 14, False, (*_TRAVEL, Step.HAND_OVER), "completed", Goods.GONE, True),
    Story(
        "paid, delivered",
        12,
        True,
        (Step.PAY, *_TRAVEL, Step.HAND_OVER),
        "completed",
        Goods.GONE,
    ),
    Story(
        "paid, collected",
        6,
        True,
        (Step.PAY, *_TRAVEL, Step.HAND_OVER),
        "completed",
        Goods.GONE,
        True,
    ),
    Story(
        "payment failed, then paid",
        4,
        True,
        (Step.PAYMENT_FAILS, Step.PAY, *_TRAVEL, Step.HAND_OVER),
        "completed",
        Goods.GONE,
    ),
    Story("paid, not yet packed", 4, True, (Step.PAY,), "confirmed", Goods.COMMITTED),
    Story("packed", 3, False, (Step.PACK,), "in_fulfilment", Goods.COMMITTED),
    Story("on its way", 3, False, (Step.PACK, Step.DISPATCH), "shipped", Goods.GONE),
    Story("out of stock, cash", 5, False, (), "rejected", Goods.FREE, excessive=True, lines=1),
    Story("out of stock, prepaid", 3, True, (), "rejected", Goods.FREE, excessive=True, lines=1),
    Story(
        "one of its lines out of stock",
        3,
        False,
        (),
        "rejected",
        Goods.FREE,
        excessive=True,
        lines=5,
    ),
    Story("cancelled before it was paid", 4, True, (Step.CANCEL,), "cancelled", Goods.FREE),
    Story("cancelled once confirmed", 4, False, (Step.CANCEL,), "cancelled", Goods.FREE),
    Story("cancelled once packed", 3, False, (Step.PACK, Step.CANCEL), "cancelled", Goods.FREE),
    Story("paid, cancelled, refunded", 3, True, (Step.PAY, Step.CANCEL), "cancelled", Goods.FREE),
    Story(
        "not taken, back in stock",
        3,
        False,
        (*_TRAVEL, Step.FAIL, Step.RETURN),
        "returned",
        Goods.FREE,
    ),
    Story(
        "paid, not taken, spoiled, refunded",
        1,
        True,
        (Step.PAY, *_TRAVEL, Step.FAIL, Step.WRITE_OFF),
        "returned",
        Goods.GONE,
    ),
    Story("never paid", 4, True, (Step.EXPIRE,), "expired", Goods.FREE),
    Story(
        "paid after it had expired",
        1,
        True,
        (Step.EXPIRE, Step.PAY_LATE),
        "confirmed",
        Goods.COMMITTED,
    ),
)

#: The story of an order that would expire only long after the demo.
WAITING = Story("unpaid, waiting", 0, True, (), "reserved", Goods.RESERVED)
