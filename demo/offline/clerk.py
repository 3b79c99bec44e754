"""A clerk and a till for one day: sales, a bad link, power cuts, a restored backup.

A step is a part of a station's day. Steps take no real time: a link is down for a number of steps.
The seed decides what a clerk does, but not what the others do at the same moment.
"""

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from time import monotonic
from typing import Any

from demo.living import LOOK, PATIENCE
from demo.offline.device import CannotSell, NoAnswer, PowerCut, Till
from demo.offline.link import Link
from demo.offline.scene import Desk, Goods
from demo.offline.store import Entry, Store
from farmgate.failures import Refused
from shared.runtime import clock

STEPS = 60
#: What a clerk may do in a step → its weight.
HABITS = {
    "sell": 58,
    "void": 5,
    "take back": 5,
    "give back": 3,
    "change shift": 2,
    "hand over": 2,
    "sync": 25,
}
POWER_CUT = 0.05
#: The steps at which the restored device's backup is made, and restored.
BACKUP_AT, RESTORED_AT = 22, 26
#: How many minutes the devices' clocks are wrong, in turn; wrong clocks are common.
CLOCKS_WRONG = (0, 0, 0, -35, 0, 20, 0, 0, -600, 0)
FLOAT_FEN = 20_000
#: The most entries of one upload; few, so that a till uploads in pieces.
PIECE = 12


@dataclass
class Ending:
    """What became of a device, for the table."""

    desk: Desk
    till: Till
    counts: Counter[str] = field(default_factory=Counter)
    #: How often a backup was restored.
    restored: int = 0
    #: The data of earlier machines of this device.
    earlier: list[Store] = field(default_factory=list)


class Cutter:
    """Cuts the power after some of the till's steps, once it is armed."""

    def __init__(self) -> None:
        self._left: int | None = None

    def arm(self, steps: int) -> None:
        """Cut the power after `steps` more steps."""
        self._left = steps

    def disarm(self) -> None:
        """Do not cut the power."""
        self._left = None

    def __call__(self, what: str) -> None:
        """Count a step of the till."""
        if self._left is None:
            return
        if self._left == 0:
            self._left = None
            raise PowerCut(what)
        self._left -= 1


