"""Who is shown what of shipments, how they are found, and traces."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient

from shared.events import ContactGiven, OrderConfirmed
from shared.runtime.database import Database
from shared.runtime.ids import new_id
from tests.logistics.reading import BASE, Act, Headers
from tests.support import UNKNOWN_ID


def test_people_are_shown_only_to_those_who_operate(
    client: FlaskClient,
    token: Headers,
    on_its_way: Callable[..., UUID],
    act: Act,
    deliver: Callable[..., Any],
) -> None:
    order_id = new_id()
    deliver(
        ContactGiven,
        order_id=order_id,
        order_ref="ORD-1",
        buyer_id=None,
        name="Tashi",
        phone="+8613900000000",
        address="Bahe 7",
        language="bo",
    )
    shipment_id = on_its_way(order_id=order_id)
    act(shipment_id, "deliver", received_by="Tashi", collected_fen=13600)
    url = f"{BASE}/shipments/{shipment_id}"

    reader = client.get(url, headers=token("shipments:read"))
    operator = client.get(url, headers=token("shipments:read", "shipments:operate"))

    assert (reader.json["contact"], reader.json["proof"]) == (None, None)
    assert "Tashi" not in reader.text
    assert operator.json["contact"]["address"] == "Bahe 7"
    assert (operator.json["proof"]["kind"], operator.json["proof"]["handed_over_by"]) == (
        "name",
        "clerk-1",
    )


def test_shipments_are_found_by_order_state_and_site(
    client: FlaskClient,
    token: Headers,
    planned: Callable[..., UUID],
    act: Act,
    sites: dict[str, UUID],
) -> None:
    order_id = new_id()
    first, second = planned(order_id=order_id), planned(site_id=sites["V"])
    act(second, "pack")

    def found(**query: Any) -> list[str]:
        answer = client.get(
            f"{BASE}/shipments", query_string=query, headers=token("shipments:read")
        )
        return [shipment["shipment_id"] for shipment in answer.json["items"]]

    assert found() == [str(second), str(first)]
    assert found(order_id=order_id) == [str(first)]
    assert found(state="packed") == [str(second)]
    assert found(site_id=sites["T"]) == [str(first)]


@pytest.mark.parametrize(
    "query", [{"state": "eaten"}, {"site_id": "T"}, {"limit": 0}, {"limit": 201}, {"cursor": "!"}]
)
def test_a_malformed_query_is_refused(
    client: FlaskClient, token: Headers, query: dict[str, Any]
) -> None:
    refused = client.get(f"{BASE}/shipments", query_string=query, headers=token("shipments:read"))

    assert refused.status_code == 422


def test_an_order_is_traced_with_what_it_waits_for(
    client: FlaskClient,
    token: Headers,
    deliver: Callable[..., Any],
    a_confirmed_order: Callable[..., dict[str, Any]],
) -> None:
    order = a_confirmed_order()
    deliver(OrderConfirmed, **order)

    trace = client.get(f"{BASE}/trace/{order['order_id']}", headers=token("operate")).json

    assert trace["service"] == "logistics"
    assert (trace["state"]["state"], trace["state"]["site"]) == ("planned", "T")
    assert [waiting["what"] for waiting in trace["waiting_for"]] == ["the goods to be packed"]
    assert [fact["type"] for fact in trace["published"]] == ["logistics.shipment_planned.v1"]
    assert [fact["type"] for fact in trace["handled"]] == ["orders.order_confirmed.v1"]


def test_an_order_that_logistics_never_heard_of_is_traced_as_such(
    client: FlaskClient, token: Headers
) -> None:
    trace = client.get(f"{BASE}/trace/{new_id()}", headers=token("operate")).json

    assert (trace["state"], trace["waiting_for"]) == ({"shipment": None}, [])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("post", "/sites"),
        ("post", "/sites/batch"),
        ("post", "/routes"),
        ("get", "/shipments"),
        ("get", f"/shipments/{UNKNOWN_ID}"),
        ("post", f"/shipments/{UNKNOWN_ID}/pack"),
        ("post", f"/shipments/{UNKNOWN_ID}/collect"),
        ("get", f"/trace/{UNKNOWN_ID}"),
    ],
)
def test_what_is_not_public_needs_a_token_with_its_scope(
    client: FlaskClient, token: Headers, database: Database, method: str, path: str
) -> None:
    nobody = client.open(BASE + path, method=method.upper(), json={})
    stranger = client.open(
        BASE + path, method=method.upper(), json={}, headers=token("orders:place")
    )

    assert (nobody.status_code, stranger.status_code) == (401, 403)
