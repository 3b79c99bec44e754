"""A recall reaches an order wherever its goods are, and the four services agree about it."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from farmgate.client import Client, connect
from farmgate.failures import Refused
from shared.runtime import clock
from tests.support.processes import Processes
from tests.support.servers import wait_until
from tests.support.systems import DISTRIBUTED_FIRST

PRICE_FEN = 5800


def shop(client: Client) -> tuple[str, str, list[str]]:
    """Sell snow lotus of two lots, 10 pieces and 4, from a centre: site, variant, lots."""
    names = {"zh": "中心", "en": "Centre"}
    site = client.post("logistics", "/sites", {"code": "C", "level": "centre", "names": names})
    producer = client.post(
        "catalog", "/enterprises", {"code": "P", "names": {"zh": "农户"}, "roles": ["producer"]}
    )
    variant = {"sku": "LOTUS-1", "grade": "1", "unit": "piece", "pack_quantity": 1}
    product = client.post(
        "catalog",
        "/products",
        {
            "code": "LOTUS",
            "names": {"zh": "雪莲花"},
            "category": "medicinal",
            "perishable": False,
            "shelf_life_days": 730,
            "variants": [variant],
        },
    )
    variant_id = product["variants"][0]["variant_id"]
    price = {"price_fen": PRICE_FEN, "price_unit": 1}
    client.put("catalog", f"/variants/{variant_id}/prices/online", price)
    lots = [
        client.post(
            "catalog",
            "/lots",
            {
                "code": code,
                "variant_id": variant_id,
                "producer_id": producer["enterprise_id"],
                "harvest_date": clock.today().isoformat(),
            },
        )["lot_id"]
        for code in ("LOT-A", "LOT-B")
    ]
    for lot_id, quantity in zip(lots, (10, 4), strict=True):
        client.post("catalog", f"/lots/{lot_id}/inspect")
        client.post("catalog", f"/lots/{lot_id}/release")
        receipt = {"lot_id": lot_id, "location_id": site["site_id"], "quantity": quantity}
        wait_until(
            lambda receipt=receipt: _done(client, "catalog", "/stock/receipts", receipt),  # type: ignore[misc]
            20,
            "catalog knows the site",
        )
    return site["site_id"], variant_id, lots


def _done(client: Client, service: str, path: str, body: Any) -> bool:
    try:
        client.post(service, path, body)
    except Refused:
        return False
    return True


class Orders:
    """Orders of two pieces each, followed by their names."""

    def __init__(self, system: Processes, client: Client, site_id: str, variant_id: str) -> None:
        self.system, self.client = system, client
        self.site_id, self.variant_id = site_id, variant_id

    def place(self, buyer: str, **changes: Any) -> str:
        body = {
            "channel": "online",
            "payment_method": "cash_on_delivery",
            "site_id": self.site_id,
            "collect": False,
            "buyer_id": buyer,
            "lines": [{"variant_id": self.variant_id, "quantity": 2}],
            "contact": {
                "name": "卓玛",
                "phone": "13889041234",
                "address": "八一镇1号",
                "language": "zh",
            },
        }
        wait_until(lambda: self._priced(body | changes), 20, "orders knows the price")
        order_id = str(self._placed["order_id"])
        self.wait(order_id, "reserved" if changes else "confirmed")
        return order_id

    def _priced(self, body: dict[str, Any]) -> bool:
        try:
            self._placed = self.client.post("orders", "/orders", body)
        except Refused:
            return False
        return True

    def show(self, order_id: str) -> dict[str, Any]:
        return dict(self.client.get("orders", f"/orders/{order_id}"))

    def wait(self, order_id: str, *states: str) -> str:
        wait_until(lambda: self.show(order_id)["state"] in states, 30, f"{order_id} is {states}")
        return str(self.show(order_id)["state"])

    def shipment(self, order_id: str) -> str:
        def found() -> list[Any]:
            return list(self.client.pages("logistics", "/shipments", order_id=order_id))

        wait_until(lambda: bool(found()), 20, "the shipment is planned")
        return str(found()[0]["shipment_id"])

    def go(self, order_id: str, *steps: str) -> None:
        shipment_id = self.shipment(order_id)
        for step in steps:
            body = {
                "deliver": {"received_by": "卓玛", "collected_fen": 2 * PRICE_FEN},
                "return": {"restock": True},
            }.get(step)
            self.client.post("logistics", f"/shipments/{shipment_id}/{step}", body)


@pytest.mark.parametrize("setup", DISTRIBUTED_FIRST)
def test_a_recall_reaches_every_order_before_its_buyer_and_the_services_agree(
    start_system: Callable[..., Processes], setup: str
) -> None:
    """Slow: all services as processes, five orders, each at another point of its way."""
    system = start_system(setup, FARMGATE_ORDERS_HOLD_SECONDS="600")
    client = connect(system.environment)
    site_id, variant_id, (bad, _) = shop(client)
    orders = Orders(system, client, site_id, variant_id)
    planned, packed = orders.place("buyer-1"), orders.place("buyer-2")
    unpaid = orders.place("buyer-3", payment_method="prepaid")
    on_its_way, with_buyer = orders.place("buyer-4"), orders.place("buyer-5")
    orders.go(packed, "pack")
    orders.go(on_its_way, "pack", "dispatch")
    orders.go(with_buyer, "pack", "dispatch", "deliver")
    orders.wait(packed, "in_fulfilment")
    orders.wait(with_buyer, "completed")

    client.post("catalog", f"/lots/{bad}/hold", {"reason": "residue?"})
    wait_until(lambda: _is_held(orders, on_its_way), 20, "logistics knows of the hold")
    with pytest.raises(Refused, match="which is held"):
        orders.go(planned, "pack")
    client.post("catalog", f"/lots/{bad}/recall", {"reason": "residue"})
    ends = Counter(
        orders.wait(order_id, "confirmed", "reserved", "rejected")
        for order_id in (planned, packed, unpaid)
        if _has_asked(orders, order_id, bad)
    )
    wait_until(lambda: orders.show(on_its_way)["reason"] == "lot_recalled", 20, "it is told")
    orders.go(on_its_way, "return")
    orders.wait(on_its_way, "returned")

    # Two of the three fit into the other lot.
    assert ends["rejected"] == 1
    assert sum(ends.values()) == 3
    for order_id in (planned, packed):
        if orders.show(order_id)["state"] == "confirmed":
            orders.go(order_id, "pack", "dispatch")
            orders.wait(order_id, "shipped")
    assert orders.show(with_buyer)["state"] == "completed"
    (level,) = client.pages("catalog", "/stock", lot_id=bad)
    # All but what the buyer has: 10 received, 2 consumed.
    assert (level["held"], level["reserved"], level["committed"]) == (8, 0, 0)
    done = system.command("verify", "--json")
    assert json.loads(done.stdout)["differences"] == []
    assert done.returncode == 0


def _is_held(orders: Orders, order_id: str) -> bool:
    """Ask for what is refused in any case: until the hold is known, for the money."""
    body = {"received_by": "卓玛", "collected_fen": 1}
    with pytest.raises(Refused) as refused:
        path = f"/shipments/{orders.shipment(order_id)}/deliver"
        orders.client.post("logistics", path, body)
    return "which is held" in str(refused.value)


def _has_asked(orders: Orders, order_id: str, lot_id: str) -> bool:
    """Wait until an order has no more of a lot, or is over."""

    def has_none() -> bool:
        order = orders.show(order_id)
        taken = {lot["lot_id"] for line in order["lines"] for lot in line.get("lots") or ()}
        return order["state"] == "rejected" or (order["state"] != "placed" and lot_id not in taken)

    wait_until(has_none, 30, f"{order_id} has other lots, or none")
    return True
