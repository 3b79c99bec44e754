"""Online buyers, who order from the stations' lots until nothing is left."""

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
#: The most packs of one order.
MOST_PACKS = 5
#: Orders under one buyer's id.
ORDERS_OF_ONE = 4
#: The percentage of orders that are cancelled again.
CANCELLED = 8


class Buyer:
    """Places one order after the other while there is stock."""

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
        #: Waits for a number of seconds; returns whether to stop.
        self._wait = wait

    def buy(self, may_go_on: Callable[[int], bool]) -> None:
        """Order until all is gone; `may_go_on` is called before each order and sets the pace."""
        orders = 0
        while self._goods and may_go_on(orders):
            orders += 1
            goods = self._random.choice(self._goods)
            order = self._place(goods, orders)
            self._order_ids.append(order["order_id"])
            if order["state"] == "rejected" or self._is_empty(goods):
                # The stations' lot is empty, even if other lots of the variant are left.
                self._goods.remove(goods)
            elif self._random.randrange(100) < CANCELLED:
                body = {"reason": "changed_mind"}
                self._client.post("orders", f"/orders/{order['order_id']}/cancel", body)

    def states(self) -> Counter[str]:
        """Return how many of this buyer's orders are in each state now."""
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
        # Unpaid orders are limited by buyer, so each of these buyers uses several ids.
        buyer_id = f"offline-buyer-{self.number}-{order // ORDERS_OF_ONE}"
        body = order_of(goods, packs, site_id, buyer_id, self.number * 1000 + order)
        return place(self._client, body, self._wait)


def place(client: Client, body: Mapping[str, Any], wait: Callable[[float], bool]) -> dict[str, Any]:
    """Place an order and return it, decided if that takes less than 10 s.

    Tries again while orders does not know the site, the variant or its price yet. `wait` waits for
    a number of seconds and returns whether to stop.

    Raises:
        Refused: orders refuses the order.
    """
    deadline = monotonic() + HEARING_SECONDS
    while True:
        try:
            return dict(client.post("orders", "/orders", body, headers={"Prefer": "wait=10"}))
        except Refused as error:
            if error.kind not in NOT_HEARD_YET or monotonic() > deadline or wait(LOOK):
                raise


def order_of(goods: Goods, packs: int, site_id: str, buyer_id: str, number: int) -> dict[str, Any]:
    """Return the body of an order of one line; `number` is a part of the telephone number."""
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
