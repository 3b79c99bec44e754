"""The service under test: catalog, with goods of one producer at the centre."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from services.catalog.app import create_app
from services.catalog.batch import CatalogBatch
from services.catalog.models import StockLevel
from services.catalog.use_cases.goods import enterprises, products
from services.catalog.use_cases.stock import levels, lots, reconciliation
from services.catalog.worker import SERVICE
from shared.events import (
    Fact,
    OrderCancelled,
    OrderConfirmed,
    OrderPlaced,
    ShipmentDispatched,
    ShipmentReturned,
    SiteOpened,
    StockReserved,
)
from shared.messaging.batch import transaction
from shared.messaging.envelope import fact_of
from shared.messaging.service import Service
from shared.messaging.tables import Outbox
from shared.runtime import api_keys, clock, devices
from shared.runtime.config import Settings
from shared.runtime.database import Database
from shared.runtime.ids import new_id


@pytest.fixture(scope="session")
def service() -> Service:
    """Catalog, as its worker runs it."""
    return SERVICE


@pytest.fixture(scope="session")
def make_app() -> Callable[[Settings], Flask]:
    """Catalog's HTTP application."""
    return create_app


@dataclass
class Shop:
    """A centre, a county, a station in a village, one producer and one product to begin with."""

    database: Database
    deliver: Callable[..., Any]
    centre: UUID = field(default_factory=new_id)
    county: UUID = field(default_factory=new_id)
    station: UUID = field(default_factory=new_id)
    producer: UUID = field(default_factory=new_id)
    variant: UUID = field(default_factory=new_id)

    def open(self) -> None:
        """Open the sites, register the producer, list the product."""
        sites = (
            (self.centre, "540400", "centre", None),
            (self.county, "540421", "county", self.centre),
            (self.station, "540421103", "township", self.county),
        )
        self.deliver(
            SiteOpened,
            _many=[
                {
                    "site_id": site_id,
                    "code": code,
                    "level": level,
                    "parent_id": parent_id,
                    "names": {"zh": code},
                }
                for site_id, code, level, parent_id in sites
            ],
        )
        with transaction(self.database, CatalogBatch) as batch:
            producer = enterprises.register_enterprise(batch, "P-001", {"zh": "扎西"}, ["producer"])
            self.producer = producer.id
        self.variant = self.add_variant("MATSUTAKE", min_life_days=1)

    def add_variant(self, sku: str, *, shelf_life_days: int | None = 5, **changes: Any) -> UUID:
        """List a product with one variant (without days it never spoils); return its id."""
        variant = {
            "sku": sku,
            "grade": "1",
            "unit": "g",
            "pack_quantity": 500,
            "min_life_days": 0,
            "gtin": None,
        }
        with transaction(self.database, CatalogBatch) as batch:
            product = products.list_product(
                batch,
                sku,
                [variant | changes],
                names={"zh": "松茸"},
                category="fungi",
                perishable=shelf_life_days is not None,
                shelf_life_days=shelf_life_days,
                storage="0-4 C",
            )
            return product.variants[0].id

    def add_lot(
        self,
        code: str,
        quantity: int,
        *,
        at: UUID | None = None,
        keeps_days: int | None = 5,
        harvested_days_ago: int = 0,
        released: bool = True,
        variant: UUID | None = None,
    ) -> UUID:
        """Record a lot, with `quantity` of it in stock (at the centre); return its id."""
        best_before = None if keeps_days is None else today(keeps_days)
        with transaction(self.database, CatalogBatch) as batch:
            lot = lots.record_lot(
                batch,
                code,
                variant or self.variant,
                self.producer,
                today(-harvested_days_ago),
                best_before,
            )
            if released:
                lots.inspect_lot(batch, lot.id)
                lots.release_lot(batch, lot.id, "clerk")
            if quantity:
                levels.receive_stock(batch, lot.id, at or self.centre, quantity, "clerk")
            return lot.id

    def place(self, *quantities: int, **changes: Any) -> UUID:
        """Let an order be placed, one line of the shop's variant per quantity."""
        order = self.an_order(*quantities, **changes)
        self.deliver(OrderPlaced, **order)
        order_id: UUID = order["order_id"]
        return order_id

    def an_order(self, *quantities: int, **changes: Any) -> dict[str, Any]:
        """Return the facts of an order, one line of the shop's variant per quantity."""
        order: dict[str, Any] = {
            "order_id": new_id(),
            "order_ref": "ORD-23456789",
            "channel": "online",
            "payment_method": "cash_on_delivery",
            "buyer_id": None,
            "site_id": self.station,
            "lines": [a_line(no, self.variant, q) for no, q in enumerate(quantities, 1)],
            "total_fen": 100,
        }
        return order | changes

    def an_order_for(self, *wanted: tuple[UUID, int]) -> OrderPlaced:
        """Return an order as use cases get it: (variant, quantity) per line."""
        lines = [a_line(no, variant, quantity) for no, (variant, quantity) in enumerate(wanted, 1)]
        return fact_of(OrderPlaced, self.an_order(lines=lines))

    def confirm(self, order_id: UUID) -> None:
        """Let orders confirm an order."""
        self.deliver(OrderConfirmed, **self.a_confirmation(order_id))

    def a_confirmation(self, order_id: UUID) -> dict[str, Any]:
        """Return the facts of a confirmed order."""
        return {
            "order_id": order_id,
            "order_ref": "ORD-23456789",
            "channel": "online",
            "payment_method": "cash_on_delivery",
            "site_id": self.station,
            "collect": False,
            "lines": [],
            "total_fen": 100,
            "due_fen": 100,
        }

    def end(self, contract: type[Fact], order_id: UUID) -> None:
        """Let orders cancel an order, or let it expire."""
        why = {"reason": "changed my mind"} if contract is OrderCancelled else {}
        self.deliver(contract, order_id=order_id, order_ref="ORD-23456789", **why)

    def shipped(self, order_id: UUID) -> list[dict[str, Any]]:
        """Return what logistics ships: what was reserved, as the events carried it on."""
        with self.database.readers() as reader:
            statement = (
                select(Outbox.body)
                .where(Outbox.subject == f"order/{order_id}")
                .where(Outbox.type == StockReserved.routing_key)
                .order_by(Outbox.id.desc())
            )
            body = reader.scalars(statement).first()
        assert body is not None
        lines: list[dict[str, Any]] = json.loads(body)["data"]["lines"]
        return lines

    def dispatch(self, order_id: UUID, shipment_id: UUID) -> None:
        """Let logistics send the goods of an order."""
        self.deliver(
            ShipmentDispatched,
            shipment_id=shipment_id,
            shipment_ref="SHP-23456789",
            order_id=order_id,
            lines=self.shipped(order_id),
        )

    def bring_back(self, order_id: UUID, shipment_id: UUID, *, restock: bool) -> None:
        """Let logistics bring the goods of an order back."""
        self.deliver(
            ShipmentReturned,
            shipment_id=shipment_id,
            order_id=order_id,
            restock=restock,
            lines=self.shipped(order_id),
        )

    def level(self, lot_id: UUID, at: UUID | None = None) -> dict[str, int]:
        """Return the buckets of a lot at a location (the centre) that are not 0."""
        with self.database.readers() as reader:
            level = reader.scalars(
                select(StockLevel).where(
                    StockLevel.lot_id == lot_id, StockLevel.location_id == (at or self.centre)
                )
            ).one_or_none()
        buckets = ("available", "reserved", "committed", "allotted", "held", "damaged")
        return {} if level is None else {b: n for b in buckets if (n := getattr(level, b))}


