"""Builders of orders' tests: goods on sale with prices, sites, and orders placed for them."""

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from standardwebhooks.webhooks import Webhook
from werkzeug.test import TestResponse

from services.orders.app import create_app
from services.orders.models import Order, TillEntry
from services.orders.worker import SERVICE
from shared.events import (
    DeviceKeyGiven,
    PriceChanged,
    ProductListed,
    SiteOpened,
    StockReserved,
)
from shared.messaging.service import Service
from shared.runtime import api_keys, clock
from shared.runtime.config import Settings
from shared.runtime.database import Database
from shared.runtime.devices import PRESENT_SCOPES, Device, entry_id
from shared.runtime.ids import new_id

Deliver = Callable[..., list[UUID]]
Builder = Callable[..., dict[str, Any]]

#: Before every price of the tests begins.
LONG_AGO = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="session")
def service() -> Service:
    """The service under test."""
    return SERVICE


@pytest.fixture(scope="session")
def make_app() -> Callable[[Settings], Flask]:
    """Make the HTTP application under test."""
    return create_app


@pytest.fixture
def a_product() -> Builder:
    """Make the facts of a `ProductListed` with one variant sold in packs of 500 g."""

    def build(**changes: Any) -> dict[str, Any]:
        variant = {
            "variant_id": new_id(),
            "sku": "MATSUTAKE-A",
            "grade": "A",
            "unit": "g",
            "pack_quantity": 500,
            "storage": "chilled",
            "min_life_days": 2,
        }
        return {
            "product_id": new_id(),
            "code": "MATSUTAKE",
            "names": {"zh": "松茸"},
            "perishable": True,
            "variants": [variant],
        } | changes

    return build


@pytest.fixture
def a_price() -> Builder:
    """Make the facts of a `PriceChanged`: 68.00 yuan per 500 g online, for a long time."""

    def build(variant_id: UUID, **changes: Any) -> dict[str, Any]:
        return {
            "variant_id": variant_id,
            "channel": "online",
            "price_fen": 6800,
            "price_unit": 500,
            "valid_from": LONG_AGO,
            "valid_to": None,
        } | changes

    return build


@pytest.fixture
def site_id(deliver: Deliver) -> UUID:
    """Open a township's site; returns its id."""
    opened = new_id()
    names = {"zh": "巴河镇"}
    deliver(SiteOpened, site_id=opened, code="T", level="township", parent_id=new_id(), names=names)
    return opened


@pytest.fixture
def variant_id(deliver: Deliver, a_product: Builder, a_price: Builder) -> UUID:
    """Put matsutake on sale online, in packs of 500 g for 68.00 yuan; returns the variant's id."""
    product = a_product()
    variant: UUID = product["variants"][0]["variant_id"]
    deliver(ProductListed, **product)
    deliver(PriceChanged, **a_price(variant))
    return variant


@pytest.fixture
def an_order(site_id: UUID, variant_id: UUID) -> Builder:
    """Make the body of a placement: 1 kg for 136.00 yuan, cash on delivery."""

    def build(**changes: Any) -> dict[str, Any]:
        contact = {"name": "卓玛", "phone": "138 0013 8000", "address": "巴河镇1号"}
        return {
            "channel": "online",
            "payment_method": "cash_on_delivery",
            "site_id": str(site_id),
            "collect": False,
            "lines": [{"variant_id": str(variant_id), "quantity": 1000}],
            "contact": contact | {"language": "bo"},
            "buyer_id": "buyer-1",
        } | changes

    return build


@pytest.fixture
def place(
    client: FlaskClient, token: Callable[..., dict[str, str]], an_order: Builder
) -> Callable[..., dict[str, Any]]:
    """Place an order over HTTP and return the answer's body; `_subject` places it."""

    def do(_subject: str = "shop", **changes: Any) -> dict[str, Any]:
        headers = token("orders:place", "orders:operate", subject=_subject)
        answer = client.post("/api/orders/v1/orders", json=an_order(**changes), headers=headers)
        assert answer.status_code == 202, answer.text
        return dict(answer.json)

    return do


