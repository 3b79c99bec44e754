"""The broker comes back with an empty disk: what it had taken and not delivered is said again."""

from collections.abc import Callable
from typing import Any

import pytest

from farmgate.client import Client, connect
from tests.support.processes import SERVICES, Processes
from tests.support.servers import RabbitMQ, wait_until

pytestmark = [pytest.mark.system, pytest.mark.broker, pytest.mark.postgres]

ORDERS = 20


def place(client: Client) -> list[str]:
    """Place orders of a pack each; return their ids."""
    variant = client.get("catalog", "/products", limit=1)["items"][0]["variants"][0]
    site = client.get("logistics", "/sites", limit=1)["items"][0]
    order: dict[str, Any] = {
        "channel": "online",
        "payment_method": "cash_on_delivery",
        "collect": False,
        "site_id": site["site_id"],
        "lines": [{"variant_id": variant["variant_id"], "quantity": variant["pack_quantity"]}],
        "contact": {"name": "卓玛", "phone": "+8613800138000", "address": "巴河镇 1"},
    }
    return [str(client.post("orders", "/orders", order)["order_id"]) for _ in range(ORDERS)]


def forget_everything(broker: RabbitMQ, url: str) -> None:
    """Let the broker lose all it had of this system, as a new disk would."""
    name = url.rpartition("/")[2]
    broker.delete_vhost(name)
    broker.create_vhost(name)


def test_events_that_the_broker_lost_are_said_again_and_count_once(
    start_with_sample: Callable[[str], Processes], broker: RabbitMQ
) -> None:
    system = start_with_sample("distributed")
    client = connect(system.environment)
    system.stop("catalog-worker")
    placed = place(client)
    wait_until(
        lambda: system.ready("orders")["oldest_unpublished_seconds"] == 0,
        30,
        "the broker has taken the orders' events",
    )

    forget_everything(broker, system.environment["FARMGATE_BROKER_URL"])
    system.start("catalog-worker")
    for command in (["topology"], ["events", "republish", "--since", "1h"]):
        done = system.command(*command)
        assert done.returncode == 0, done.stdout + done.stderr

    def decided() -> bool:
        states = [client.get("orders", f"/orders/{each}")["state"] for each in placed]
        return "placed" not in states

    wait_until(decided, 90, "each order is decided")
    verified = system.command("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    for service in SERVICES:
        assert system.ready(service)["parked"] == {}