def a_line(line_no: int, variant_id: UUID, quantity: int) -> dict[str, Any]:
    """Return one line of an order."""
    return {
        "line_no": line_no,
        "variant_id": variant_id,
        "quantity": quantity,
        "line_total_fen": 100,
    }


def today(days: int = 0) -> date:
    """Return the date that many days from today."""
    return clock.today() + timedelta(days=days)


@pytest.fixture
def shop(database: Database, deliver: Callable[..., Any]) -> Shop:
    """A shop that is open, with nothing on its shelves."""
    opened = Shop(database, deliver)
    opened.open()
    return opened


@pytest.fixture
def said(
    recorded_events: Callable[[], list[tuple[str, dict[str, Any]]]],
) -> Callable[[UUID], list[tuple[str, dict[str, Any]]]]:
    """Ask what catalog said about an order."""

    def about(order_id: UUID) -> list[tuple[str, dict[str, Any]]]:
        return [e for e in recorded_events() if e[1].get("order_id") == str(order_id)]

    return about


@pytest.fixture
def post(client: FlaskClient, token: Callable[..., dict[str, str]]) -> Callable[..., Any]:
    """Post as an operator of catalog; a fresh Idempotency-Key each time."""

    def send(path: str, json: Any = None, **changes: Any) -> Any:
        headers = token("catalog:write", "stock:write", "stock:read") | changes
        return client.post("/api/catalog/v1" + path, json=json, headers=headers)

    return send


