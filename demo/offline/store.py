"""What a till keeps: values that are replaced as a whole, and what can be read from them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

#: The states of an allotment from which a device may sell.
RUNNING = ("granted", "active")


@dataclass(frozen=True)
class Allotment:
    """What the centre said of one allotment at the last contact. Quantities in its unit."""

    allotment_id: str
    lot_id: str
    lot_code: str
    variant_id: str
    best_before: date | None
    #: Last date it may be sold on, in Asia/Shanghai.
    sell_by: date | None
    granted: int
    returned: int
    written_off: int
    #: One of `RUNNING`, `returning` (past its last day, goes back) or `suspended`.
    status: str
    reason: str | None
    lease_until: datetime
    #: What the centre would like to have back before it spoils.
    proposed_return: int


@dataclass(frozen=True)
class Price:
    """What a variant costs over the counter."""

    fen: int
    #: How many grams or pieces `fen` buys.
    unit: int


@dataclass(frozen=True)
class Entry:
    """One numbered entry of the journal. Its content never changes once it may have been sent."""

    number: int
    content: Mapping[str, Any]
    #: What it took from each allotment.
    takes: tuple[tuple[str, int], ...] = ()
    #: Kept before the first attempt to send it: from then on the centre may know it.
    attempted: bool = False
    #: What the centre said of it; None: it is not known to be there.
    status: str | None = None
    reason: str | None = None

    @property
    def kind(self) -> str:
        """Such as `sale`."""
        return str(self.content["kind"])


@dataclass(frozen=True)
class GivenBack:
    """Goods that went back to the centre."""

    allotment_id: str
    quantity: int
    status: str | None = None
    #: Whether the allotment's `returned`, as last heard, holds it.
    counted: bool = False


@dataclass(frozen=True)
class Heard:
    """The last contact: the centre's time, this clock's then, and until when it may sell."""

    server_time: datetime
    device_time: datetime
    lease_until: datetime


@dataclass(frozen=True)
class Store:
    """All that a till keeps. What it is worth: `remaining`, `unsynced`, `next_number`."""

    secret: str
    code: str = ""
    key_id: str = ""
    device_id: str = ""
    device_code: str = ""
    epoch: int = 0
    site_id: str = ""
    revision: int = 0
    heard: Heard | None = None
    #: The latest time its clock has shown.
    latest: datetime | None = None
    journal: Mapping[int, Entry] = field(default_factory=dict)
    allotments: Mapping[str, Allotment] = field(default_factory=dict)
    prices: Mapping[str, Price] = field(default_factory=dict)
    returns: Mapping[str, GivenBack] = field(default_factory=dict)

    @property
    def next_number(self) -> int:
        """The number of the next entry; numbers have no holes."""
        return len(self.journal) + 1

    @property
    def unsynced(self) -> list[Entry]:
        """The entries that the centre is not known to have, oldest first."""
        return [entry for entry in self.journal.values() if entry.status is None]

    @property
    def shift(self) -> int | None:
        """The number that opened the present shift; None: none is open."""
        for entry in reversed(list(self.journal.values())):
            if entry.kind == "shift_open":
                return entry.number
            if entry.kind == "shift_close":
                return None
        return None

    def taken(self) -> Counter[str]:
        """Return what was sold from each allotment, whatever came back since."""
        total: Counter[str] = Counter()
        for entry in self.journal.values():
            for allotment_id, quantity in entry.takes:
                total[allotment_id] += quantity
        return total

    def remaining(self) -> dict[str, int]:
        """Return what may still be sold from each allotment, by all this till knows.

        Never more than the centre knows: what it sold grows only, and goods that came back to
        the counter are its own again only when the centre has granted them again.
        """
        taken = self.taken()
        on_their_way: Counter[str] = Counter()
        for given in self.returns.values():
            if not given.counted:
                on_their_way[given.allotment_id] += given.quantity
        return {
            key: a.granted - a.returned - a.written_off - taken[key] - on_their_way[key]
            for key, a in self.allotments.items()
        }

    def left_to_undo(self, number: int) -> dict[int, int]:
        """Return by line what a sale sold and has not been voided or taken back, if any."""
        sale = self.journal[number].content
        left = {line["line_no"]: line["quantity"] for line in sale["lines"]}
        for entry in self.journal.values():
            if entry.content.get("of") != number:
                continue
            if entry.kind == "void":
                return {}
            for line in entry.content["lines"]:
                left[line["line_no"]] -= line["quantity"]
        return {line_no: quantity for line_no, quantity in left.items() if quantity}
