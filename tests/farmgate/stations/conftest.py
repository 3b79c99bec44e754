"""A system with a centre, a township and its till, for the commands about stations."""

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result

from demo.offline.device import Till
from demo.offline.link import Line
from farmgate.cli import main
from farmgate.client import Client, connect
from shared.runtime import clock
from tests.support import processes
from tests.support.processes import Processes
from tests.support.servers import wait_until

NAMES = {"zh": "巴河镇"}
PACK = 500


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """The embedded system, empty, for all tests of this file."""
    folder = tmp_path_factory.mktemp("system")
    with processes.embedded(folder) as made:
        made.start()
        yield made


@pytest.fixture(scope="module")
def client(system: Processes) -> Client:
    """An operator's calls."""
    return connect(system.environment)


@pytest.fixture(scope="module")
def world(client: Client) -> dict[str, Any]:
    """A centre with stock of one variant, and a township below it."""
    sites = [
        {"code": "C", "level": "centre", "names": NAMES},
        {"code": "K", "level": "county", "parent_code": "C", "names": NAMES},
        {"code": "T", "level": "township", "parent_code": "K", "names": NAMES},
    ]
    opened = client.post("logistics", "/sites/batch", {"sites": sites})["sites"]
    producer = client.post(
        "catalog",
        "/enterprises",
        {"code": "P-1", "names": NAMES, "roles": ["producer"], "contact": {"language": "zh"}},
    )
    variant = {"sku": "HONEY-1", "grade": "1", "unit": "g", "pack_quantity": PACK}
    product = {"code": "HONEY", "names": NAMES, "category": "pantry", "perishable": False}
    listed = client.post("catalog", "/products", product | {"variants": [variant]})
    variant_id = listed["variants"][0]["variant_id"]
    client.put(
        "catalog",
        f"/variants/{variant_id}/prices/station",
        {"price_fen": 9800, "price_unit": PACK},
    )
    wait_until(lambda: len(client.get("catalog", "/locations")["items"]) == 3, 20, "catalog hears")
    made = {"variant_id": variant_id, "producer_id": producer["enterprise_id"]}
    return made | {"centre_id": opened[0]["site_id"], "township_id": opened[2]["site_id"]}


@pytest.fixture
def lot(client: Client, world: dict[str, Any]) -> Iterator[dict[str, str]]:
    """A released lot with 20 packs at the centre; no other test finds what is left of it."""
    code = f"HONEY-{uuid4().hex[:8]}"
    recorded = client.post(
        "catalog",
        "/lots",
        {
            "code": code,
            "variant_id": world["variant_id"],
            "producer_id": world["producer_id"],
            "harvest_date": clock.today().isoformat(),
        },
    )
    for step in ("inspect", "release"):
        client.post("catalog", f"/lots/{recorded['lot_id']}/{step}")
    client.post(
        "catalog",
        "/stock/receipts",
        {
            "lot_id": recorded["lot_id"],
            "location_id": world["centre_id"],
            "quantity": 20 * PACK,
        },
    )
    yield {"code": code, "lot_id": recorded["lot_id"]}
    if client.get("catalog", f"/lots/{recorded['lot_id']}")["status"] == "released":
        client.post("catalog", f"/lots/{recorded['lot_id']}/hold", {"reason": "the test is over"})


@pytest.fixture
def farmgate(system: Processes, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run a command against the system."""
    for name in ("FARMGATE_DATA", "FARMGATE_URL"):
        monkeypatch.setenv(name, system.environment[name])

    def run(*arguments: str, code: int = 0, typed: str | None = None) -> Result:
        done = CliRunner().invoke(main, list(arguments), input=typed)
        assert done.exit_code == code, done.output
        return done

    return run


@pytest.fixture
def till(
    farmgate: Callable[..., Result],
    world: dict[str, Any],
    system: Processes,
    knows: Callable[[Till], bool],
) -> Till:
    """An enrolled till of the township, with an open shift."""
    added = json.loads(farmgate("devices", "add", "T", "--json").stdout)
    made = Till(Line(system.urls))
    made.enrol(added["enrolment_code"])
    wait_until(lambda: knows(made), 20, "orders knows the key")
    made.contact()
    made.open_shift(0, "Dolma")
    return made


@pytest.fixture
def knows() -> Callable[[Till], bool]:
    """Tell whether orders has heard of a till's key."""

    def ask(till: Till) -> bool:
        try:
            return till.ask_attention() == []
        except Exception as error:
            assert "401" in str(error), error
            return False

    return ask


@pytest.fixture
def stocked(till: Till, lot: dict[str, str], farmgate: Callable[..., Result]) -> Till:
    """A till that may sell four packs."""
    farmgate("devices", "grant", till.store.device_code, lot["code"], "4", "--packs")
    till.contact()
    return till
