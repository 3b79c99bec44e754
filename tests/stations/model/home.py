"""When everything has been sent and handled: what the services hold is compared."""

from collections import Counter
from typing import Any

from farmgate.verify.reader import BOOKINGS, SALES, Reader
from farmgate.verify.rules import SaleSides, sale_differences
from tests.stations.model.desk import AtTheDesk
from tests.stations.model.story import Machine
from tests.stations.ought import plain


class ComingHome(AtTheDesk):
    """Everything is sent and handled, compared, and decided."""

    def _come_home(self) -> None:
        """Send and handle everything; then nothing but the forged sales is disputed."""
        self._settle_events()
        for machine in self.machines:
            self._try(machine, "none", machine.till.send_returns)
            if not self._try(machine, "none", machine.till.upload):
                self._import(machine)
            assert not machine.till.store.unsynced or machine.till.store.heard is None
        self._settle_events()
        for machine in self.machines:
            if self._try(machine, "none", machine.till.contact):
                self._compare(machine)
                self.unheard -= {w for w in self.unheard if w[:2] == machine.key}
        assert not self.ought.untold
        self._compare_disputes()
        self._compare_entries()
        self._compare_cash()
        self._verify(all_decided=False)
        self._decide_all()
        self._compare_entries()
        self._verify(all_decided=True)

    def _import(self, machine: Machine) -> None:
        """Bring the entries of a revoked device by a file."""
        exported = machine.till.export()
        if not exported["entries"]:
            return
        file = {name: exported[name] for name in ("device_id", "epoch", "entries")}
        answer = self.centre.call("POST", "orders", "/station-sales/import", file)
        self.ought.upload(machine.key, exported["entries"], answer["answers"])
        machine.till.note_imported()

    def _compare(self, machine: Machine) -> None:
        """At rest a device and the centre know the same of what is left."""
        if machine.key in self.forged | self.taken_away:
            return
        here = Counter(
            {
                (*machine.key, plain(machine.till.store.allotments[key].lot_id)): left
                for key, left in machine.till.store.remaining().items()
                if left
            }
        )
        there = {
            which: quota.remaining
            for which, quota in self.ought.quotas.items()
            if which[:2] == machine.key and quota.remaining
        }
        assert here == there

    def _compare_disputes(self) -> None:
        ought = self.ought.open_overdrafts()
        held = sorted(
            (
                plain(each["device_id"]),
                each["epoch"],
                each["number"],
                each["reason"],
                tuple(sorted((line["line_no"], line["quantity"]) for line in each["lines"])),
            )
            for each in self.centre.pages("catalog", "/overdrafts?open=true")
        )
        assert held == ought
        forged = self.forged | self.taken_away
        assert all((device_id, epoch) in forged for device_id, epoch, *_ in ought)

    def _entries(self, status: str = "") -> list[dict[str, Any]]:
        query = f"?status={status}" if status else "?"
        return list(self.centre.pages("orders", f"/station-sales{query}"))

    def _compare_entries(self) -> None:
        """What tills sent is at the centre, once, and stands as it ought to."""
        held = Counter(
            (
                plain(each["device_id"]),
                each["epoch"],
                each["number"],
                each["kind"],
                each["status"],
            )
            for each in self._entries()
        )
        assert held == self.ought.statuses()

    def _compare_cash(self) -> None:
        custody = self.centre.pages("orders", "/cash/custody")
        assert sum(each["held_fen"] for each in custody) == sum(self.ought.cash.values())

    def _decide_all(self) -> None:
        """Let an operator decide all disputes: by the goods where they are of goods."""
        for overdraft in list(self.centre.pages("catalog", "/overdrafts?open=true")):
            if not self._settle(overdraft, cover=True):
                self._settle(overdraft, cover=False)
        self._settle_events()
        for entry in self._entries("disputed"):
            path = f"/station-sales/{entry['sale_id']}/acknowledge"
            self.centre.call("POST", "orders", path, {"note": "已核对"})
            name = plain(entry["device_id"]), entry["epoch"], entry["number"]
            self.ought.copies[name][entry["copy"] - 1].status = "acknowledged"

    def _verify(self, *, all_decided: bool) -> None:
        """No service finds a difference in its own rows, nor with another: but disputes."""
        differences = [
            difference
            for service in self.centre.apps
            for difference in self.centre.call("GET", service, "/verify")["differences"]
        ]
        reader = Reader(self.centre)
        sales, bookings = (reader.read_all(kind, lambda count: None) for kind in (SALES, BOOKINGS))
        for sale_id in sales | bookings:
            sides = SaleSides(sales.get(sale_id), bookings.get(sale_id))
            differences += [vars(each) for each in sale_differences(sale_id, sides)]
        if all_decided:
            assert not differences
        disputed = {each["sale_id"] for each in self._entries("disputed")}
        for difference in differences:
            assert difference["ids"]["sale_id"] in disputed, difference