@pytest.fixture
def get(client: FlaskClient, token: Callable[..., dict[str, str]]) -> Callable[..., Any]:
    """Get as an operator of catalog."""

    def send(path: str, **query: Any) -> Any:
        return client.get(
            "/api/catalog/v1" + path, query_string=query, headers=token("stock:read", "operate")
        )

    return send


@pytest.fixture
def put(client: FlaskClient, token: Callable[..., dict[str, str]]) -> Callable[..., Any]:
    """Put as an operator of catalog."""

    def send(path: str, json: Any) -> Any:
        return client.put("/api/catalog/v1" + path, json=json, headers=token("catalog:write"))

    return send


@dataclass
class Till:
    """A machine that stands for a device: its key, and what it says."""

    client: FlaskClient
    device_id: UUID
    device_code: str
    epoch: int
    site_id: UUID
    headers: dict[str, str]
    number: int = 0

    def contact(self, **changes: Any) -> Any:
        """Ask what may be sold; return the answer."""
        said = {
            "seen_revision": 0,
            "unsynced": 0,
            "oldest_unsynced_at": None,
            "last_number": self.number,
            "device_time": clock.rfc3339(clock.now()),
            "app_version": "test",
        }
        return self.client.post(
            "/api/catalog/v1/till/contact", json=said | changes, headers=self.headers
        )

    def give_back(self, *returns: tuple[UUID | str, UUID | str, int]) -> Any:
        """Give goods back: (return_id, allotment_id, quantity) each; return the answers."""
        answer = self.client.post(
            "/api/catalog/v1/till/returns",
            json={
                "returns": [
                    {"return_id": str(name), "allotment_id": str(allotment), "quantity": quantity}
                    for name, allotment, quantity in returns
                ]
            },
            headers=self.headers,
        )
        assert answer.status_code == 200, answer.text
        return answer.json["answers"]

    def a_sale(self, *lines: tuple[UUID, int], **changes: Any) -> dict[str, Any]:
        """Return the facts of the next sale: (lot, quantity) per line."""
        self.number += 1
        number = changes.pop("number", self.number)
        sale: dict[str, Any] = {
            "sale_id": devices.entry_id(self.device_id, self.epoch, number),
            "kind": "sale",
            "device_id": self.device_id,
            "epoch": self.epoch,
            "number": number,
            "site_id": self.site_id,
            "of_sale_id": None,
            "lines": [
                {
                    "line_no": line_no,
                    "variant_id": new_id(),
                    "lot_id": lot_id,
                    "quantity": quantity,
                    "line_total_fen": 100,
                    "restock": None,
                }
                for line_no, (lot_id, quantity) in enumerate(lines, 1)
            ],
            "total_fen": 100,
            "payment": "cash",
            "device_time": clock.now(),
        }
        return sale | changes

    def undoing(
        self, sale: dict[str, Any], quantity: int | None = None, *, restock: bool = True
    ) -> dict[str, Any]:
        """Return the facts of the void of a sale, or of a return of some of its first line."""
        lines = [line | {"restock": restock} for line in sale["lines"]]
        if quantity is not None:
            lines = [lines[0] | {"quantity": quantity}]
        return self.a_sale(
            kind="void" if quantity is None else "return",
            of_sale_id=sale["sale_id"],
            lines=lines,
        )


