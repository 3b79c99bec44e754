"""With three services stopped the fourth starts, answers, and catches up when they return."""

import json
import urllib.request
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from tests.support.processes import SERVICES, Processes, get
from tests.support.servers import wait_until

pytestmark = [pytest.mark.system, pytest.mark.broker, pytest.mark.postgres]


class Operator:
    """An operator's HTTP calls."""

    def __init__(self, system: Processes) -> None:
        self.system = system
        done = system.command("tokens", "issue", "--subject", "operator", "--role", "operator")
        self.headers = {"Authorization": f"Bearer {done.stdout.strip()}"}

    def get(self, service: str, path: str) -> dict[str, Any]:
        return get(f"{self.system.urls[service]}/api/{service}/v1{path}", self.headers)

    def post(self, service: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self.system.urls[service]}/api/{service}/v1{path}",
            json.dumps(body).encode(),
            {
                **self.headers,
                "Content-Type": "application/json",
                "Idempotency-Key": str(uuid4()),
            },
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return dict(json.load(answer))


def processes_of(service: str) -> list[str]:
    return [f"{service}-web", f"{service}-worker"]


@pytest.mark.rest
def test_each_service_works_alone_and_the_others_catch_up(
    start_with_sample: Callable[[str], Processes],
) -> None:
    system = start_with_sample("distributed")
    operator = Operator(system)
    tsampa = next(
        product
        for product in operator.get("catalog", "/products?limit=200")["items"]
        if product["code"] == "TSAMPA"
    )
    variant = tsampa["variants"][0]
    centre = next(
        site
        for site in operator.get("logistics", "/sites?limit=1")["items"]
        if site["level"] == "centre"
    )
    lots = operator.get("catalog", f"/lots?limit=1&variant_id={variant['variant_id']}")["items"]
    wait_until(
        lambda: all(
            system.ready(service)["oldest_unpublished_seconds"] == 0 for service in SERVICES
        ),
        30,
        "the sample has reached everybody",
    )

    def alone(service: str) -> None:
        for name in list(system.running):
            system.stop(name)
        system.start(*processes_of(service))
        assert system.ready(service)["status"] == "ready"

    def everybody() -> None:
        system.start(*(name for name in system.commands if name not in system.running))

    # orders takes an order nobody can decide yet; the others decide it when they come.
    alone("orders")
    placed = operator.post(
        "orders",
        "/orders",
        {
            "channel": "online",
            "payment_method": "cash_on_delivery",
            "site_id": centre["site_id"],
            "collect": False,
            "lines": [{"variant_id": variant["variant_id"], "quantity": variant["pack_quantity"]}],
            "contact": {
                "name": "Tashi",
                "phone": "13889041234",
                "address": "Bayi Town 1",
                "language": "zh",
            },
        },
    )
    assert placed["state"] == "placed"
    everybody()
    wait_until(
        lambda: operator.get("orders", f"/orders/{placed['order_id']}")["state"] != "placed",
        30,
        "the order is decided",
    )
    assert operator.get("orders", f"/orders/{placed['order_id']}")["state"] == "confirmed"
    wait_until(
        lambda: bool(
            operator.get("logistics", f"/shipments?order_id={placed['order_id']}")["items"]
        ),
        30,
        "its shipment is planned",
    )

    # logistics opens a site that catalog learns of later.
    alone("logistics")
    site = operator.post(
        "logistics",
        "/sites",
        {
            "code": "540499",
            "level": "county",
            "parent_code": centre["code"],
            "names": {"zh": "测试县", "en": "Test County"},
        },
    )
    everybody()
    wait_until(
        lambda: any(
            place["location_id"] == site["site_id"]
            for place in operator.get("catalog", "/locations?limit=200")["items"]
        ),
        30,
        "catalog has the new location",
    )

    # catalog receives stock and lists a product that orders can sell afterwards.
    alone("catalog")
    receipt = operator.post(
        "catalog",
        "/stock/receipts",
        {
            "lot_id": lots[0]["lot_id"],
            "location_id": centre["site_id"],
            "quantity": variant["pack_quantity"],
        },
    )
    assert receipt["lot_id"] == lots[0]["lot_id"]

    # notifications answers, and tells the buyer what happened meanwhile.
    alone("notifications")
    messages = operator.get("notifications", f"/messages?order_id={placed['order_id']}")["items"]
    everybody()
    operator.post("orders", f"/orders/{placed['order_id']}/cancel", {"reason": "changed_mind"})
    wait_until(
        lambda: (
            len(operator.get("notifications", f"/messages?order_id={placed['order_id']}")["items"])
            > len(messages)
        ),
        30,
        "the message about the cancellation",
    )
    for service in SERVICES:
        assert system.ready(service)["parked"] == {}
