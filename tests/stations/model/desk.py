"""What is done at the centre's desk."""

from collections import Counter
from typing import Any
from uuid import UUID

from hypothesis import note

from farmgate.failures import Refused
from tests.stations.model.chance import Chance
from tests.stations.model.story import Machine, Story
from tests.stations.ought import plain

AT_THE_DESK = (
    *("receive_some", "grant_some", "grant_some", "grant_whatever_lot", "settle_one"),
    *("hold_or_release", "recall", "suspend", "count_back", "write_off", "replenish"),
)


class AtTheDesk(Story):
    """An operator receives, grants, holds, takes away and decides."""

    def _call(self, path: str, body: Any = None) -> Any:
        """Return what catalog answers to an operator; None: the state forbids it."""
        try:
            return self.centre.call("POST", "catalog", path, body)
        except Refused as problem:
            assert problem.status == 409, problem.message
            return None

    def _operate(self, chance: Chance) -> None:
        for deed in chance.some(AT_THE_DESK, 1, 3):
            note(f"at the desk: {deed}")
            getattr(self, f"_{deed}")(chance)

    def _receive_some(self, chance: Chance) -> None:
        place_id = chance.choice([self.shop.centre_id, *self.shop.site_ids])
        self._receive(self._lot(chance), place_id, chance.randint(1, 60))

    def _lot(self, chance: Chance) -> str:
        return self.shop.lot_ids[chance.randint(0, 2)]

    def _receive(self, lot_id: str, place_id: str, quantity: int) -> None:
        body = {"lot_id": lot_id, "location_id": place_id, "quantity": quantity}
        assert self._call("/stock/receipts", body)
        self.ought.flows[plain(lot_id), "received"] += quantity

    def _grant_some(self, chance: Chance) -> None:
        self._grant(chance.choice(self.machines), self._lot(chance), chance.randint(1, 40))

    def _grant_whatever_lot(self, chance: Chance) -> None:
        variant_id = self.shop.variant_of[self._lot(chance)]
        quantity = chance.randint(1, 90)
        self._grant(chance.choice(self.machines), None, quantity, variant_id=variant_id)

    def _grant(self, machine: Machine, lot_id: str | None, quantity: int, **other: str) -> None:
        device_id = machine.till.store.device_id
        which = other or {"lot_id": lot_id}
        answer = self._call("/allotments", {"device_id": device_id, "quantity": quantity, **which})
        if answer is None:
            return
        more = 0
        for item in answer["items"]:
            key = plain(item["device_id"]), item["epoch"]
            quota = self.ought.quota(key, plain(item["lot_id"]))
            more += item["granted"] - quota.granted
            quota.granted = item["granted"]
        assert more == quantity, "granted in part"

    def _replenish(self, chance: Chance) -> None:
        """A standing rule grants what its site lacks; only where there is a rule."""
        site_id, lot_id = chance.choice(self.shop.site_ids), self._lot(chance)
        path = f"/standing-rules/{site_id}/{self.shop.variant_of[lot_id]}"
        self.centre.call("PUT", "catalog", path, {"keep": chance.randint(1, 50)})
        self.kept.add((plain(site_id), plain(self.shop.variant_of[lot_id])))
        self.centre.run_timers("catalog")
        for row in self.centre.rows("catalog", "SELECT * FROM allotments"):
            quota = self.ought.quota((row.device_id, row.epoch), row.lot_id)
            assert row.granted == quota.granted or (
                row.granted > quota.granted and (row.site_id, row.variant_id) in self.kept
            )
            quota.granted = row.granted

    def _hold_or_release(self, chance: Chance) -> None:
        step = chance.choice(("hold", "release", "release"))
        body = {"reason": "检验"} if step == "hold" else None
        self._call(f"/lots/{self._lot(chance)}/{step}", body)

    def _recall(self, chance: Chance) -> None:
        # Rarely, and not all: it is for good.
        if chance.randint(0, 3) == 3:
            self._call(f"/lots/{self.shop.lot_ids[1]}/recall", {"reason": "质量"})

    def _suspend(self, chance: Chance) -> None:
        allotment = self._allotment(chance)
        if allotment is not None:
            step = chance.choice(("suspend", "resume", "resume", "close"))
            body = {"reason": "盘点"} if step == "suspend" else None
            self._call(f"/allotments/{UUID(allotment.id)}/{step}", body)

    def _allotment(self, chance: Chance) -> Any:
        rows = self.centre.rows(
            "catalog",
            "SELECT id, device_id, epoch, lot_id, remaining FROM allotments "
            "WHERE status <> 'closed' ORDER BY device_id, epoch, lot_id",
        )
        return chance.choice(rows) if rows else None

    def _count_back(self, chance: Chance) -> None:
        """An operator takes goods away, and the device does not know."""
        allotment = self._allotment(chance)
        if allotment is None or not allotment.remaining:
            return
        quantity = chance.randint(1, allotment.remaining)
        assert self._call(f"/allotments/{UUID(allotment.id)}/return", {"quantity": quantity})
        self._quota_of(allotment.id).returned += quantity
        self._taken_away(allotment)

    def _write_off(self, chance: Chance) -> None:
        allotment = self._allotment(chance)
        if allotment is None:
            return
        counted = chance.randint(0, allotment.remaining)
        body = {"counted": counted, "reason": "盘点"}
        assert self._call(f"/allotments/{UUID(allotment.id)}/write-off", body)
        quota = self._quota_of(allotment.id)
        self.ought.flows[allotment.lot_id, "lost"] += quota.remaining - counted
        quota.written_off += quota.remaining - counted
        quota.returned += counted
        self._taken_away(allotment)

    def _taken_away(self, allotment: Any) -> None:
        key = allotment.device_id, allotment.epoch
        self.unheard.add((*key, allotment.lot_id))
        self.taken_away.add(key)

    def _settle_one(self, chance: Chance) -> None:
        overdrafts = sorted(
            self.centre.pages("catalog", "/overdrafts?open=true"),
            key=lambda each: (each["device_id"], each["epoch"], each["number"], each["reason"]),
        )
        if not overdrafts:
            return
        self._settle(chance.choice(overdrafts), chance.random() < 0.5)

    def _settle(self, overdraft: dict[str, Any], cover: bool) -> bool:
        sale = self.ought.sales[plain(overdraft["sale_id"])]
        body = {"resolution": "cover" if cover else "lose", "reason": "清点"}
        free = Counter(
            {
                row.lot_id: row.free
                for row in self.centre.rows(
                    "catalog",
                    "SELECT lot_id, sum(available) AS free FROM stock_levels "
                    "WHERE location_id IN (:site, :centre) GROUP BY lot_id",
                    site=plain(overdraft["site_id"]),
                    centre=plain(self.shop.centre_id),
                )
            }
        )
        done = self._call(f"/overdrafts/{overdraft['sale_id']}/settle", body)
        if cover:
            # Only from what is free: of its own allotment the device may have sold more.
            needed = self.ought.needed(sale)
            assert (done is not None) == (needed <= free)
            if done is None:
                return False
            sale.covered = True
            for lot_id, quantity in needed.items():
                self.ought.flows[lot_id, "consumed"] += quantity
        sale.open = {}
        return True
