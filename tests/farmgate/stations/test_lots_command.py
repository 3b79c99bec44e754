"""`farmgate lots concerned`: everybody who has goods of a recalled lot, from all four services."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result

from demo.offline.device import Till
from farmgate.client import Client
from farmgate.failures import Refused
from tests.support.servers import wait_until

# One system for all of them, so one worker.
pytestmark = pytest.mark.xdist_group("lots_command")

PRICE_FEN = 9800


def words(result: Result) -> str:
    return " ".join(result.stdout.replace("│", " ").split())


def order_ref(found: dict[str, Any]) -> str:
    return str(found["order"]["order_ref"])


@pytest.fixture
def buy(client: Client, world: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    """Order one pack, have it brought as far as `steps` say, and return the order."""

    def do(buyer: str | None, *steps: str) -> dict[str, Any]:
        price = {"price_fen": PRICE_FEN, "price_unit": 500}
        client.put("catalog", f"/variants/{world['variant_id']}/prices/online", price)
        placed: dict[str, Any] = {}

        def place() -> bool:
            try:
                placed.update(
                    client.post(
                        "orders",
                        "/orders",
                        {
                            "channel": "online",
                            "payment_method": "cash_on_delivery",
                            "site_id": world["township_id"],
                            "collect": False,
                            "buyer_id": buyer,
                            "lines": [{"variant_id": world["variant_id"], "quantity": 500}],
                            "contact": {
                                "name": "示例买家",
                                "phone": "13900001234",
                                "address": "示例路1号",
                                "language": "zh",
                            },
                        },
                    )
                )
            except Refused:
                return False
            return True

        wait_until(place, 20, "orders knows the price")
        order_id = placed["order_id"]

        def shipments() -> list[Any]:
            return list(client.pages("logistics", "/shipments", order_id=order_id))

        wait_until(lambda: bool(shipments()), 20, "the shipment is planned")
        for step in steps:
            body = {"received_by": "A", "collected_fen": PRICE_FEN} if step == "deliver" else None
            client.post("logistics", f"/shipments/{shipments()[0]['shipment_id']}/{step}", body)
        return placed | {"shipment_ref": shipments()[0]["shipment_ref"]}

    return do


def test_a_recalled_lot_names_orders_parcels_buyers_counter_sales_and_devices(
    farmgate: Callable[..., Result],
    client: Client,
    stocked: Till,
    lot: dict[str, str],
    buy: Callable[..., dict[str, Any]],
) -> None:
    waiting = buy(None)
    taken = buy("buyer-1", "pack", "dispatch", "deliver")
    (allotment_id,) = stocked.store.allotments
    stocked.sell([(allotment_id, 500)], "cash", "Dolma")
    stocked.upload()
    client.post("catalog", f"/lots/{lot['lot_id']}/recall", {"reason": "residue"})

    def gathered() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            farmgate("lots", "concerned", lot["code"], "--json").stdout
        )
        return found

    def is_told() -> bool:
        found = gathered()
        orders = {each["order_id"]: each for each in found["orders"]}
        return bool(
            found["station_sales"]
            and {taken["order_id"], waiting["order_id"]} <= orders.keys()
            and orders[taken["order_id"]]["warning"] == "sent"
            and orders[waiting["order_id"]]["order"]["state"] == "rejected"
        )

    wait_until(is_told, 30, "the recall reached everybody")
    found, shown = gathered(), words(farmgate("lots", "concerned", lot["code"]))
    orders = {each["order_id"]: each for each in found["orders"]}
    has, had = orders[taken["order_id"]], orders[waiting["order_id"]]

    assert (has["handed_out"], has["order"]["buyer_id"]) == (500, "buyer-1")
    assert has["shipment"]["state"] == "delivered"
    assert (had["set_aside"], had["handed_out"], had["order"]["reason"]) == (0, 0, "lot_recalled")
    assert [sale["quantity"] for sale in found["station_sales"]] == [500]
    assert [device["heard"] for device in found["devices"]] == [False]
    assert f"Lot {lot['code']} is recalled: residue" in shown
    assert f"{order_ref(has)} completed buyer-1 {has['order']['masked_phone']} 500 left" in shown
    assert f"{order_ref(had)} rejected guest" in shown
    assert f"{stocked.store.device_code} epoch 1 1,500 suspended, lot_recalled no" in shown


def test_a_lot_that_nobody_has_says_so(farmgate: Callable[..., Result], lot: Any) -> None:
    assert "No order, sale or device has goods of it." in words(
        farmgate("lots", "concerned", lot["code"])
    )
    assert "no lot LOT-X" in farmgate("lots", "concerned", "LOT-X", code=1).output
