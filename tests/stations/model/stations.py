"""What is done at a counter, and towards the centre."""

from hypothesis import note

from farmgate.failures import Refused
from tests.stations.model.chance import CUTS, FAULTS, Chance
from tests.stations.model.story import Machine, Story, by_lot

AT_THE_COUNTER = (
    *("sell",) * 8,
    "void",
    "void",
    "take_back",
    "take_back",
    "give_back",
    "change_shift",
)
TO_THE_CENTRE = (*("upload",) * 5, *("contact",) * 3, "send_returns", "long_ago")


class AtStations(Story):
    """Clerks sell and undo, and their tills reach the centre, or do not."""

    # --- At the counter -----------------------------------------------------------------------

    def _work(self, chance: Chance, machine: Machine | None = None) -> None:
        machine = machine or chance.choice(self.machines)
        note(f"at the counter of {machine}")
        machine.backups.append(machine.till.snapshot())
        for deed in chance.some(AT_THE_COUNTER, 2, 6):
            getattr(self, f"_{deed}")(machine, chance)

    def _sell(self, machine: Machine, chance: Chance) -> None:
        cut_in = chance.choice(CUTS)
        offer = machine.till.on_offer()
        if not offer:
            return
        takes = []
        for _ in range(chance.randint(1, 3)):
            allotment_id = chance.choice(by_lot(machine, offer))
            most = min(offer[allotment_id], chance.choice((2, 9, 99)))
            takes.append((allotment_id, chance.randint(1, most)))
        payment = chance.choice(("cash", "mobile"))
        work = lambda: machine.till.sell(takes, payment, "营业员")  # noqa: E731
        self._try(machine, "none", work, cut_in)

    def _void(self, machine: Machine, chance: Chance) -> None:
        sales = self._sales(machine)
        if sales:
            number = chance.choice(sales)
            self._try(machine, "none", lambda: machine.till.void(number, "营业员", "错"))

    def _take_back(self, machine: Machine, chance: Chance) -> None:
        restock = chance.random() < 0.5
        sales = [n for n in self._sales(machine) if machine.till.store.left_to_undo(n)]
        if not sales:
            return
        number = chance.choice(sales)
        left = machine.till.store.left_to_undo(number)
        line_no = chance.choice(sorted(left))
        part = {line_no: chance.randint(1, left[line_no])}
        work = lambda: machine.till.take_back(  # noqa: E731
            number, part, restock, "营业员", "退"
        )
        self._try(machine, "none", work)

    def _sales(self, machine: Machine) -> list[int]:
        entries = machine.till.store.journal.values()
        return [e.number for e in entries if e.kind == "sale" and not e.content["voided"]]

    def _change_shift(self, machine: Machine, chance: Chance) -> None:
        self._try(machine, "none", lambda: machine.till.close_shift(0, "营业员"))
        self._try(machine, "none", lambda: machine.till.open_shift(0, "营业员"))

    def _give_back(self, machine: Machine, chance: Chance) -> None:
        left = {k: n for k, n in machine.till.store.remaining().items() if n > 0}
        if left:
            allotment_id = chance.choice(by_lot(machine, left))
            quantity = chance.randint(1, left[allotment_id])
            self._try(machine, "none", lambda: machine.till.give_back(allotment_id, quantity))

    # --- To the centre ------------------------------------------------------------------------

    def _reach(self, chance: Chance, machine: Machine | None = None) -> None:
        machine = machine or chance.choice(self.machines)
        for deed in chance.some(TO_THE_CENTRE, 2, 4):
            fault, cut_in = chance.choice(FAULTS), chance.choice(CUTS)
            note(f"{machine} does: {deed}, {fault}, power cut after {cut_in}")
            getattr(self, f"_{deed}")(machine, chance, fault, cut_in)

    def _contact(self, machine: Machine, chance: Chance, fault: str, cut_in: int) -> None:
        if self._try(machine, fault, machine.till.contact, cut_in):
            self.unheard -= {which for which in self.unheard if which[:2] == machine.key}

    def _upload(self, machine: Machine, chance: Chance, fault: str, cut_in: int) -> None:
        unsynced = [entry.number for entry in machine.till.store.unsynced]
        if not unsynced:
            return
        # In any order, in pieces, some more than once; or simply all.
        numbers = unsynced if chance.random() < 0.5 else chance.some(unsynced, 1, 8)
        self._try(machine, fault, lambda: machine.till.upload(numbers), cut_in)

    def _send_returns(self, machine: Machine, chance: Chance, fault: str, cut_in: int) -> None:
        self._try(machine, fault, machine.till.send_returns, cut_in)

    def _long_ago(self, machine: Machine, chance: Chance, fault: str, cut_in: int) -> None:
        """Something that was sent long ago, by whomever, arrives (again)."""
        kept = [request for request in self.sent if request[2] != "/till/contact"]
        if not kept:
            return
        request = kept[-1 - chance.randint(0, min(20, len(kept) - 1))]
        try:
            self._deliver(*request)
        except Refused as problem:
            assert problem.status in (401, 403), problem.message
