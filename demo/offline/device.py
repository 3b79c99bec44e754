"""A simulated till: it does what the page at /till does, without a browser.

All its data are in `Store`, a value. Each step replaces the whole value, as one durable
transaction would. So a power cut is an exception between two steps, a backup is an old value, and
a clone is the same value twice.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any, Protocol
from uuid import uuid4

from demo.offline.store import RUNNING, Allotment, Entry, GivenBack, Heard, Price, Store
from shared.runtime import api_keys, clock

APP_VERSION = "simulated 1"
#: The most entries and returns of one request that the services accept.
MOST_ENTRIES, MOST_RETURNS = 500, 100
#: How far the clock may step back, as a network may set it back, before the till stops selling.
CLOCK_TOLERANCE = timedelta(seconds=5)


class NoAnswer(Exception):
    """Raised when no answer came from the centre, which may have done the work all the same."""


class PowerCut(Exception):
    """Raised at a power cut; afterwards the till has only the data that it had stored."""


class CannotSell(Exception):
    """Raised when the till must not sell, or not these goods; says why, as to the clerk."""


class Send(Protocol):
    """Sends a request to the centre; `token` is the device's key, None before the enrolment.

    Raises `NoAnswer`, or `farmgate.failures.Refused` for an answer that is a problem.
    """

    def __call__(
        self, service: str, method: str, path: str, body: Any, token: str | None
    ) -> Any: ...


class Till:
    """One device. It calls `cut` with the name of each step; `cut` may raise `PowerCut`.

    `time` is the device's own clock, which may be wrong.
    """

    def __init__(
        self,
        send: Send,
        store: Store | None = None,
        *,
        time: Callable[[], datetime] = clock.now,
        cut: Callable[[str], None] = lambda what: None,
    ) -> None:
        self.store = store or Store(api_keys.new_secret())
        self._send = send
        self._time = time
        self._cut = cut

    # --- Kept and lost ------------------------------------------------------------------------

    def snapshot(self) -> Store:
        """Return a backup of everything."""
        return self.store

    def restore(self, backup: Store) -> None:
        """Replace all data with a backup."""
        self.store = backup

    def _keep(self, what: str, **changes: Any) -> None:
        self._cut(f"before {what}")
        moment = self._time()
        latest = max(moment, self.store.latest or moment)
        self.store = replace(self.store, **{"latest": latest, **changes})
        self._cut(f"after {what}")

    # --- The centre ---------------------------------------------------------------------------

    @property
    def token(self) -> str | None:
        """The device's own key; None before it is enrolled."""
        if not self.store.key_id:
            return None
        key_id = self.store.key_id.replace("-", "")
        return f"{api_keys.PREFIX}{key_id}_{self.store.secret}"

    def _call(self, service: str, method: str, path: str, body: Any = None) -> Any:
        answer = self._send(service, method, path, body, self.token)
        self._cut(f"after {path}")
        return answer

    def enrol(self, code: str) -> None:
        """Enrol this device with an operator's code. A repetition changes nothing.

        Raises:
            Refused: the code is unknown, used by another device, or too old.
            NoAnswer: no answer came; try again.
        """
        self._keep("enrolment begun", code=code)
        body = {"code": code, "secret": self.store.secret}
        answer = self._send("catalog", "POST", "/till/enrol", body, None)
        if not _is_ours(answer, "device_id", "epoch", "key_id", "site"):
            raise NoAnswer("something else than the centre answered")
        self._keep(
            "enrolment",
            key_id=answer["key_id"],
            device_id=answer["device_id"],
            device_code=answer["device_code"],
            epoch=answer["epoch"],
            site_id=answer["site"]["site_id"],
        )

    def contact(self) -> None:
        """Report the device's state to the centre; learn what it may sell and until when.

        Raises:
            Refused: the centre does not accept its key any more.
            NoAnswer: no answer came; nothing has changed here.
        """
        store, device_time = self.store, self._time()
        unsynced = store.unsynced
        remaining: Counter[str] = Counter()
        for allotment_id, quantity in store.remaining().items():
            remaining[store.allotments[allotment_id].lot_id] += max(0, quantity)
        # The answer surely includes only returns that the centre answered before this request.
        settled = {
            key: replace(given, counted=True)
            for key, given in store.returns.items()
            if given.status in ("accepted", "duplicate")
        }
        answer = self._call(
            "catalog",
            "POST",
            "/till/contact",
            {
                "seen_revision": store.revision,
                "unsynced": len(unsynced),
                "oldest_unsynced_at": unsynced[0].content["device_time"] if unsynced else None,
                "last_number": store.next_number - 1,
                "device_time": clock.rfc3339(device_time),
                "app_version": APP_VERSION,
                "remaining": dict(remaining),
            },
        )
        if not _is_ours(answer, "device", "revision", "allotments", "variants"):
            raise NoAnswer("something else than the centre answered")
        told = answer["device"]
        if (told["device_id"], told["epoch"]) != (store.device_id, store.epoch):
            raise NoAnswer("the answer is for another device")
        if answer["revision"] < store.revision:
            return  # the till knows a newer answer
        self._keep(
            "contact",
            revision=answer["revision"],
            heard=Heard(
                _moment(answer["server_time"]), device_time, _moment(answer["lease_until"])
            ),
            latest=device_time,  # even if it is earlier: lease and time count from here
            allotments={a["allotment_id"]: _allotment(a) for a in answer["allotments"]},
            prices={
                v["variant_id"]: Price(v["price_fen"], v["price_unit"])
                for v in answer["variants"]
                if v["price_fen"] is not None
            },
            returns={**store.returns, **settled},
        )

    def upload(self, numbers: Sequence[int] | None = None) -> int:
        """Send all unsynced entries, or those with `numbers`; return how many were accepted.

        An entry counts as sent only when the answer names this device, its epoch and its number.

        Raises:
            Refused: the centre accepted nothing, for example because the key was revoked.
            NoAnswer: no answer of the centre came; the entries can be sent again.
        """
        store = self.store
        if numbers is None:
            numbers = [entry.number for entry in store.unsynced]
        entries = [store.journal[number] for number in numbers][:MOST_ENTRIES]
        if not entries:
            return 0
        # From now on the centre may have them, whatever answer comes.
        marked = {e.number: replace(e, attempted=True) for e in entries if not e.attempted}
        if marked:
            self._keep("entries marked as sent", journal={**store.journal, **marked})
        answer = self._call("orders", "POST", "/till/entries", _batch(entries))
        if not _is_ours(answer, "device_id", "epoch", "answers"):
            raise NoAnswer("something else than the centre answered")
        if (answer["device_id"], answer["epoch"]) != (store.device_id, store.epoch):
            raise NoAnswer("the answer is for another device")
        taken = {}
        for each in answer["answers"]:
            sent = entries[each["index"]]
            if each["number"] != sent.number or each["status"] == "refused":
                continue
            status, reason = each["status"], each["reason"]
            taken[sent.number] = replace(
                self.store.journal[sent.number], status=status, reason=reason
            )
        self._keep("answers", journal={**self.store.journal, **taken})
        return len(taken)

    def export(self) -> dict[str, Any]:
        """Return the unsynced entries as a file, which the centre imports like an upload."""
        entries = self.store.unsynced
        marked = {entry.number: replace(entry, attempted=True) for entry in entries}
        self._keep("entries exported", journal={**self.store.journal, **marked})
        named = {"device_id": self.store.device_id, "epoch": self.store.epoch}
        return named | _batch(entries)

    def note_imported(self) -> None:
        """Record that the centre has imported the exported file, as its operator says."""
        imported = {e.number: replace(e, status="accepted") for e in self.store.unsynced}
        self._keep("import", journal={**self.store.journal, **imported})

    def ask_attention(self) -> list[dict[str, Any]]:
        """Return the entries that were not accepted, and record their status."""
        answer = self._call("orders", "GET", "/till/attention")
        if not _is_ours(answer, "device_id", "epoch", "items"):
            raise NoAnswer("something else than the centre answered")
        journal = self.store.journal
        noted = {
            item["number"]: replace(
                journal[item["number"]], status=item["status"], reason=item["reason"]
            )
            for item in answer["items"]
            # A restored device may lack an entry; an entry without an answer must still be sent.
            if item["number"] in journal and journal[item["number"]].status is not None
        }
        self._keep("what needs attention", journal={**journal, **noted})
        return list(answer["items"])

    def parcels(self) -> list[dict[str, Any]]:
        """Return the parcels that wait at the site, with the amounts that their buyers pay."""
        answer = self._call("logistics", "GET", "/till/parcels")
        if not _is_ours(answer, "items"):
            raise NoAnswer("something else than the centre answered")
        return list(answer["items"])

    # --- The counter --------------------------------------------------------------------------

    def check_may_sell(self) -> None:
        """Check that the till may sell now.

        Raises:
            CannotSell: it had no contact yet, its lease is over, its clock ran backwards, or no
                shift is open.
        """
        heard, store = self.store.heard, self.store
        if heard is None:
            raise CannotSell("it has not heard from the centre yet")
        moment = self._time()
        if moment < (store.latest or moment) - CLOCK_TOLERANCE:
            raise CannotSell("its clock runs backwards")
        if self._centre_time(heard) >= heard.lease_until:
            raise CannotSell("its lease is over")
        if store.shift is None:
            raise CannotSell("no shift is open")

    def on_offer(self) -> dict[str, int]:
        """Return how much may be sold now, by allotment; only allotments with some left."""
        heard = self.store.heard
        if heard is None:
            return {}
        moment = self._centre_time(heard)
        today = moment.astimezone(clock.LOCAL).date()
        return {
            key: quantity
            for key, quantity in self.store.remaining().items()
            if quantity > 0
            and (a := self.store.allotments[key]).status in RUNNING
            and (a.sell_by is None or today <= a.sell_by)
            and moment < a.lease_until
            and a.variant_id in self.store.prices
        }

    def pick(self, variant_id: str, quantity: int) -> list[tuple[str, int]]:
        """Divide a quantity over allotments: first expired, first out.

        Raises:
            CannotSell: less than `quantity` is left.
        """
        offer = self.on_offer()
        allotments = [self.store.allotments[key] for key in offer]
        takes = []
        for allotment in sorted(
            (a for a in allotments if a.variant_id == variant_id),
            key=lambda a: (a.best_before or date.max, a.lot_code),
        ):
            part = min(quantity, offer[allotment.allotment_id])
            takes.append((allotment.allotment_id, part))
            quantity -= part
            if not quantity:
                return takes
        raise CannotSell("not enough is left")

    def sell(self, takes: Sequence[tuple[str, int]], payment: str, clerk: str) -> int:
        """Sell from allotments, one line each; return the sale's number.

        `payment` is `cash` or `mobile`.

        Raises:
            CannotSell: a part must not be sold now; then nothing is sold.
        """
        self.check_may_sell()
        offer = self.on_offer()
        asked: Counter[str] = Counter()
        lines: list[dict[str, Any]] = []
        for line_no, (allotment_id, quantity) in enumerate(takes, start=1):
            asked[allotment_id] += quantity
            if asked[allotment_id] > offer.get(allotment_id, 0):
                raise CannotSell("not enough is left")
            allotment = self.store.allotments[allotment_id]
            price = self.store.prices[allotment.variant_id]
            lines.append(
                {
                    "line_no": line_no,
                    "variant_id": allotment.variant_id,
                    "lot_id": allotment.lot_id,
                    "quantity": quantity,
                    "price_fen": price.fen,
                    "price_unit": price.unit,
                    "line_total_fen": (2 * quantity * price.fen + price.unit) // (2 * price.unit),
                }
            )
        total = sum(line["line_total_fen"] for line in lines)
        facts = {"lines": lines, "total_fen": total, "payment": payment, "voided": False}
        return self._write("sale", clerk, facts, tuple(takes))

    def void(self, number: int, clerk: str, reason: str) -> int:
        """Void a whole sale; return the void's number.

        If the till never tried to send the sale, it can sell the goods again at once. Otherwise the
        centre grants them again, and the till learns of it at a later contact.

        Raises:
            CannotSell: the sale was voided, or some of its goods came back.
        """
        sale = self.store.journal[number]
        lines = {line["line_no"]: line["quantity"] for line in sale.content["lines"]}
        if self.store.left_to_undo(number) != lines:
            raise CannotSell("it was voided or taken back before")
        unmade = {}
        if not sale.attempted:
            content = {**sale.content, "voided": True}
            unmade = {number: replace(sale, content=content, takes=())}
        facts = {
            "of": number,
            "refund_fen": sale.content["total_fen"],
            "payment": sale.content["payment"],
            "reason": reason,
        }
        return self._write("void", clerk, facts, also=unmade)

    def take_back(
        self, number: int, quantities: Mapping[int, int], restock: bool, clerk: str, reason: str
    ) -> int:
        """Take goods of a sale back, by line; return the entry's number.

        With `restock` they can be sold again once the centre has granted them again.

        Raises:
            CannotSell: less was sold, or a part came back before.
        """
        sale = self.store.journal[number].content
        left = self.store.left_to_undo(number)
        if any(quantity > left.get(line_no, 0) for line_no, quantity in quantities.items()):
            raise CannotSell("more than was sold and has not come back")
        lines: list[dict[str, Any]] = []
        for line in sale["lines"]:
            quantity = quantities.get(line["line_no"], 0)
            if quantity:
                refund = line["line_total_fen"] * quantity // line["quantity"]
                lines.append(
                    {
                        "line_no": line["line_no"],
                        "quantity": quantity,
                        "refund_fen": refund,
                        "restock": restock,
                    }
                )
        facts = {
            "of": number,
            "lines": lines,
            "refund_fen": sum(line["refund_fen"] for line in lines),
            "payment": sale["payment"],
            "reason": reason,
        }
        return self._write("return", clerk, facts)

    def open_shift(self, float_fen: int, clerk: str) -> int:
        """Begin a shift with change in the drawer; return the entry's number."""
        number = self.store.next_number
        return self._write("shift_open", clerk, {"shift": number, "float_fen": float_fen})

    def close_shift(self, counted_fen: int, clerk: str) -> int:
        """End the shift with a count of the drawer; return the entry's number."""
        return self._write("shift_close", clerk, {"counted_fen": counted_fen, "note": None})

    def hand_over(self, shipment_id: str, due_fen: int, clerk: str, **facts: Any) -> int:
        """Hand over a waiting parcel to its buyer; return the entry's number.

        `facts` are `code` or `received_by`, and `payment`.
        """
        given = {
            "shipment_id": shipment_id,
            "code": None,
            "received_by": None,
            "collected_fen": due_fen,
            "payment": "cash",
            "difference_reason": None,
        }
        return self._write("hand_over", clerk, given | facts)

    def take_order(self, order: Mapping[str, Any], clerk: str) -> int:
        """Take a buyer's order for goods that the till does not have; return the entry's number."""
        return self._write("order", clerk, {"order": dict(order)})

    def _write(
        self,
        kind: str,
        clerk: str,
        facts: Mapping[str, Any],
        takes: tuple[tuple[str, int], ...] = (),
        also: Mapping[int, Entry] | None = None,
    ) -> int:
        """Add an entry; `also` replaces other entries in the same step.

        Raises:
            CannotSell: no shift is open.
        """
        number = self.store.next_number
        if kind != "shift_open" and self.store.shift is None:
            raise CannotSell("no shift is open")
        content = {
            "number": number,
            "kind": kind,
            "device_time": clock.rfc3339(self._time()),
            "clerk": clerk,
            "shift": self.store.shift,
            **facts,
        }
        entry = Entry(number, content, takes)
        self._keep(kind, journal={**self.store.journal, **(also or {}), number: entry})
        return number

    # --- Goods that go back to the centre -------------------------------------------------------

    def give_back(self, allotment_id: str, quantity: int) -> str:
        """Set goods aside for the centre; return the return's id. `send_returns` sends it.

        Raises:
            CannotSell: less than `quantity` is left.
        """
        if quantity > self.store.remaining().get(allotment_id, 0):
            raise CannotSell("not enough is left")
        return_id = str(uuid4())
        given = GivenBack(allotment_id, quantity)
        self._keep("return to the centre", returns={**self.store.returns, return_id: given})
        return return_id

    def send_returns(self) -> None:
        """Send the centre all returns that it has not answered yet.

        Raises:
            Refused, NoAnswer: as for `upload`.
        """
        waiting = [
            {"return_id": key, "allotment_id": given.allotment_id, "quantity": given.quantity}
            for key, given in self.store.returns.items()
            if given.status is None
        ][:MOST_RETURNS]
        if not waiting:
            return
        answer = self._call("catalog", "POST", "/till/returns", {"returns": waiting})
        if not _is_ours(answer, "answers"):
            raise NoAnswer("something else than the centre answered")
        sent = {each["return_id"] for each in waiting}
        known = self.store.returns
        answered = {
            each["return_id"]: replace(known[each["return_id"]], status=each["status"])
            for each in answer["answers"]
            if each["return_id"] in sent
        }
        self._keep("answers to returns", returns={**known, **answered})

    def _centre_time(self, heard: Heard) -> datetime:
        """Return the centre's time now: its time at the last contact, and what passed since."""
        return heard.server_time + (self._time() - heard.device_time)


def _batch(entries: Iterable[Entry]) -> dict[str, Any]:
    return {"format": 1, "entries": [dict(entry.content) for entry in entries]}


def _is_ours(answer: Any, *names: str) -> bool:
    """Return whether the centre answered, and not a captive portal with a 200."""
    return isinstance(answer, dict) and all(name in answer for name in names)


def _allotment(told: Mapping[str, Any]) -> Allotment:
    return Allotment(
        allotment_id=told["allotment_id"],
        lot_id=told["lot_id"],
        lot_code=told["lot_code"],
        variant_id=told["variant_id"],
        best_before=_date(told["best_before"]),
        sell_by=_date(told["sell_by"]),
        granted=told["granted"],
        returned=told["returned"],
        written_off=told["written_off"],
        status=told["status"],
        reason=told["reason"],
        lease_until=_moment(told["lease_until"]),
        proposed_return=told["proposed_return"],
    )


def _date(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
