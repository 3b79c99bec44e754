"""Sites and shipments over HTTP, as someone who may."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient

from tests.logistics.reading import BASE, Act, Headers, a_site


@pytest.fixture
def open_site(client: FlaskClient, token: Headers) -> Act:
    def post(**changes: Any) -> Any:
        return client.post(f"{BASE}/sites", json=a_site(**changes), headers=token("sites:write"))

    return post


@pytest.fixture
def act(client: FlaskClient, token: Headers) -> Act:
    """Do one thing to a shipment, as someone who may."""

    def post(shipment_id: UUID, action: str, **body: Any) -> Any:
        return client.post(
            f"{BASE}/shipments/{shipment_id}/{action}",
            json=body if body else None,
            headers=token("shipments:operate", subject="clerk-1"),
        )

    return post


@pytest.fixture
def on_its_way(planned: Callable[..., UUID], act: Act) -> Callable[..., UUID]:
    """Plan, pack and dispatch a shipment; return its id."""

    def build(**changes: Any) -> UUID:
        shipment_id = planned(**changes)
        assert act(shipment_id, "pack").status_code == 200
        assert act(shipment_id, "dispatch").status_code == 200
        return shipment_id

    return build


@pytest.fixture
def at_its_site(
    on_its_way: Callable[..., UUID], act: Act, sites: dict[str, UUID]
) -> Callable[..., UUID]:
    """Bring a shipment that is to be collected to its site; return its id."""

    def build(**changes: Any) -> UUID:
        shipment_id = on_its_way(**{"collect": True} | changes)
        assert act(shipment_id, "arrivals", site_id=str(sites["T"])).status_code == 200
        return shipment_id

    return build