def a_lot(**changes: Any) -> dict[str, Any]:
    """Make what a line takes from one lot."""
    return {
        "lot_id": new_id(),
        "lot_code": "L-1",
        "location_id": new_id(),
        "producer_id": new_id(),
        "quantity": 1000,
    } | changes


@pytest.fixture
def reserved_lines() -> Callable[[dict[str, Any]], list[dict[str, Any]]]:
    """Make the lines of a `StockReserved` that covers an order, one lot a line."""

    def build(order: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            {
                "line_no": line["line_no"],
                "variant_id": UUID(str(line["variant_id"])),
                "lots": [a_lot(quantity=line["quantity"])],
            }
            for line in order["lines"]
        ]

    return build


@pytest.fixture
def reserve(
    deliver: Deliver, reserved_lines: Callable[[dict[str, Any]], list[dict[str, Any]]]
) -> Callable[[dict[str, Any]], UUID]:
    """Let catalog reserve an order's stock; returns the order's id."""

    def do(order: dict[str, Any]) -> UUID:
        order_id = UUID(order["order_id"])
        deliver(StockReserved, order_id=order_id, lines=reserved_lines(order))
        return order_id

    return do


@pytest.fixture
def read_order(database: Database) -> Callable[[UUID | str], Order]:
    """Read an order as it is committed."""

    def read(order_id: UUID | str) -> Order:
        with database.readers() as reader:
            return reader.get_one(Order, UUID(str(order_id)))

    return read


@pytest.fixture
def provider(client: FlaskClient, app_settings: Settings) -> Callable[..., TestResponse]:
    """Call back as the payment provider: signed, a full payment unless told otherwise."""
    secret = Path(app_settings.environment["FARMGATE_PAYMENT_SECRET_FILE"]).read_text("utf-8")

    def call(order: dict[str, Any], **changes: Any) -> TestResponse:
        facts = {
            "payment_ref": f"pay-{new_id()}",
            "order_id": order["order_id"],
            "amount_fen": order["total_fen"],
            "status": "paid",
        } | changes
        body, moment = json.dumps(facts), clock.now()
        headers = {
            "Content-Type": "application/json",
            "webhook-id": f"msg-{new_id()}",
            "webhook-timestamp": str(int(moment.timestamp())),
        }
        signature = Webhook(secret.strip()).sign(headers["webhook-id"], moment, body)
        return client.post(
            "/api/orders/v1/payments/callbacks",
            data=body,
            headers=headers | {"webhook-signature": signature},
        )

    return call


@dataclass(frozen=True)
class Till:
    """One epoch of a device that calls orders with its own key."""

    client: FlaskClient
    device: Device
    headers: dict[str, str]

    def upload(self, *entries: dict[str, Any]) -> list[dict[str, Any]]:
        """Upload entries; returns the answers."""
        answer = self.send(entries=list(entries))
        assert answer.status_code == 200, answer.text
        answers: list[dict[str, Any]] = answer.json["answers"]
        return answers

    def attention(self) -> dict[str, Any]:
        """Ask what needs attention."""
        answer = self.client.get("/api/orders/v1/till/attention", headers=self.headers)
        assert answer.status_code == 200, answer.text
        return dict(answer.json)

    def send(self, **changes: Any) -> TestResponse:
        """Upload whatever it is; returns the whole answer."""
        body = {"format": 1, "entries": [{}]} | changes
        return self.client.post("/api/orders/v1/till/entries", json=body, headers=self.headers)

    def id_of(self, number: int) -> UUID:
        """Return the id of the entry with this number."""
        return entry_id(self.device.device_id, self.device.epoch, number)


@pytest.fixture
def enrol(client: FlaskClient, deliver: Deliver, site_id: UUID) -> Callable[..., Till]:
    """Let catalog give a device's key for one epoch; `scopes` say what it may do."""

    def do(
        device_id: UUID | None = None,
        epoch: int = 1,
        scopes: Sequence[str] = PRESENT_SCOPES,
        enrolled_at: datetime | None = None,
        **changes: Any,
    ) -> Till:
        device = Device(device_id or new_id(), epoch, changes.get("site_id", site_id), "T-1")
        moment = int((enrolled_at or LONG_AGO).timestamp() * 1000)
        # An id of that moment: its first 48 bits are the milliseconds.
        key_id = UUID(int=moment << 80 | new_id().int & (1 << 80) - 1)
        secret = api_keys.new_secret()
        deliver(
            DeviceKeyGiven,
            device_id=device.device_id,
            device_code=device.device_code,
            site_id=device.site_id,
            epoch=epoch,
            key_id=key_id,
            digest=api_keys.digest_of(secret),
            scopes=list(scopes),
        )
        headers = {"Authorization": f"Bearer {api_keys.token_of(key_id, secret)}"}
        return Till(client, device, headers)

    return do


