"""The stored data of a till, as immutable values."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

#: The states of an allotment from which a device may sell.
RUNNING = ("granted", "active")


@dataclass(frozen=True)
class Allotment:
    """One allotment, as of the last contact. Quantities are in its unit."""

    allotment_id: str
    lot_id: str
    lot_code: str
    variant_id: str
    best_before: date | None
    #: The last day on which it may be sold, in Asia/Shanghai.
    sell_by: date | None
    granted: int
    returned: int
    written_off: int
    #: One of `RUNNING`, `returning` (past its last day, goes back) or `suspended`.
    status: str
    reason: str | None
    lease_until: datetime
    #: The quantity that the centre would like back before it spoils.
    proposed_return: int


@dataclass(frozen=True)
class Price:
    """A variant's price at the counter."""

    fen: int
    #: How many grams or pieces `fen` buys.
    unit: int


@dataclass(frozen=True)
class Entry:
    """One numbered entry of the journal. Its content never changes after the first try to send."""

    number: int
    content: Mapping[str, Any]
    #: The quantity that it took from each allotment.
    takes: tuple[tuple[str, int], ...] = ()
    #: Stored before the first try to send it: from then on the centre may have the entry.
    attempted: bool = False
    #: The centre's answer; None if no answer came.
    status: str | None = None
    reason: str | None = None

    @property
    def kind(self) -> str:
        """The kind of action, such as `sale`."""
        return str(self.content["kind"])


@dataclass(frozen=True)
class GivenBack:
    """Goods that go back to the centre."""

    allotment_id: str
    quantity: int
    status: str | None = None
    #: Whether the allotment's `returned`, as of the last contact, includes it.
    counted: bool = False


@dataclass(frozen=True)
class Heard:
    """The last contact: the time by the centre's and the device's clock, and the lease's end."""

    server_time: datetime
    device_time: datetime
    lease_until: datetime


@dataclass(frozen=True)
class Store:
    """All stored data of a till."""

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
        """The number of the next entry; numbers have no gaps."""
        return len(self.journal) + 1

    @property
    def unsynced(self) -> list[Entry]:
        """The entries without an answer of the centre, oldest first."""
        return [entry for entry in self.journal.values() if entry.status is None]

    @property
    def shift(self) -> int | None:
        """The number of the entry that opened the present shift; None if no shift is open."""
        for entry in reversed(list(self.journal.values())):
            if entry.kind == "shift_open":
                return entry.number
            if entry.kind == "shift_close":
                return None
        return None

    def taken(self) -> Counter[str]:
        """Return how much was sold from each allotment; goods that came back are included."""
        total: Counter[str] = Counter()
        for entry in self.journal.values():
            for allotment_id, quantity in entry.takes:
                total[allotment_id] += quantity
        return total

    def remaining(self) -> dict[str, int]:
        """Return how much the till may still sell from each allotment, by its own data.

        This is never more than by the centre's data: the sold quantity only grows, and the till may
        sell goods that came back only when the centre has granted them again.
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
        """Return how much of each line of a sale was neither voided nor taken back, if any."""
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