class Clerk:
    """Works with one till, and asks the operator by telephone for more goods."""

    def __init__(
        self,
        desk: Desk,
        link: Link,
        random: Random,
        ask_for_more: Callable[[Desk, str], None],
        is_restored: bool,
    ) -> None:
        self.desk = desk
        self.link = link
        self.name = f"示例营业员{desk.number}"
        self.is_restored = is_restored
        self._random = random
        self._ask_for_more = ask_for_more
        self._cutter = Cutter()
        self._pause = threading.Event()
        wrong = timedelta(minutes=CLOCKS_WRONG[desk.number % len(CLOCKS_WRONG)])
        self._time: Callable[[], datetime] = lambda: clock.now() + wrong
        self.ending = Ending(desk, self._till(None))
        self._backup: Store | None = None
        self._parcels: list[dict[str, Any]] = []

    @property
    def till(self) -> Till:
        """The present till of the device."""
        return self.ending.till

    def _till(self, store: Store | None) -> Till:
        return Till(self.link, store, time=self._time, cut=self._cutter)

    # --- A life -------------------------------------------------------------------------------

    def enrol(self) -> None:
        """Enrol the device; after a lost answer the till tries again."""
        self.link.set_up()
        while self.till.token is None:
            self._insist(lambda: self.till.enrol(self.desk.enrolment_code))
        self.link.leave()

    def begin(self) -> None:
        """Make the first contact, over a good link."""
        self.link.set_up()
        while self.till.store.heard is None:
            self._insist(self.till.contact)
        if self.desk.has_parcels:
            while not self._parcels:
                self._insist(self._fetch_parcels)
        self.link.leave()

    def _fetch_parcels(self) -> None:
        # Logistics may not know the new device's key yet; the event arrives within seconds.
        try:
            self._parcels = self.till.parcels()
        except Refused as problem:
            raise NoAnswer(problem.message) from problem

    def begin_anew(self, code: str) -> None:
        """Replace this machine, which has sent everything, with a new one."""
        self.ending.earlier.append(self.till.snapshot())
        self.ending.till = self._till(None)
        while self.till.token is None:
            self._insist(lambda: self.till.enrol(code))
        self.is_restored = False

    def _insist(self, ask: Callable[[], None]) -> None:
        try:
            ask()
        except NoAnswer:
            self._pause.wait(LOOK)

    def sell_again(self) -> None:
        """Work a short shift."""
        for deed in ("sell", "sell", "sell", "change shift"):
            self._do(deed)

    def live(self, step: int) -> None:
        """Do what the clerk does in this step."""
        self.link.step()
        if self.is_restored and self._live_with_backup(step):
            return
        if self._random.random() < POWER_CUT:
            self._cutter.arm(self._random.randrange(6))
        deed = self._random.choices(list(HABITS), list(HABITS.values()))[0]
        self._do(deed)
        self._cutter.disarm()

    def come_home(self) -> bool:
        """Send everything over a good link; return whether nothing is left to send.

        A disputed return waits for an operator, so it does not count.
        """
        with suppress(NoAnswer, Refused):
            self.till.send_returns()
            while self.till.store.unsynced and self.till.upload():
                self.ending.counts["uploads"] += 1
            self.till.contact()
        given = self.till.store.returns.values()
        settled = all(each.counted or each.status == "disputed" for each in given)
        return not self.till.store.unsynced and settled

    def end_shift(self) -> None:
        """Return a part of the stock that is left, count the drawer and close the shift."""
        while self.till.store.shift is not None and self._waiting_parcels():
            self._hand_over()
        store = self.till.store
        for allotment_id, left in store.remaining().items():
            # All goods that must not be sold any more go back.
            stopped = store.allotments[allotment_id].status == "suspended"
            quantity = left if stopped else left // 2
            if quantity > 0 and store.shift is not None:
                self.till.give_back(allotment_id, quantity)
        if store.shift is not None:
            self.till.close_shift(self._in_drawer(), self.name)

    # --- What a clerk does ----------------------------------------------------------------------

    def _do(self, deed: str) -> None:
        try:
            if self.till.store.shift is None:
                self.till.open_shift(FLOAT_FEN, self.name)
            match deed:
                case "sell":
                    self._sell()
                case "void":
                    self._void()
                case "take back":
                    self._take_back()
                case "give back":
                    self._give_back()
                case "hand over":
                    self._hand_over()
                case "change shift":
                    self.till.close_shift(self._in_drawer(), self.name)
                case _:
                    self._sync()
        except CannotSell as refusal:
            self.ending.counts[str(refusal)] += 1
        except PowerCut:
            self.ending.counts["power cuts"] += 1
            # The till starts again with its stored data only.
            self.ending.till = self._till(self.till.snapshot())

    def _sell(self) -> None:
        store, offer = self.till.store, self.till.on_offer()
        if not offer:
            self._ask()
            raise CannotSell("nothing is left")
        chosen = self._random.sample(sorted(offer), self._random.randint(1, min(2, len(offer))))
        takes = []
        for allotment_id in chosen:
            goods = self._goods_of(store.allotments[allotment_id].lot_id)
            if goods.unit == "g":  # weighed out
                most = goods.pack_quantity
                wanted = self._random.randint(max(1, most // 10), most)
            else:
                wanted = self._random.randint(1, 2) * goods.pack_quantity
            takes.append((allotment_id, min(wanted, offer[allotment_id])))
        self.till.sell(takes, self._random.choice(("cash", "mobile", "cash")), self.name)

    def _void(self) -> None:
        sales = self._undoable(whole=True)
        if sales:
            self.till.void(sales[-1].number, self.name, "输入错误")

    def _take_back(self) -> None:
        sales = self._undoable(whole=False)
        if not sales:
            return
        sale = self._random.choice(sales)
        line_no, left = self._random.choice(
            sorted(self.till.store.left_to_undo(sale.number).items())
        )
        quantity = self._random.randint(1, left)
        restock = self._random.random() < 0.7
        self.till.take_back(sale.number, {line_no: quantity}, restock, self.name, "顾客退货")

    def _undoable(self, *, whole: bool) -> list[Entry]:
        store = self.till.store
        found = []
        for entry in store.journal.values():
            if entry.kind != "sale" or entry.content["voided"]:
                continue
            left = store.left_to_undo(entry.number)
            sold = {line["line_no"]: line["quantity"] for line in entry.content["lines"]}
            if left and (left == sold or not whole):
                found.append(entry)
        return found

    def _give_back(self) -> None:
        left = {key: n for key, n in self.till.store.remaining().items() if n > 3}
        if left:
            allotment_id = self._random.choice(sorted(left))
            self.till.give_back(allotment_id, self._random.randint(1, left[allotment_id] // 3))

    def _hand_over(self) -> None:
        """Hand over a waiting parcel; its buyer pays."""
        for parcel in self._waiting_parcels()[:1]:
            due = parcel["due_fen"]
            self.till.hand_over(parcel["shipment_id"], due, self.name, received_by="示例买家")

    def _waiting_parcels(self) -> list[dict[str, Any]]:
        """Return the parcels that the journal does not show as handed over."""
        journal = self.till.store.journal.values()
        gone = {entry.content.get("shipment_id") for entry in journal}
        return [parcel for parcel in self._parcels if parcel["shipment_id"] not in gone]

    def _sync(self) -> None:
        """Try once to reach the centre, as a till does regularly."""
        counts = self.ending.counts
        try:
            self.till.send_returns()
            numbers = [entry.number for entry in self.till.store.unsynced]
            self._random.shuffle(numbers)  # the order must not matter
            while numbers:
                piece, numbers = numbers[:PIECE], numbers[PIECE:]
                counts["uploads"] += 1
                self.till.upload(piece)
            self.till.contact()
            self.till.ask_attention()
        except NoAnswer:
            counts["no answer"] += 1
        except Refused as problem:
            # Orders may not know a new device's key yet; the event arrives within seconds.
            counts[f"refused: {problem.kind}"] += 1
        self._ask()

    def _sync_surely(self) -> None:
        """Sync over a good link, and wait until the centre has answered everything."""
        self.link.set_up()
        deadline = monotonic() + PATIENCE
        while not self.come_home() and monotonic() < deadline:
            self._pause.wait(LOOK)
        self.link.leave()

    def _ask(self) -> None:
        """Sometimes ask for more of a lot of which the till has nothing left to sell."""
        store = self.till.store
        offered = {store.allotments[key].lot_id for key in self.till.on_offer()}
        empty = [goods for goods in self.desk.goods if goods.lot_id not in offered]
        if empty and self._random.random() < 0.3:
            self._ask_for_more(self.desk, self._random.choice(empty).lot_id)

    def _goods_of(self, lot_id: str) -> Goods:
        return next(goods for goods in self.desk.goods if goods.lot_id == lot_id)

    def _in_drawer(self) -> int:
        """Return the cash in this shift's drawer, in fen."""
        store, total = self.till.store, 0
        for entry in store.journal.values():
            content = entry.content
            if entry.kind == "shift_open":
                total = content["float_fen"]
            elif content.get("payment") == "cash":
                total += content.get("total_fen", 0) + content.get("collected_fen", 0)
                total -= content.get("refund_fen", 0)
        return max(0, total)

    # --- The backup -------------------------------------------------------------------------------

    def _live_with_backup(self, step: int) -> bool:
        """Make a backup, sell, send, restore it, sell again; return whether this step did so."""
        if step == BACKUP_AT:
            for goods in self.desk.goods:
                self._ask_for_more(self.desk, goods.lot_id)
            self._sync_surely()
            self._backup = self.till.snapshot()
        elif step == RESTORED_AT - 1:
            # When the backup is restored, the centre has large sales that the backup lacks.
            if self.till.store.shift is None:
                self.till.open_shift(FLOAT_FEN, self.name)
            for allotment_id, left in self.till.on_offer().items():
                self.till.sell([(allotment_id, max(1, left // 2))], "mobile", self.name)
            self._sync_surely()
        elif step == RESTORED_AT and self._backup is not None:
            self.till.restore(self._backup)
            self.ending.restored += 1
        elif step > RESTORED_AT:
            self._do(self._random.choice(("sell", "sell", "sync")))
        else:
            return False
        return True
