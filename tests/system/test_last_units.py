"""Of 200 buyers for the last 10 units exactly 10 get one, whichever way they pay."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest

from farmgate.client import Client, connect
from farmgate.failures import Refused
from shared.runtime import clock
from tests.support.processes import Processes
from tests.support.servers import wait_until
from tests.support.systems import DISTRIBUTED_FIRST

UNITS = 10
#: How they pay, how many they are, and how many of them ask at the same moment. Those who would
#: pay first are so few that all have asked before the first hold expires.
CROWDS = (
    ("cash_on_delivery", 200, 50),
    ("cash_at_station", 40, UNITS + 1),
    ("cash_on_delivery", 40, UNITS - 2),
    ("cash_at_station", 40, 2),
    ("prepaid", 50, 50),
)


def shop(client: Client) -> str:
    """Open a centre with a producer; return the site's id."""
    site = client.post(
        "logistics",
        "/sites",
        {"code": "540400", "level": "centre", "names": {"zh": "中心", "en": "Centre"}},
    )
    return str(site["site_id"])


def last_units(client: Client, site_id: str, units: int) -> dict[str, Any]:
    """List a product of which there are `units` pieces in the centre; return its variant."""
    name = uuid4().hex[:8].upper()
    producer = client.post(
        "catalog",
        "/enterprises",
        {"code": f"P-{name}", "names": {"zh": "农户"}, "roles": ["producer"]},
    )
    product = client.post(
        "catalog",
        "/products",
        {
            "code": f"SNOW-LOTUS-{name}",
            "names": {"zh": "雪莲花"},
            "category": "medicinal",
            "perishable": False,
            "shelf_life_days": 730,
            "variants": [{"sku": f"{name}-1", "grade": "1", "unit": "piece", "pack_quantity": 1}],
        },
    )
    variant: dict[str, Any] = product["variants"][0]
    client.put(
        "catalog",
        f"/variants/{variant['variant_id']}/prices/online",
        {"price_fen": 5800, "price_unit": 1},
    )
    lot = client.post(
        "catalog",
        "/lots",
        {
            "code": f"LOT-{name}",
            "variant_id": variant["variant_id"],
            "producer_id": producer["enterprise_id"],
            "harvest_date": clock.today().isoformat(),
        },
    )
    client.post("catalog", f"/lots/{lot['lot_id']}/inspect")
    client.post("catalog", f"/lots/{lot['lot_id']}/release")

    def receive() -> bool:
        try:
            client.post(
                "catalog",
                "/stock/receipts",
                {"lot_id": lot["lot_id"], "location_id": site_id, "quantity": units},
            )
        except Refused:
            return False  # catalog has not heard of the site yet
        return True

    wait_until(receive, 20, "catalog knows the site")
    return {**variant, "lot_id": lot["lot_id"]}


@pytest.mark.parametrize("setup", DISTRIBUTED_FIRST)
def test_of_200_buyers_for_the_last_ten_units_exactly_ten_get_one(
    start_system: Callable[[str], Processes], setup: str
) -> None:
    """dotnet/eShop#888, #732; saleor/saleor#543; vendurehq/vendure#1738; medusajs/medusa#16502."""
    system = start_system(setup)
    client = connect(system.environment)
    site_id = shop(client)

    for payment, count, at_once in CROWDS:
        variant = last_units(client, site_id, UNITS)

        def order(
            buyer: int,
            quantity: int = 1,
            payment: str = payment,
            at_once: int = at_once,
            variant: dict[str, Any] = variant,
        ) -> dict[str, Any]:
            collect = payment == "cash_at_station"
            body = {
                "channel": "online",
                "payment_method": payment,
                "site_id": site_id,
                "collect": collect,
                "buyer_id": f"buyer-{payment}-{at_once}-{buyer}",
                "lines": [{"variant_id": variant["variant_id"], "quantity": quantity}],
                "contact": {
                    "name": "卓玛",
                    "phone": f"138{at_once:03d}{buyer:05d}",
                    "address": None if collect else "八一镇1号",
                    "language": "zh",
                },
            }
            placed: dict[str, Any] = client.post("orders", "/orders", body)
            return placed

        wait_until(lambda order=order: _priced(order), 20, "orders knows the price")  # type: ignore[misc]
        with ThreadPoolExecutor(at_once) as buyers:
            placed = list(buyers.map(order, range(count)))

        def states(placed: list[dict[str, Any]] = placed) -> Counter[str]:
            return Counter(
                client.get("orders", f"/orders/{order['order_id']}")["state"] for order in placed
            )

        wait_until(lambda states=states: states()["placed"] == 0, 30, "all are decided")  # type: ignore[misc]
        counted = states()
        kept = {"reserved", "expired"} if payment == "prepaid" else {"confirmed"}
        assert counted["rejected"] == count - UNITS
        assert sum(counted[state] for state in kept) == UNITS

        summary = client.get("catalog", "/stock/summary")
        row = next(r for r in summary["items"] if r["variant_id"] == variant["variant_id"])
        assert row["balanced"]
        assert row["received"] == UNITS == row["on_hand"]
        assert row["available"] >= 0


def _priced(order: Callable[..., dict[str, Any]]) -> bool:
    """Ask for more than there is, which is only refused at once while the price is unknown."""
    try:
        order(0, 1_000_000)
    except Refused:
        return False
    return True
