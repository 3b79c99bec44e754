"""The example marketplace mirrors the listing, orders once, and follows its orders."""

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from farmgate.client import Client, connect
from services.catalog.use_cases.stock.availability import find_changes
from shared.runtime.database import Database
from tests.faults.bench import ROOT
from tests.support.environments import environment
from tests.support.processes import Processes
from tests.support.servers import stop, wait_until

PROGRAM = ROOT / "examples" / "marketplace" / "marketplace.py"
#: Seconds of quiet after which the listing is right, and what a busy machine takes besides.
QUIET, PATIENCE = 2, 60

pytestmark = pytest.mark.system


@dataclass
class Marketplace:
    """A marketplace on another machine: its Python, its token, its file."""

    python: Path
    url: str
    token: str
    folder: Path
    running: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    def _command(self, *arguments: str) -> list[str]:
        return [str(self.python), str(PROGRAM), self.url, str(self.folder / "acme.db"), *arguments]

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self._command(*arguments),
            env={"FARMGATE_TOKEN": self.token},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def follow(self) -> "subprocess.Popen[bytes]":
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                self._command("follow"),
                env={"FARMGATE_TOKEN": self.token},
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        self.running.append(process)
        return process

    def log(self) -> str:
        return (self.folder / "log").read_text(encoding="utf-8")

    def order(self, external_ref: str, sku: str, quantity: int) -> None:
        """Order something of a variant for a buyer."""
        contact = ("--name", "卓玛", "--phone", "13889041234", "--address", "八一镇 1 号")
        line, site = f"{sku}={quantity}", ("--site", "540421103")
        done = self.run("order", external_ref, line, *site, *contact)
        assert done.returncode == 0, done.stderr

    def _printed(self, command: str) -> list[dict[str, Any]]:
        done = self.run(command)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def listing(self) -> dict[str, dict[str, Any]]:
        return {item["variant_id"]: item for item in self._printed("listing")}

    def orders(self) -> dict[str, dict[str, Any]]:
        return {order["external_ref"]: order for order in self._printed("orders")}

    def wait_for(self, external_ref: str, column: str, value: str) -> None:
        wait_until(
            lambda: self.orders()[external_ref][column] == value,
            PATIENCE,
            f"{external_ref} is {value}; see {self.folder}/log",
        )


@pytest.fixture
def system(start_with_sample: Callable[..., Processes]) -> Processes:
    """The embedded run with the sample."""
    return start_with_sample("embedded")


@pytest.fixture
def client(system: Processes) -> Client:
    """An operator's requests."""
    return connect(system.environment)


@pytest.fixture
def marketplace(system: Processes, tmp_path: Path) -> Iterator[Marketplace]:
    """A marketplace with an environment of its own."""
    issued = system.command("tokens", "issue", "--subject", "acme", "--role", "channel", "--json")
    folder = tmp_path / "acme"
    folder.mkdir()
    made = Marketplace(
        environment(folder / "env", "requests"),
        system.urls["catalog"],
        json.loads(issued.stdout)["token"],
        folder,
    )
    yield made
    for process in made.running:
        stop(process)


def test_its_environment_knows_nothing_of_farmgate(marketplace: Marketplace) -> None:
    found = subprocess.run(
        [marketplace.python, "-c", "import requests\nimport shared"],
        cwd=marketplace.folder,
        env={},
        capture_output=True,
        text=True,
        check=False,
    )

    assert "ModuleNotFoundError: No module named 'shared'" in found.stderr


def test_the_mirrored_listing_equals_catalog_after_the_demo(
    system: Processes, client: Client, marketplace: Marketplace, tmp_path: Path
) -> None:
    """Slow: the demo runs; the marketplace is killed in its middle."""
    killed = marketplace.follow()
    wait_until(lambda: bool(marketplace.listing()), PATIENCE, "the listing is copied")
    before = marketplace.listing()
    with system.begin("demo", "--orders", "60", "--json") as demo:
        wait_until(lambda: marketplace.listing() != before, PATIENCE, "the listing follows")
        killed.kill()
        killed.wait()
        done = demo.end()
    assert done.returncode == 0, done.stderr

    marketplace.follow()
    database = Database(f"sqlite:///{tmp_path}/embedded/var/catalog.db")

    def is_right() -> bool:
        with database.readers() as reader:
            published = not find_changes(reader, None)
        listed = {
            item["variant_id"]: (item["quantity"], item["version"])
            for item in client.pages("catalog", "/availability")
        }
        mirrored = {
            variant_id: (item["quantity"], item["version"])
            for variant_id, item in marketplace.listing().items()
        }
        return published and mirrored == listed

    try:
        wait_until(is_right, PATIENCE, "the listing equals catalog")
    finally:
        database.close()
    assert marketplace.listing() != before