@pytest.fixture
def till(enrol: Callable[..., Till]) -> Till:
    """A device in its first epoch."""
    return enrol()


@pytest.fixture
def station_price(deliver: Deliver, variant_id: UUID, a_price: Builder) -> None:
    """Let matsutake cost 68.00 yuan per 500 g at stations, too."""
    deliver(PriceChanged, **a_price(variant_id, channel="station"))


@pytest.fixture
def lot_id() -> UUID:
    """A lot from which stations sell."""
    return new_id()


@pytest.fixture
def an_entry(variant_id: UUID, lot_id: UUID) -> Callable[..., dict[str, Any]]:
    """Make an entry of a till's journal: `an_entry("void", 3, of=2)`.

    A sale is 1 kg for 136.00 yuan in cash; a void undoes it; a return brings half of it back.
    """
    line = {
        "line_no": 1,
        "variant_id": str(variant_id),
        "lot_id": str(lot_id),
        "quantity": 1000,
        "price_fen": 6800,
        "price_unit": 500,
        "line_total_fen": 13_600,
    }
    back = {"line_no": 1, "quantity": 500, "refund_fen": 6800, "restock": True}
    contact = {"name": "卓玛", "phone": "138 0013 8000", "address": "巴河镇1号", "language": "bo"}
    own: dict[str, dict[str, Any]] = {
        "sale": {"lines": [line], "total_fen": 13_600, "payment": "cash"},
        "void": {"refund_fen": 13_600, "payment": "cash", "reason": "wrong lot"},
        "return": {"lines": [back], "refund_fen": 6800, "payment": "cash", "reason": "spoiled"},
        "hand_over": {
            "shipment_id": str(new_id()),
            "code": "123456",
            "received_by": None,
            "collected_fen": 13_600,
            "payment": "cash",
            "difference_reason": None,
        },
        "order": {
            "order": {
                "lines": [{"variant_id": str(variant_id), "quantity": 1000}],
                "collect": False,
                "payment_method": "cash_on_delivery",
                "contact": contact,
            }
        },
        "shift_open": {"float_fen": 20_000},
        "shift_close": {"counted_fen": 20_000, "note": None},
    }

    def build(kind: str, number: int, /, **changes: Any) -> dict[str, Any]:
        common = {"number": number, "kind": kind, "clerk": "卓嘎", "shift": 1}
        common["device_time"] = "2026-11-25T08:30:00Z"
        return copy.deepcopy(common | own[kind] | changes)

    return build


@pytest.fixture
def read_entry(database: Database) -> Callable[[UUID], TillEntry]:
    """Read an entry of a journal as it is committed."""

    def read(entry_id: UUID) -> TillEntry:
        with database.readers() as reader:
            return reader.get_one(TillEntry, entry_id)

    return read


@pytest.fixture
def ask(client: FlaskClient, token: Callable[..., dict[str, str]]) -> Callable[[str], Any]:
    """Ask orders something as an operator; returns the answer's body."""

    def do(path: str) -> Any:
        answer = client.get(
            f"/api/orders/v1/{path}",
            headers=token("stations:read", "operate", "orders:read", "orders:operate"),
        )
        assert answer.status_code == 200, answer.text
        return answer.json

    return do


@pytest.fixture
def tell(client: FlaskClient, token: Callable[..., dict[str, str]]) -> Callable[..., TestResponse]:
    """Post something as an operator of stations; returns the whole answer."""

    def do(path: str, **body: Any) -> TestResponse:
        headers = token("stations:operate")
        return client.post(f"/api/orders/v1/{path}", json=body, headers=headers)

    return do
