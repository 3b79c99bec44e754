"""Containers that are killed, stopped, replaced or multiplied while orders come in."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from random import randrange
from time import monotonic
from uuid import uuid4

import pytest

from demo.planning import PHONE
from farmgate.client import Client
from farmgate.failures import Refused
from farmgate.services import NAMES
from tests.deployment.conftest import (
    PROJECT,
    SERVERS,
    Deployment,
    broker,
    docker,
    orders_coming_in,
)
from tests.support.feeding import take_one
from tests.support.servers import wait_until

#: Killed one after the other around one load: all of them by themselves would take half an hour.
GROUPS = {
    "what takes orders": ("gateway", "pages", "orders-web", "orders-worker"),
    "what owns stock": ("catalog-web", "catalog-worker", "topology-keeper"),
    "what follows": (
        *("logistics-web", "logistics-worker"),
        *("notifications-web", "notifications-worker"),
    ),
    "the servers": ("rabbitmq", "postgres"),
}
#: Seconds until another worker goes on.
FAIL_OVER = 30


def test_every_container_is_in_a_group():
    assert sorted(name for group in GROUPS.values() for name in group) == sorted(SERVERS)


@pytest.mark.parametrize("group", GROUPS)
def test_what_is_killed_under_load_loses_nothing(deployment, passwords, group):
    with orders_coming_in(deployment, passwords("database-orders"), orders=60):
        for victim in GROUPS[group]:
            kill_and_start(deployment, victim)
    deployment.verify()


def kill_and_start(deployment: Deployment, victim: str) -> None:
    container = deployment.container(victim)
    docker("kill", container)
    docker("start", container)
    wait_until(lambda: deployment.healthy(victim), 90, f"{victim} is healthy")


def test_what_is_stopped_under_load_ends_within_ten_seconds_and_loses_nothing(
    deployment, passwords
):
    took = {}
    with orders_coming_in(deployment, passwords("database-orders")):
        for victim in ("orders-web", "orders-worker", "catalog-worker"):
            container = deployment.container(victim)
            started = monotonic()
            docker("stop", container)
            took[victim] = monotonic() - started
            assert deployment.inspect(victim)["State"]["ExitCode"] == 0
            docker("start", container)
    assert max(took.values()) < 10, took
    deployment.verify()


def an_order(shop: Client) -> dict:
    """Return an order of one pack that everybody gets: one was placed and confirmed."""
    site = next(iter(shop.pages("logistics", "/sites")))
    for product in shop.pages("catalog", "/products", status="listed"):
        for variant in product["variants"]:
            line = {"variant_id": variant["variant_id"], "quantity": variant["pack_quantity"]}
            body = {
                "channel": "online",
                "payment_method": "cash_on_delivery",
                "collect": False,
                "site_id": site["site_id"],
                "buyer_id": f"tests-{uuid4()}",
                "lines": [line],
                "contact": {
                    "name": "示例买家",
                    "phone": PHONE.format(randrange(10_000)),
                    "address": "示例路1号",
                    "language": "zh",
                },
            }
            # It may have no price, or none left.
            with suppress(Refused):
                if place(shop, body)["state"] == "confirmed":
                    return body
    raise AssertionError("nothing can be ordered")


def place(shop: Client, body: dict) -> dict:
    wait = {"Prefer": "wait=5"}
    return shop.post("orders", "/orders", body, key=str(uuid4()), headers=wait)


def decided(shop: Client, order_id: str) -> bool:
    return shop.get("orders", f"/orders/{order_id}")["state"] != "placed"


@pytest.mark.smoke
def test_a_process_and_a_server_killed_under_load_lose_nothing(deployment, passwords):
    """The short form of what is done to all of them above."""
    with orders_coming_in(deployment, passwords("database-orders")):
        kill_and_start(deployment, "orders-worker")
        kill_and_start(deployment, "rabbitmq")
    deployment.verify()


def test_a_request_in_flight_is_answered_before_its_process_ends(deployment):
    """While the broker is away nothing is decided, so that who asked for it waits."""
    shop = deployment.shop()
    body = an_order(shop)
    docker("stop", deployment.container("catalog-worker"))
    try:
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(place, shop, body)
            threading.Event().wait(1)
            docker("stop", deployment.container("orders-web"))
            assert answer.result(30)["state"] == "placed"
            docker("start", deployment.container("orders-web"))
    finally:
        docker("start", deployment.container("catalog-worker"))
    order_id = answer.result()["order_id"]
    wait_until(lambda: decided(shop, order_id), 90, "the order is decided")


def test_while_the_broker_is_away_orders_are_taken_and_no_process_ends(
    deployment, request: pytest.FixtureRequest
):
    """Ten minutes with `--long`, else 20 s."""
    shop = deployment.shop()
    body = an_order(shop)
    lasting = [name for name in SERVERS if name != "rabbitmq"]
    before = {name: started(deployment, name) for name in lasting}
    docker("stop", deployment.container("rabbitmq"))
    try:
        seconds = 600 if request.config.getoption("--long") else 20
        threading.Event().wait(seconds)
        orders = [place(shop, body) for _ in range(3)]
        assert {order["state"] for order in orders} == {"placed"}
    finally:
        docker("start", deployment.container("rabbitmq"))
    for order in orders:
        wait_until(lambda o=order: decided(shop, o["order_id"]), 120, "the order is decided")
    assert {name: started(deployment, name) for name in lasting} == before
    deployment.verify()


def started(deployment: Deployment, service: str) -> tuple[str, int]:
    told = deployment.inspect(service)
    return told["State"]["StartedAt"], told["RestartCount"]


def test_a_broker_whose_container_is_made_anew_has_what_waited_in_it(deployment):
    shop = deployment.shop()
    body = an_order(shop)
    docker("stop", deployment.container("catalog-worker"))
    try:
        order = place(shop, body)
        deployment.must("rm", "-s", "-f", "rabbitmq")
        deployment.must("up", "-d", "--no-deps", "rabbitmq")
        wait_until(lambda: deployment.healthy("rabbitmq"), 90, "rabbitmq is healthy")
    finally:
        docker("start", deployment.container("catalog-worker"))
    wait_until(lambda: decided(shop, order["order_id"]), 120, "the order is decided")
    deployment.verify()


def test_a_broker_without_its_volume_gets_events_and_partners_back_by_what_operators_type(
    deployment, backups
):
    shop = deployment.shop()
    body = an_order(shop)
    mounted = f"{backups}:/backups"
    partner = json.loads(deployment.farmgate("integrators", "add", "partner", "--json"))
    shop.put("events", "/subscriptions/partner/grants", {"grants": ["orders"]})
    deployment.farmgate("backup", "/backups/monday", mounted=mounted)
    docker("stop", deployment.container("catalog-worker"))
    try:
        order = place(shop, body)
        deployment.must("rm", "-s", "-f", "rabbitmq")
        docker("volume", "rm", f"{PROJECT}_rabbitmq-data")
        deployment.must("up", "-d", "--no-deps", "rabbitmq")
        wait_until(lambda: deployment.healthy("rabbitmq"), 90, "rabbitmq is healthy")
    finally:
        docker("start", deployment.container("catalog-worker"))

    deployment.farmgate("topology")
    deployment.farmgate("integrators", "restore", "/backups/monday", mounted=mounted)
    deployment.farmgate("events", "republish", "--since", "1h")

    wait_until(lambda: decided(shop, order["order_id"]), 120, "the order is decided")
    with broker(deployment, partner["user"], partner["password"]) as connection:
        assert take_one(connection.channel(), partner["queue"], within=60)[0] is not None
    deployment.farmgate("integrators", "remove", "partner", "--yes")
    deployment.verify()


def test_of_several_web_processes_and_workers_one_may_go(deployment):
    more = [f"--scale={name}-web=3" for name in NAMES]
    more += [f"--scale={name}-worker=2" for name in NAMES]
    shop = deployment.shop()
    body = an_order(shop)
    deployment.must("up", "-d", "--no-recreate", *more)
    try:
        for name in NAMES:
            assert all(deployment.container(f"{name}-web", number) for number in (1, 2, 3))
            assert deployment.container(f"{name}-worker", 2)
        inside = Client(
            dict.fromkeys(NAMES, f"http://{deployment.address('gateway')}:8090"), token=None
        )
        answered = {inside.ready("orders") is not None for _ in range(12)}
        assert answered == {True}
        for name in NAMES:
            # It was there before the second one, and is at work.
            first = deployment.container(f"{name}-worker")
            docker("kill", first)
            began = monotonic()
            order = place(shop, body)
            wait_until(
                lambda o=order: all_the_way(shop, o["order_id"]),
                FAIL_OVER,
                f"an order goes on without the first worker of {name}",
            )
            assert monotonic() - began < FAIL_OVER
            docker("start", first)
    finally:
        deployment.must("up", "-d", "--no-recreate")
    deployment.verify()


def all_the_way(shop: Client, order_id: str) -> bool:
    """Tell whether all four services have worked on an order."""
    return bool(
        decided(shop, order_id)
        and list(shop.pages("logistics", "/shipments", order_id=order_id))
        and list(shop.pages("notifications", "/messages", order_id=order_id))
    )
