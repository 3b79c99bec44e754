"""What the services ought to hold of stations: a model beside them, small enough to believe."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from shared.runtime import devices

#: A device and its epoch; the same with a lot; the same with a number.
Key = tuple[str, int]
OfLot = tuple[str, int, str]
Name = tuple[str, int, int]


def plain(id_: Any) -> str:
    """Return an id as SQLite has it: 32 digits."""
    return UUID(str(id_)).hex


@dataclass
class Quota:
    """What one epoch of a device was granted of a lot, and what became of it."""

    granted: int = 0
    sold: int = 0
    returned: int = 0
    written_off: int = 0

    @property
    def remaining(self) -> int:
        return self.granted - self.sold - self.returned - self.written_off


@dataclass
class Copy:
    """One content that came under a name, and what orders ought to say of it."""

    content: dict[str, Any]
    status: str = "accepted"
    reason: str | None = None
    #: Of a sale: by line, quantity and fen that came back.
    back: dict[int, tuple[int, int]] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return str(self.content["kind"])


@dataclass
class Sold:
    """A sale as catalog ought to have it. `open`: by line what nothing covers."""

    key: Key
    number: int
    lines: dict[int, tuple[str, int]]
    covered: bool
    reason: str | None = None
    open: dict[int, int] = field(default_factory=dict)


class Ought:
    """What the services ought to hold: small, one step after the other, and by heart."""

    def __init__(self) -> None:
        self.quotas: dict[OfLot, Quota] = {}
        self.copies: dict[Name, list[Copy]] = {}
        #: Recorded sales, voids and returns that catalog has not heard of yet, by id.
        self.untold: dict[str, tuple[str, str | None, list[dict[str, Any]]]] = {}
        self.sales: dict[str, Sold] = {}
        self.heard: set[UUID] = set()
        self.cash: Counter[str] = Counter()
        #: What came and went, by lot and account of the ledger.
        self.flows: Counter[tuple[str, str]] = Counter()
        #: What catalog decides by itself while it hears: how goods that come back may be granted.
        self.may_grant_again: Callable[[OfLot], bool] = lambda which: False

    def quota(self, key: Key, lot_id: str) -> Quota:
        return self.quotas.setdefault((*key, lot_id), Quota())

    # --- Orders ---------------------------------------------------------------------------

    def upload(self, key: Key, entries: list[Any], answers: list[dict[str, Any]]) -> None:
        """Take entries in and compare what each was answered."""
        found = []
        for entry in entries:
            copies = self.copies.setdefault((*key, entry["number"]), [])
            copy = next((copy for copy in copies if copy.content == entry), None)
            found.append((copy or Copy(entry), copy is not None))
            if copy is None:
                copies.append(found[-1][0])
                self._take_in(key, found[-1][0], first=len(copies) == 1)
        self._judge(key)
        for (copy, known), answer in zip(found, answers, strict=True):
            status = "disputed" if copy.status == "disputed" else "accepted"
            assert answer["number"] == copy.content["number"]
            assert answer["status"] == ("duplicate" if known else status), (copy, answer)

    def _take_in(self, key: Key, copy: Copy, *, first: bool) -> None:
        if not first:
            copy.status, copy.reason = "disputed", "other_content"
        elif copy.kind in ("void", "return"):
            copy.status = "waiting"
            return
        elif copy.kind == "sale" and not copy.content["voided"]:
            self.untold[self._id(key, copy)] = ("sale", None, copy.content["lines"])
        self._take_cash(copy)

    def _take_cash(self, copy: Copy) -> None:
        """Money of a sale was taken, also of a disputed one; none is given back in a dispute."""
        content = copy.content
        if content.get("payment") != "cash" or content.get("voided"):
            return
        if copy.kind == "sale":
            self.cash[content["clerk"]] += content["total_fen"]
        elif copy.status == "accepted":
            self.cash[content["clerk"]] -= content["refund_fen"]

    def _judge(self, key: Key) -> None:
        """Let voids and returns take effect of which all that decides on them is here."""
        waiting = [
            copies[0]
            for name, copies in self.copies.items()
            if name[:2] == key and copies[0].status == "waiting"
        ]
        for copy in sorted(waiting, key=lambda copy: int(copy.content["number"])):
            content = copy.content
            between = range(content["of"], content["number"])
            if any((*key, number) not in self.copies for number in between):
                continue
            sale = self.copies[*key, content["of"]][0]
            back = self._taken_back(sale, copy)
            if back is None:
                copy.status, copy.reason = "disputed", "beyond_sale"
                continue
            copy.status = "accepted"
            for line in back:
                quantity, fen = sale.back.get(line["line_no"], (0, 0))
                sale.back[line["line_no"]] = (quantity + line["quantity"], fen + line["fen"])
            if not sale.content["voided"]:
                self.untold[self._id(key, copy)] = (copy.kind, self._id(key, sale), back)
                self._take_cash(copy)

    def _taken_back(self, sale: Copy, copy: Copy) -> list[dict[str, Any]] | None:
        """Return what a void or return takes back; None: it may not."""
        if sale.kind != "sale":
            return None
        lines = {line["line_no"]: line for line in sale.content["lines"]}
        gone_fen = sum(fen for _, fen in sale.back.values())
        if copy.kind == "void":
            back = []
            for line_no, line in lines.items():
                quantity, fen = sale.back.get(line_no, (0, 0))
                if line["quantity"] > quantity:
                    rest = {"quantity": line["quantity"] - quantity, "restock": True}
                    back.append(line | rest | {"fen": line["line_total_fen"] - fen})
            left_fen = sale.content["total_fen"] - gone_fen
            return back if back and copy.content["refund_fen"] == left_fen else None
        if sale.content["voided"]:
            return None
        back = []
        for part in copy.content["lines"]:
            line = lines.get(part["line_no"])
            if line is None:
                return None
            quantity, fen = sale.back.get(part["line_no"], (0, 0))
            if quantity + part["quantity"] > line["quantity"]:
                return None
            if fen + part["refund_fen"] > line["line_total_fen"]:
                return None
            back.append(line | part | {"fen": part["refund_fen"]})
        return back

    @staticmethod
    def _id(key: Key, copy: Copy) -> str:
        return devices.entry_id(UUID(key[0]), key[1], copy.content["number"]).hex

    # --- Catalog --------------------------------------------------------------------------

    def hear(self, event: Any) -> None:
        """Take in what orders says, as catalog does when it handles the event."""
        if event.event_id in self.heard or not event.type.startswith("orders.station_sale"):
            return
        self.heard.add(event.event_id)
        told = event.data
        sale_id = told.sale_id.hex
        key = (told.device_id.hex, told.epoch)
        lines = {line.line_no: (line.lot_id.hex, line.quantity) for line in told.lines}
        if event.type == "orders.station_sale_disputed.v1":
            if told.kind == "sale" and sale_id not in self.sales:
                self._overdraw(sale_id, key, told.number, lines, told.reason)
            return
        kind, of, expected = self.untold.pop(sale_id)
        assert kind == told.kind
        assert lines == {
            line["line_no"]: (plain(line["lot_id"]), line["quantity"]) for line in expected
        }
        if kind == "sale":
            self._sell(sale_id, key, told.number, lines)
        else:
            assert of is not None
            self._undo(self.sales[of], expected)

    def _sell(self, sale_id: str, key: Key, number: int, lines: dict[int, tuple[str, int]]) -> None:
        wanted: Counter[str] = Counter()
        for lot_id, quantity in lines.values():
            wanted[lot_id] += quantity
        beyond = {
            lot_id
            for lot_id, quantity in wanted.items()
            if (*key, lot_id) not in self.quotas or self.quotas[*key, lot_id].remaining < quantity
        }
        if beyond:
            unknown = any((*key, lot_id) not in self.quotas for lot_id in beyond)
            reason = "no_allotment" if unknown else "beyond_grant"
            self._overdraw(sale_id, key, number, lines, reason)
            return
        for lot_id, quantity in wanted.items():
            self.quotas[*key, lot_id].sold += quantity
            self.flows[lot_id, "consumed"] += quantity
        self.sales[sale_id] = Sold(key, number, lines, covered=True)

    def _overdraw(
        self, sale_id: str, key: Key, number: int, lines: dict[int, tuple[str, int]], reason: str
    ) -> None:
        uncovered = {line_no: quantity for line_no, (_, quantity) in lines.items()}
        self.sales[sale_id] = Sold(key, number, lines, False, reason, uncovered)

    def _undo(self, sale: Sold, back: list[dict[str, Any]]) -> None:
        for line in back:
            if not sale.covered:
                if line["line_no"] in sale.open:
                    sale.open[line["line_no"]] -= line["quantity"]
                continue
            lot_id = plain(line["lot_id"])
            self.flows[lot_id, "restocked"] += line["quantity"]
            if not line["restock"]:
                self.flows[lot_id, "lost"] += line["quantity"]
            elif self.may_grant_again((*sale.key, lot_id)):
                self.quotas[*sale.key, lot_id].granted += line["quantity"]
        sale.open = {line_no: quantity for line_no, quantity in sale.open.items() if quantity}

    def needed(self, sale: Sold) -> Counter[str]:
        """Return what a sale still needs to be covered, by lot."""
        needed: Counter[str] = Counter()
        for line_no, quantity in sale.open.items():
            needed[sale.lines[line_no][0]] += quantity
        return needed

    def statuses(self) -> Counter[tuple[Any, ...]]:
        """Return how often which device, epoch, number and kind ought to have which status."""
        found: Counter[tuple[Any, ...]] = Counter()
        for name, copies in self.copies.items():
            for copy in copies:
                if copy.kind != "sale" or copy.content["voided"]:
                    found[*name, copy.kind, copy.status] += 1
        for sale in self.sales.values():
            decided = "settled" if sale.reason else "accepted"
            found[*sale.key, sale.number, "sale", "disputed" if sale.open else decided] += 1
        return found

    def open_overdrafts(self) -> list[tuple[str, int, int, str, tuple[tuple[int, int], ...]]]:
        """Return all that an operator has to decide: device, epoch, number, reason, lines."""
        return sorted(
            (*sale.key, sale.number, sale.reason or "", tuple(sorted(sale.open.items())))
            for sale in self.sales.values()
            if sale.open
        )
