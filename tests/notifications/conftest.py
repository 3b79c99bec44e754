"""Builders of notifications' tests: the facts of one order, and a place that knows its words."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import select

from services.notifications.models import Message
from services.notifications.timers import run_send
from services.notifications.worker import SERVICE
from shared.events import (
    ContactGiven,
    EnterpriseContactGiven,
    OrderConfirmed,
    OrderPlaced,
    ProductListed,
    SiteOpened,
)
from shared.messaging.service import Service
from shared.runtime import clock
from shared.runtime.config import Settings
from shared.runtime.database import Database
from shared.runtime.ids import new_id

#: Noon in Asia/Shanghai: outside of anybody's quiet hours.
NOON = datetime(2026, 8, 20, 4, 0, tzinfo=UTC)

Deliver = Callable[..., list[UUID]]


@pytest.fixture(scope="session")
def service() -> Service:
    """The service under test."""
    return SERVICE


@pytest.fixture(scope="session")
def make_app() -> Callable[[Settings], Flask]:
    """Make the HTTP application under test."""
    from services.notifications.app import create_app

    return create_app


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    """Set the clock."""

    def move(moment: datetime) -> None:
        monkeypatch.setattr(clock, "now", lambda: moment)

    return move


class Order:
    """Facts of one order of 1.5 kg of matsutake, collected at Bahe Town, cash on delivery."""

    def __init__(self) -> None:
        self.order_id = new_id()
        self.variant_id, self.site_id = new_id(), new_id()
        self.producer_id, self.shipment_id = new_id(), new_id()
        self.order_ref = "ORD-7KQ2M9XH"

    def contact(self, **changes: Any) -> dict[str, Any]:
        """Return the facts of its `ContactGiven`."""
        return {
            "order_id": self.order_id,
            "order_ref": self.order_ref,
            "buyer_id": "dolma",
            "name": "卓玛",
            "phone": "+8613889041234",
            "address": "巴河镇 1 号",
            "language": "zh",
        } | changes

    def placed(self, **changes: Any) -> dict[str, Any]:
        """Return the facts of its `OrderPlaced`."""
        return {
            "order_id": self.order_id,
            "order_ref": self.order_ref,
            "channel": "online",
            "payment_method": "cash_on_delivery",
            "buyer_id": "dolma",
            "site_id": self.site_id,
            "lines": [
                {
                    "line_no": 1,
                    "variant_id": self.variant_id,
                    "quantity": 1500,
                    "line_total_fen": 204000,
                }
            ],
            "total_fen": 204000,
        } | changes

    def taken(self) -> list[dict[str, Any]]:
        """Return its lines as taken from two lots of one producer."""
        lots = [
            {
                "lot_id": new_id(),
                "lot_code": f"L-{quantity}",
                "location_id": new_id(),
                "producer_id": self.producer_id,
                "quantity": quantity,
            }
            for quantity in (1000, 500)
        ]
        return [{"line_no": 1, "variant_id": self.variant_id, "lots": lots}]

    def confirmed(self, **changes: Any) -> dict[str, Any]:
        """Return the facts of its `OrderConfirmed`."""
        lines = [line | {"quantity": 1500, "line_total_fen": 204000} for line in self.taken()]
        return {
            "order_id": self.order_id,
            "order_ref": self.order_ref,
            "channel": "online",
            "payment_method": "cash_on_delivery",
            "site_id": self.site_id,
            "collect": True,
            "lines": lines,
            "total_fen": 204000,
            "due_fen": 204000,
        } | changes

    def ref(self, **changes: Any) -> dict[str, Any]:
        """Return what all facts of orders about it carry."""
        return {"order_id": self.order_id, "order_ref": self.order_ref} | changes

    def shipment(self, **changes: Any) -> dict[str, Any]:
        """Return what all facts of logistics about it carry."""
        return {"shipment_id": self.shipment_id, "order_id": self.order_id} | changes


@pytest.fixture
def an_order() -> Callable[[], Order]:
    """Make an order, of which nobody was told anything yet."""
    return Order


@pytest.fixture
def known_place(deliver: Deliver) -> Callable[[Order], Order]:
    """Tell notifications what an order's goods, site and producer are called."""

    def tell(order: Order) -> Order:
        deliver(
            ProductListed,
            product_id=new_id(),
            code="MATSUTAKE-FRESH",
            names={"zh": "松茸（鲜）", "en": "Matsutake, fresh"},
            perishable=True,
            variants=[
                {
                    "variant_id": order.variant_id,
                    "sku": "MATSUTAKE-FRESH-1",
                    "grade": "1",
                    "unit": "g",
                    "pack_quantity": 500,
                    "storage": "0-4 C",
                    "min_life_days": 2,
                }
            ],
        )
        deliver(
            SiteOpened,
            site_id=order.site_id,
            code="540421103",
            level="township",
            parent_id=new_id(),
            names={"zh": "巴河镇", "en": "Bahe Town"},
        )
        deliver(
            EnterpriseContactGiven,
            enterprise_id=order.producer_id,
            name="巴河松茸合作社",
            phone="+8613889045678",
            language="zh",
        )
        return order

    return tell


@pytest.fixture
def order(an_order: Callable[[], Order], known_place: Callable[[Order], Order]) -> Order:
    """An order of which only the place is known."""
    return known_place(an_order())


@pytest.fixture
def placed(deliver: Deliver, order: Order) -> Order:
    """An order that was placed."""
    deliver(ContactGiven, **order.contact())
    deliver(OrderPlaced, **order.placed())
    return order


@pytest.fixture
def confirmed(deliver: Deliver, placed: Order) -> Order:
    """An order that was placed and confirmed."""
    deliver(OrderConfirmed, **placed.confirmed())
    return placed


@pytest.fixture
def messages(database: Database) -> Callable[..., list[Message]]:
    """Ask for the messages there are, in the order in which they were queued."""

    def read(template: str | None = None) -> list[Message]:
        with database.readers() as reader:
            every = reader.scalars(select(Message).order_by(Message.id)).all()
        return [each for each in every if template in (None, each.template)]

    return read


@pytest.fixture
def send(database: Database, app_settings: Settings) -> Callable[[], bool]:
    """Run the timer that sends."""
    return lambda: run_send(database, app_settings)


@pytest.fixture
def message_file(app_settings: Settings) -> Path:
    """The folder that the file channel writes to."""
    return app_settings.data / "messages"
