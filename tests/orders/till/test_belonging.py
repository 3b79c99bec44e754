"""A clerk who belongs to a site reads what its tills said and what its drawers hold, no others'."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from flask.testing import FlaskClient

from shared.runtime.ids import new_id
from tests.orders.till.device import Till

pytestmark = pytest.mark.usefixtures("station_price")
BASE = "/api/orders/v1"


def test_a_clerk_reads_of_their_own_site_only(
    client: FlaskClient,
    token: Callable[..., dict[str, str]],
    till: Till,
    an_entry: Callable[..., dict[str, Any]],
    ask: Callable[[str], Any],
) -> None:
    till.upload(an_entry("sale", 1))
    (sale,) = ask("station-sales")["items"]
    paths = ("station-sales", "cash/custody", "cash/shifts", "till/devices")

    def get(path: str, *sites: Any) -> Any:
        headers = token("stations:read", sites=sites)
        return client.get(f"{BASE}/{path}", headers=headers)

    for path in paths:
        there = ask(path)["items"]
        assert get(path, uuid4(), sale["site_id"]).json["items"] == there
        assert get(path, uuid4()).json["items"] == []
    assert ask("till/devices")["items"] and ask("cash/custody")["items"]
    one = f"station-sales/{sale['sale_id']}"
    assert get(one, sale["site_id"]).json["sale_id"] == sale["sale_id"]
    nowhere = get(f"station-sales/{new_id()}", uuid4())
    assert (get(one, uuid4()).status_code, get(one, uuid4()).json["type"]) == (
        404,
        nowhere.json["type"],
    )


def test_who_belongs_to_a_site_decides_nothing_about_stations_even_with_the_scope(
    client: FlaskClient, token: Callable[..., dict[str, str]]
) -> None:
    answer = client.post(
        f"{BASE}/cash/remittances", json={}, headers=token("stations:operate", sites=[uuid4()])
    )

    assert (answer.status_code, answer.json["type"]) == (403, "/problems/other-sites")
