"""Catalog, orders and logistics in process, on SQLite, with a bus that runs when it is told to."""

import sqlite3
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask
from sqlalchemy import text

from demo.offline import device
from farmgate.failures import Refused
from farmgate.roles import SCOPES
from farmgate.services import application_of, service_of
from shared.events import BY_TYPE
from shared.messaging.envelope import Envelope, decode, load_data
from shared.messaging.processing import Processor
from shared.messaging.store import Store
from shared.runtime import clock, keys, migrations
from shared.runtime.config import Settings

#: Whose events matter to stations.
SERVICES = ("catalog", "orders", "logistics")
#: As long as a token may live.
LONG = 90 * 24 * 3600


class Centre:
    """Three services, and queues between them as a broker keeps them: one for each service.

    A queue gives what a publisher recorded in its order; how far each has come is for the test
    to say, and whether something comes again.
    """

    def __init__(self, folder: Path) -> None:
        keys.ensure(folder)
        environment = {
            "FARMGATE_DATA": str(folder),
            "FARMGATE_PAYMENT_SECRET_FILE": str(folder / "keys" / "payment_secret"),
        }
        self.token = keys.issue_token(folder, "operator", SCOPES, LONG)
        self.apps: dict[str, Flask] = {}
        self.settings: dict[str, Settings] = {}
        for name in SERVICES:
            self.settings[name] = Settings.from_environment(name, environment)
            migrations.upgrade(name, self.settings[name].database_url)
            self.apps[name] = application_of(name)(self.settings[name])
        self.databases = {n: app.extensions["farmgate"].database for n, app in self.apps.items()}
        self.processors = {n: Processor(service_of(n), self.databases[n]) for n in SERVICES}
        self.stores = {n: Store(self.databases[n]) for n in SERVICES}
        self.queues: dict[str, deque[Envelope]] = defaultdict(deque)
        self.requests = 0
        self._saved: dict[str, sqlite3.Connection] = {}

    def close(self) -> None:
        """Close the databases."""
        for copy in self._saved.values():
            copy.close()
        for name in SERVICES:
            self.stores[name].close()
            self.databases[name].close()

    # --- Requests -----------------------------------------------------------------------------

    def send(self, service: str, method: str, path: str, body: Any, token: str | None) -> Any:
        """Answer a request with this token; the same shape as a device's way to the centre.

        Raises:
            Refused: the answer is a problem.
        """
        self.requests += 1
        headers = {"Idempotency-Key": f"centre-{self.requests}"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        answer = (
            self.apps[service]
            .test_client()
            .open(f"/api/{service}/v1{path}", method=method, json=body, headers=headers)
        )
        if answer.status_code >= 300:
            assert answer.status_code < 500, answer.text
            raise Refused(service, answer.status_code, answer.json)
        return answer.json

    def call(self, method: str, service: str, path: str, body: Any = None) -> Any:
        """Answer an operator's request."""
        return self.send(service, method, path, body, self.token)

    def pages(self, service: str, path: str) -> Iterator[dict[str, Any]]:
        """Go through all items of a list."""
        cursor = ""
        joint = "&" if "?" in path else "?"
        while True:
            page = self.call("GET", service, f"{path}{joint}limit=200{cursor}")
            yield from page["items"]
            if page["next"] is None:
                return
            cursor = f"&cursor={page['next']}"

    def get(self, service: str, path: str, **query: Any) -> Any:
        """Answer an operator's GET; the way in which `farmgate verify` asks."""
        given = {name: value for name, value in query.items() if value is not None}
        return self.call("GET", service, f"{path}?{urlencode(given, doseq=True)}")

    def rows(self, service: str, statement: str, **values: Any) -> list[Any]:
        """Return what a statement finds in a service's database."""
        with self.databases[service].readers() as session:
            return list(session.execute(text(statement), values))

    # --- The bus --------------------------------------------------------------------------------

    def relay(self, publisher: str, most: int = 500, *, forget: bool = False) -> None:
        """Move what a service recorded to the queues of all who listen.

        With `forget` the relay dies before it has noted that, and all of it comes again.
        """
        rows = self.stores[publisher].waiting(most)
        for row in rows:
            event = decode(row.body)
            for consumer, processor in self.processors.items():
                if event.type in processor.types:
                    self.queues[consumer].append(event)
        if not forget:
            self.stores[publisher].mark(rows)

    def consume(self, consumer: str, most: int = 500, *, forget: bool = False) -> list[Envelope]:
        """Let a service handle what its queue holds; return what it was given, data loaded.

        With `forget` its acknowledgement is lost: the same messages stay in the queue.
        """
        queue = self.queues[consumer]
        batch = [queue[index] for index in range(min(most, len(queue)))]
        self.processors[consumer].process(batch, _never_unavailable)
        if not forget:
            for _ in batch:
                queue.popleft()
        return [load_data(event, BY_TYPE[event.type]) for event in batch]

    @property
    def is_quiet(self) -> bool:
        """Whether nothing waits to be published or handled."""
        return not any(self.queues.values()) and not any(
            store.waiting(1) for store in self.stores.values()
        )

    def settle(self) -> None:
        """Hand on what the services have recorded, until nobody has anything to say."""
        while not self.is_quiet:
            for name in SERVICES:
                self.relay(name)
            for name in SERVICES:
                self.consume(name)

    def run_timers(self, service: str) -> None:
        """Let a service do what it does by the clock."""
        for timer in service_of(service).timers:
            while timer.run(self.databases[service], self.settings[service]):
                pass

    # --- As it was ------------------------------------------------------------------------------

    def save(self) -> None:
        """Remember all databases as they are now."""
        for name, database in self.databases.items():
            copy = sqlite3.connect(":memory:")
            with database.engine.connect() as connection:
                connection.connection.driver_connection.backup(copy)
            self._saved[name] = copy

    def reset(self) -> None:
        """Make all databases as they were remembered."""
        self.queues.clear()
        for name, copy in self._saved.items():
            with self.databases[name].engine.connect() as connection:
                copy.backup(connection.connection.driver_connection)


def _never_unavailable(seconds: float) -> None:
    raise AssertionError("the database is away")


@dataclass
class Shop:
    """What the centre knows before a story begins."""

    centre_id: str
    #: Two stations.
    site_ids: list[str]
    #: Three lots: two of the first variant, the first of which expires earlier; one of another.
    lot_ids: list[str]
    variant_of: dict[str, str]
    #: Three enrolled tills, two of them at the first station.
    stores: list[device.Store]


class MovableClock:
    """The time that all services see, and how far it was moved."""

    def __init__(self) -> None:
        self.ahead = timedelta()
        self._true_now = clock.now

    def now(self) -> datetime:
        """Return the present moment of the story."""
        return self._true_now() + self.ahead


@pytest.fixture(scope="module")
def movable_clock() -> Iterator[MovableClock]:
    """A clock that a story may move on."""
    with pytest.MonkeyPatch.context() as patch:
        made = MovableClock()
        patch.setattr(clock, "now", made.now)
        yield made


@pytest.fixture(scope="module")
def centre(
    tmp_path_factory: pytest.TempPathFactory, movable_clock: MovableClock
) -> Iterator[Centre]:
    """Services that know a shop; see `shop`. Reset it to begin again."""
    made = Centre(tmp_path_factory.mktemp("centre"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def shop(centre: Centre) -> Shop:
    """Two stations with tills and three released lots, none of them in stock yet; remembered."""
    names = {"zh": "巴河镇"}
    sites = [
        {"code": "C", "level": "centre", "names": names},
        {"code": "K", "level": "county", "parent_code": "C", "names": names},
        {"code": "S1", "level": "township", "parent_code": "K", "names": names},
        {"code": "S2", "level": "township", "parent_code": "K", "names": names},
    ]
    opened = centre.call("POST", "logistics", "/sites/batch", {"sites": sites})["sites"]
    producer = centre.call(
        "POST",
        "catalog",
        "/enterprises",
        {"code": "P-1", "names": names, "roles": ["producer"]},
    )
    product = {
        "code": "M",
        "names": names,
        "category": "fungi",
        "perishable": False,
        "shelf_life_days": 365,
        "variants": [
            {"sku": f"M-{grade}", "grade": grade, "unit": "g", "pack_quantity": 1}
            for grade in ("A", "B")
        ],
    }
    variants = centre.call("POST", "catalog", "/products", product)["variants"]
    for variant in variants:
        for channel in ("online", "station"):
            path = f"/variants/{variant['variant_id']}/prices/{channel}"
            centre.call("PUT", "catalog", path, {"price_fen": 7, "price_unit": 2})
    centre.settle()
    lot_ids, variant_of = [], {}
    for number, variant in enumerate((variants[0], variants[0], variants[1])):
        harvest_date = clock.today() - timedelta(days=30 - number)
        lot = {
            "code": f"L-{number}",
            "variant_id": variant["variant_id"],
            "producer_id": producer["enterprise_id"],
            "harvest_date": harvest_date.isoformat(),
        }
        lot_id = centre.call("POST", "catalog", "/lots", lot)["lot_id"]
        centre.call("POST", "catalog", f"/lots/{lot_id}/inspect")
        centre.call("POST", "catalog", f"/lots/{lot_id}/release")
        lot_ids.append(lot_id)
        variant_of[lot_id] = variant["variant_id"]
    ids = {site["code"]: site["site_id"] for site in opened}
    stores = [_enrolled(centre, ids[code]) for code in ("S1", "S1", "S2")]
    centre.settle()
    centre.save()
    return Shop(ids["C"], [ids["S1"], ids["S2"]], lot_ids, variant_of, stores)


def _enrolled(centre: Centre, site_id: str) -> device.Store:
    made = centre.call("POST", "catalog", "/devices", {"site_id": site_id, "name": "收银台"})
    till = device.Till(centre.send)
    till.enrol(made["enrolment_code"])
    return till.snapshot()
