"""Machines come and go: restored, cloned, replaced, lost."""

from hypothesis import note

from tests.stations.model.chance import Chance
from tests.stations.model.desk import AtTheDesk
from tests.stations.model.stations import AtStations
from tests.stations.model.story import Machine

TO_MACHINES = ("restore", "restore", "restore", "clone", "replace", "revoke")
MOST_MACHINES = 6


class WithMachines(AtStations, AtTheDesk):
    """Two machines may come to be one device; an operator hears of it or not."""

    def _change_machines(self, chance: Chance) -> None:
        deed, machine = chance.choice(TO_MACHINES), chance.choice(self.machines)
        note(f"{deed} {machine}")
        getattr(self, f"_{deed}")(machine, chance)

    def _restore(self, machine: Machine, chance: Chance) -> None:
        if not machine.backups:
            return
        backup = chance.choice(machine.backups)
        if backup != machine.till.snapshot():
            self.forged.add(machine.key)
        machine.till.restore(backup)
        # Work goes on as if nothing had happened.
        self._work(chance, machine)
        self._reach(chance, machine)

    def _clone(self, machine: Machine, chance: Chance) -> None:
        if len(self.machines) == MOST_MACHINES:
            return
        self.forged.add(machine.key)
        self.machines.append(Machine(self._till(machine.till.snapshot())))
        for one in (machine, self.machines[-1]):
            self._work(chance, one)
            self._reach(chance, one)

    def _replace(self, machine: Machine, chance: Chance) -> None:
        """Another machine takes a device's place; the old one is still there somewhere."""
        if len(self.machines) == MOST_MACHINES:
            return
        device_id = machine.till.store.device_id
        code = self._call(f"/devices/{device_id}/enrolment")["enrolment_code"]
        machine = Machine(self._till(None))
        machine.till.enrol(code)
        self.machines.append(machine)
        self._try(machine, "none", machine.till.contact)
        self._try(machine, "none", lambda: machine.till.open_shift(0, "营业员"))

    def _revoke(self, machine: Machine, chance: Chance) -> None:
        """A device is lost: what it sold can only be brought by a file, if it is found."""
        device_id = machine.till.store.device_id
        assert self._call(f"/devices/{device_id}/revoke", {"reason": "丢失"})