@pytest.fixture
def operate(client: FlaskClient, token: Callable[..., dict[str, str]]) -> Callable[..., Any]:
    """Post as an operator of stations; a fresh Idempotency-Key each time."""

    def send(path: str, json: Any = None, **changes: Any) -> Any:
        headers = token("stations:operate", "stations:read") | changes
        return client.post("/api/catalog/v1" + path, json=json, headers=headers)

    return send


@pytest.fixture
def look(client: FlaskClient, token: Callable[..., dict[str, str]]) -> Callable[..., Any]:
    """Get as somebody who may read about stations; returns the answer's JSON."""

    def send(path: str, **query: Any) -> Any:
        answer = client.get(
            "/api/catalog/v1" + path, query_string=query, headers=token("stations:read")
        )
        assert answer.status_code == 200, answer.text
        return answer.json

    return send


@pytest.fixture
def enrol(shop: Shop, client: FlaskClient, operate: Callable[..., Any]) -> Callable[..., Till]:
    """Register a device at a site (the station) and let a machine stand for it.

    With `device_id` a new machine takes the place of the one that is there.
    """

    def make(at: UUID | None = None, device_id: UUID | None = None) -> Till:
        site_id = at or shop.station
        if device_id is None:
            invited = operate("/devices", {"site_id": str(site_id), "name": "柜台"})
        else:
            invited = operate(f"/devices/{device_id}/enrolment")
        secret = api_keys.new_secret()
        enrolled = client.post(
            "/api/catalog/v1/till/enrol",
            json={"code": invited.json["enrolment_code"], "secret": secret},
        )
        assert enrolled.status_code == 200, enrolled.text
        return Till(
            client,
            UUID(enrolled.json["device_id"]),
            enrolled.json["device_code"],
            enrolled.json["epoch"],
            site_id,
            {"Authorization": "Bearer " + api_keys.token_of(UUID(enrolled.json["key_id"]), secret)},
        )

    return make


@pytest.fixture
def till(enrol: Callable[..., Till]) -> Till:
    """A machine that stands for a device at the station."""
    return enrol()


@pytest.fixture
def grant(operate: Callable[..., Any]) -> Callable[..., Any]:
    """Grant a till a quantity of a lot; return the allotment as answered."""

    def give(till: Till, lot_id: UUID, quantity: int) -> Any:
        answer = operate(
            "/allotments",
            {"device_id": str(till.device_id), "lot_id": str(lot_id), "quantity": quantity},
        )
        assert answer.status_code == 201, answer.text
        return answer.json["items"][0]

    return give


@pytest.fixture
def quota(look: Callable[..., Any]) -> Callable[..., tuple[int, int, int, int, int]]:
    """Ask for (granted, sold, returned, remaining, written_off) of a till's allotment of a lot."""

    def ask(till: Till, lot_id: UUID) -> tuple[int, int, int, int, int]:
        found = look("/allotments", device_id=till.device_id, lot_id=lot_id)["items"]
        (row,) = [each for each in found if each["epoch"] == till.epoch]
        return (
            row["granted"],
            row["sold"],
            row["returned"],
            row["remaining"],
            row["written_off"],
        )

    return ask


@pytest.fixture
def balanced(database: Database) -> Callable[[], list[reconciliation.BalanceDifference]]:
    """Ask for the differences in the books."""

    def ask() -> list[reconciliation.BalanceDifference]:
        with database.readers() as reader:
            return reconciliation.reconcile(reader).differences

    return ask