def test_orders_are_placed_once_and_followed_to_their_end(
    system: Processes, client: Client, marketplace: Marketplace
) -> None:
    marketplace.follow()
    wait_until(lambda: bool(marketplace.listing()), PATIENCE, "the listing is copied")

    marketplace.order("SO-1", "HONEY-1", 1000)
    marketplace.order("SO-2", "HONEY-1", 500)
    marketplace.order("SO-3", "HONEY-1", 501)
    marketplace.order("SO-2", "HONEY-1", 500)
    for ref in ("SO-1", "SO-2"):
        marketplace.wait_for(ref, "fulfilment", "planned")
    marketplace.wait_for("SO-3", "state", "refused")
    placed = {order["external_ref"]: order for order in client.pages("orders", "/orders")}
    client.post(
        "orders", f"/orders/{placed['SO-2']['order_id']}/cancel", {"reason": "changed_mind"}
    )
    (shipment,) = client.get("logistics", "/shipments", order_id=placed["SO-1"]["order_id"])[
        "items"
    ]
    path = f"/shipments/{shipment['shipment_id']}"
    client.post("logistics", f"{path}/pack")
    client.post("logistics", f"{path}/dispatch")
    client.post("logistics", f"{path}/arrivals", {"site_id": shipment["site_id"]})
    paid = {"received_by": "卓玛", "collected_fen": shipment["due_fen"]}
    client.post("logistics", f"{path}/deliver", paid)

    marketplace.wait_for("SO-1", "state", "completed")
    marketplace.wait_for("SO-2", "fulfilment", "cancelled")
    followed = marketplace.orders()
    assert followed["SO-1"]["fulfilment"] == "delivered"
    assert followed["SO-2"]["state"] == "cancelled"
    assert "pack" in followed["SO-3"]["problem"]
    assert len([*client.pages("orders", "/orders")]) == len(placed) == 2
    for ref, order in placed.items():
        shown = client.get("orders", f"/orders/{order['order_id']}")
        assert (shown["partner"], shown["external_ref"]) == ("acme", ref)
        assert shown["state"] == followed[ref]["state"]
        assert shown["fulfilment_state"] == followed[ref]["fulfilment"]


def test_an_order_whose_answer_was_lost_is_not_placed_twice(
    system: Processes, client: Client, marketplace: Marketplace
) -> None:
    marketplace.follow()
    wait_until(lambda: bool(marketplace.listing()), PATIENCE, "the listing is copied")
    marketplace.order("SO-1", "HONEY-1", 1000)
    marketplace.wait_for("SO-1", "state", "confirmed")
    stop(marketplace.running[-1])

    # As if the program had died before it stored the answer and the events.
    forget = "UPDATE orders SET order_id = NULL, order_ref = NULL, state = 'new'"
    script = f"import sqlite3; c = sqlite3.connect('acme.db'); c.execute({forget!r}); c.commit()"
    subprocess.run([marketplace.python, "-c", script], cwd=marketplace.folder, check=True)
    marketplace.follow()

    marketplace.wait_for("SO-1", "state", "confirmed")
    assert len([*client.pages("orders", "/orders")]) == 1


def test_a_restart_of_farmgate_is_waited_for(system: Processes, marketplace: Marketplace) -> None:
    marketplace.follow()
    wait_until(lambda: bool(marketplace.listing()), PATIENCE, "the listing is copied")
    system.kill("all")
    wait_until(lambda: "again in" in marketplace.log(), PATIENCE, "the loss is noticed")
    system.start("all")

    marketplace.order("SO-1", "HONEY-1", 1000)

    marketplace.wait_for("SO-1", "state", "confirmed")


def test_a_token_that_is_refused_ends_the_program_with_a_reason(marketplace: Marketplace) -> None:
    marketplace.token = "x.y.z"

    done = marketplace.run("follow")

    assert done.returncode == 1
    assert done.stderr.startswith("401 ")
