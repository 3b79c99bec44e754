"""What buyers do meanwhile."""

from datetime import timedelta

from hypothesis import note

from farmgate.failures import Refused
from tests.stations.model.chance import Chance
from tests.stations.model.story import Story

ONLINE = ("order", "order", "cancel", "let_time_pass")


class Online(Story):
    """Buyers order the same goods, cancel, and forget to pay."""

    def _buy(self, chance: Chance) -> None:
        deed = chance.choice(ONLINE)
        note(f"online: {deed}")
        getattr(self, f"_{deed}")(chance)

    def _order(self, chance: Chance) -> None:
        variant_id = self.shop.variant_of[self._lot(chance)]
        order = {
            "channel": "online",
            "payment_method": chance.choice(("prepaid", "cash_on_delivery")),
            "site_id": self.shop.site_ids[0],
            "collect": False,
            "lines": [{"variant_id": variant_id, "quantity": chance.randint(1, 60)}],
            # Each buyer has a telephone: what one may hold unpaid is another test's matter.
            "contact": {
                "name": "卓玛",
                "phone": f"+861380013{len(self.orders):04d}",
                "address": "八一镇",
            },
        }
        self.orders.append(self.centre.call("POST", "orders", "/orders", order)["order_id"])

    def _cancel(self, chance: Chance) -> None:
        if not self.orders:
            return
        path = f"/orders/{chance.choice(self.orders)}/cancel"
        try:
            self.centre.call("POST", "orders", path, {"reason": "changed_mind"})
        except Refused as problem:
            assert problem.status == 409, problem.message

    def _let_time_pass(self, chance: Chance) -> None:
        """Unpaid orders expire and leases end; no grant ever comes back by time."""
        before = self.centre.rows("catalog", "SELECT sum(remaining) FROM allotments")
        self.clock.ahead += timedelta(hours=chance.choice((1, 40)))
        self.centre.run_timers("orders")
        assert self.centre.rows("catalog", "SELECT sum(remaining) FROM allotments") == before
