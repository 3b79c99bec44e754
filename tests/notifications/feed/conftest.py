"""Builders of the tests of partners' feeds."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from shared.events import OrderConfirmed, OrderPlaced, ShipmentPlanned

Headers = dict[str, str]


@pytest.fixture
def partner(token: Callable[..., Headers]) -> Callable[[str], Headers]:
    """Issue a partner's token."""
    return lambda name: token("events:read", "events:manage", subject=name)


@pytest.fixture
def subscribed(client: FlaskClient, partner: Callable[[str], Headers]) -> Callable[..., Headers]:
    """Subscribe a partner; return the headers of its token."""

    def subscribe(name: str, *types: str) -> Headers:
        headers = partner(name)
        answer = client.put("/api/events/v1/subscription", headers=headers, json={"types": types})
        assert answer.status_code == 200, answer.json
        return headers

    return subscribe


@pytest.fixture
def read(client: FlaskClient) -> Callable[..., Any]:
    """Read a feed; return the answer's JSON."""

    def get(headers: Headers, **query: Any) -> Any:
        answer = client.get("/api/events/v1/events", headers=headers, query_string=query)
        assert answer.status_code == 200, answer.json
        return json.loads(answer.data)

    return get


@pytest.fixture
def place(deliver: Callable[..., Any], an_order: Callable[[], Any]) -> Callable[..., Any]:
    """Deliver what happens to an order of a partner until its shipment is planned."""

    def happen(partner: str | None, *, placed: bool = True) -> Any:
        order = an_order()
        named = {} if partner is None else {"partner": partner}
        if placed:
            deliver(OrderPlaced, **order.placed(**named))
        deliver(OrderConfirmed, **order.confirmed())
        deliver(
            ShipmentPlanned,
            **order.shipment(shipment_ref="SHP-1", site_id=order.site_id, promised_on="2026-08-22"),
        )
        return order

    return happen
