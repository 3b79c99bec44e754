"""Builders of logistics' tests: a small network, and orders that are confirmed for it."""

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import select

from services.logistics.app import create_app
from services.logistics.batch import LogisticsBatch
from services.logistics.use_cases import reading, site_tree, travelling
from services.logistics.worker import SERVICE
from shared.events import OrderConfirmed
from shared.messaging.batch import transaction
from shared.messaging.service import Service
from shared.messaging.tables import Outbox
from shared.runtime.config import Settings
from shared.runtime.database import Database
from shared.runtime.ids import new_id, new_reference

Deliver = Callable[..., list[UUID]]


@pytest.fixture(scope="session")
def service() -> Service:
    """The service under test."""
    return SERVICE


@pytest.fixture(scope="session")
def make_app() -> Callable[[Settings], Flask]:
    """Make the HTTP application under test."""
    return create_app


@pytest.fixture
def sites(database: Database) -> dict[str, UUID]:
    """Open a centre, a county, a township and a village, one below the other: code → id."""
    tree = [
        {"code": "C", "level": "centre", "names": {"zh": "中心"}},
        {"code": "K", "level": "county", "parent_code": "C", "names": {"zh": "县"}},
        {"code": "T", "level": "township", "parent_code": "K", "names": {"zh": "镇"}},
        {"code": "V", "level": "village", "parent_code": "T", "names": {"zh": "村"}},
    ]
    with transaction(database, LogisticsBatch) as batch:
        return {site.code: site.id for site in site_tree.open_sites(batch, tree)}


@pytest.fixture
def a_confirmed_order(sites: dict[str, UUID]) -> Callable[..., dict[str, Any]]:
    """Make the facts of an `OrderConfirmed` for the township, one line from two lots."""

    def build(**changes: Any) -> dict[str, Any]:
        lots = [
            {
                "lot_id": new_id(),
                "lot_code": f"L-{number}",
                "location_id": sites["C"],
                "producer_id": new_id(),
                "quantity": 500,
            }
            for number in (1, 2)
        ]
        line = {
            "line_no": 1,
            "variant_id": new_id(),
            "quantity": 1000,
            "line_total_fen": 13600,
            "lots": lots,
        }
        return {
            "order_id": new_id(),
            "order_ref": new_reference("ORD"),
            "channel": "online",
            "payment_method": "cash_on_delivery",
            "site_id": sites["T"],
            "collect": False,
            "lines": [line],
            "total_fen": 13600,
            "due_fen": 13600,
        } | changes

    return build


@pytest.fixture
def planned(
    database: Database, deliver: Deliver, a_confirmed_order: Callable[..., dict[str, Any]]
) -> Callable[..., UUID]:
    """Confirm an order and return the id of its shipment."""

    def plan(**changes: Any) -> UUID:
        facts = a_confirmed_order(**changes)
        deliver(OrderConfirmed, **facts)
        with database.readers() as reader:
            shipment = reader.scalars(reading.select_shipments(order_id=facts["order_id"])).one()
            return shipment.id

    return plan


@pytest.fixture
def waiting(
    database: Database, planned: Callable[..., UUID], sites: dict[str, UUID]
) -> Callable[..., tuple[UUID, str]]:
    """Bring a parcel to the township, where its buyer shall collect it; its id and its code."""

    def bring(**changes: Any) -> tuple[UUID, str]:
        shipment_id = planned(**{"collect": True} | changes)
        site_id = changes.get("site_id", sites["T"])
        # One transaction each, as people would: a step locks what the one before did not load.
        for step, where in (
            (travelling.pack, ()),
            (travelling.dispatch, ()),
            (travelling.arrive, (site_id,)),
        ):
            with transaction(database, LogisticsBatch) as batch:
                step(batch, shipment_id, *where)
        with database.readers() as reader:
            issued = reader.scalars(
                select(Outbox.body).where(
                    Outbox.type == "logistics.collection_code_issued.v1",
                    Outbox.subject == f"shipment/{shipment_id}",
                )
            ).one()
        return shipment_id, json.loads(issued)["data"]["code"]

    return bring
