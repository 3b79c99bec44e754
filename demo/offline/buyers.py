"""Online buyers who take from the same lots until nothing of them is left."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from random import Random
from time import monotonic
from typing import Any

from demo.living import HEARING_SECONDS, LOOK, NOT_HEARD_YET
from demo.offline.scene import Goods
from demo.planning import PHONE
from farmgate.client import Client
from farmgate.failures import Refused

BUYERS = 8
#: Packs of one order, at most.
MOST_PACKS = 5
#: Orders that go by one buyer's name.
ORDERS_OF_ONE = 4
#: Of a hundred orders, so many are cancelled again.
CANCELLED = 8


class Buyer:
    """Orders one thing after the other while there is something to order."""

    def __init__(
        self,
        number: int,
        client: Client,
        random: Random,
        goods: Sequence[Goods],
        site_ids: Sequence[str],
        centre_id: str,
        wait: Callable[[float], bool],
    ) -> None:
        self.number = number
        self._client = client
        self._order_ids: list[str] = []
        self._random = random
        self._goods = list(goods)
        self._site_ids = site_ids
        self._centre_id = centre_id
        #: Waits so many seconds; says whether to stop.
        self._wait = wait

    def buy(self, may_go_on: Callable[[int], bool]) -> None:
        """Buy until all is gone; `may_go_on` is asked before each order and paces them."""
        orders = 0
        while self._goods and may_go_on(orders):
            orders += 1
            goods = self._random.choice(self._goods)
            order = self._place(goods, orders)
            self._order_ids.append(order["order_id"])
            if order["state"] == "rejected" or self._is_empty(goods):
                # Others of the same goods may be there; this lot is what stations sell from.
                self._goods.remove(goods)
            elif self._random.randrange(100) < CANCELLED:
                body = {"reason": "changed_mind"}
                self._client.post("orders", f"/orders/{order['order_id']}/cancel", body)

    def states(self) -> Counter[str]:
        """Return how many of the orders are in each state now."""
        found = (self._client.get("orders", f"/orders/{each}") for each in self._order_ids)
        return Counter(order["state"] for order in found)

    def _is_empty(self, goods: Goods) -> bool:
        levels = self._client.get(
            "catalog", "/stock", lot_id=goods.lot_id, location_id=self._centre_id
        )["items"]
        return not any(level["available"] for level in levels)

    def _place(self, goods: Goods, order: int) -> dict[str, Any]:
        packs = self._random.randint(1, MOST_PACKS)
        site_id = self._random.choice(self._site_ids)
        # Nobody buys a whole lot unpaid, so behind each of these buyers stand many.
        buyer_id = f"offline-buyer-{self.number}-{order // ORDERS_OF_ONE}"
        body = order_of(goods, packs, site_id, buyer_id, self.number * 1000 + order)
        return place(self._client, body, self._wait)


def place(client: Client, body: Mapping[str, Any], wait: Callable[[float], bool]) -> dict[str, Any]:
    """Place an order and return it, decided if that is soon; orders may have yet to hear of
    what is ordered. `wait` waits so many seconds and says whether to stop.

    Raises:
        Refused: it is impossible.
    """
    deadline = monotonic() + HEARING_SECONDS
    while True:
        try:
            return dict(client.post("orders", "/orders", body, headers={"Prefer": "wait=10"}))
        except Refused as error:
            if error.kind not in NOT_HEARD_YET or monotonic() > deadline or wait(LOOK):
                raise


def order_of(goods: Goods, packs: int, site_id: str, buyer_id: str, number: int) -> dict[str, Any]:
    """Return the body of an order of one line; `number` makes the telephone number."""
    return {
        "channel": "online",
        "payment_method": "cash_on_delivery",
        "site_id": site_id,
        "collect": False,
        "buyer_id": buyer_id,
        "lines": [{"variant_id": goods.variant_id, "quantity": packs * goods.pack_quantity}],
        "contact": {
            "name": "示例买家",
            "phone": PHONE.format(number % 10_000),
            "address": "示例路1号",
            "language": "zh",
        },
    }
