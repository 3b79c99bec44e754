"""Routes over HTTP, and the days that they promise."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient

from shared.events import ProductListed
from shared.runtime.ids import new_id
from tests.logistics.reading import BASE, Headers, a_route


def test_a_route_opens_changes_and_ends(
    client: FlaskClient, token: Headers, sites: dict[str, UUID]
) -> None:
    opened = client.post(f"{BASE}/routes", json=a_route(), headers=token("sites:write"))
    url = f"{BASE}/routes/{opened.json['route_id']}"

    changed = client.put(url, json={"hours": 4, "cold": True}, headers=token("sites:write"))
    listed = client.get(f"{BASE}/routes", query_string={"to_site_id": sites["K"]}).json
    shown = client.get(url).json
    ended = client.delete(url, headers=token("sites:write"))

    assert (opened.status_code, opened.json["days"], opened.json["cold"]) == (201, [1, 3, 5], False)
    assert (changed.json["hours"], changed.json["days"]) == (4, [1, 2, 3, 4, 5, 6, 7])
    assert listed["items"] == [changed.json] == [shown]
    assert (ended.status_code, client.get(url).status_code) == (204, 404)


def test_the_same_route_again_is_the_same_and_another_is_refused(
    client: FlaskClient, token: Headers, sites: dict[str, UUID]
) -> None:
    first = client.post(f"{BASE}/routes", json=a_route(), headers=token("sites:write"))

    again = client.post(
        f"{BASE}/routes", json=a_route(days=[5, 3, 1]), headers=token("sites:write")
    )
    other = client.post(f"{BASE}/routes", json=a_route(hours=9), headers=token("sites:write"))

    assert (again.status_code, again.json) == (201, first.json)
    assert (other.status_code, other.json["type"]) == (409, "/problems/route-exists")
    assert other.json["route_id"] == first.json["route_id"]


@pytest.mark.parametrize(
    "change",
    [
        {"hours": 0},
        {"hours": 1.5},
        {"days": []},
        {"days": [0]},
        {"days": [1, 1]},
        {"to_code": "nowhere"},
        {"to_code": "C"},
    ],
)
def test_an_impossible_route_is_refused(
    client: FlaskClient, token: Headers, sites: dict[str, UUID], change: dict[str, Any]
) -> None:
    refused = client.post(f"{BASE}/routes", json=a_route(**change), headers=token("sites:write"))

    assert refused.status_code == 422


def test_a_promise_names_the_day_and_the_way(client: FlaskClient, sites: dict[str, UUID]) -> None:
    answer = client.get(f"{BASE}/promise", query_string={"site_id": sites["T"]}).json

    assert [leg["to_site_id"] for leg in answer["way"]] == [str(sites["K"]), str(sites["T"])]
    assert answer["cold"] is False
    assert answer["promised_on"]


def test_goods_that_must_stay_cold_are_promised_only_over_cold_legs(
    client: FlaskClient, token: Headers, sites: dict[str, UUID], deliver: Callable[..., Any]
) -> None:
    variant_id = new_id()
    deliver(
        ProductListed,
        product_id=new_id(),
        code="MATSUTAKE-FROZEN",
        names={"zh": "松茸"},
        perishable=True,
        variants=[
            {
                "variant_id": variant_id,
                "sku": "MATSUTAKE-FROZEN-1",
                "grade": "1",
                "unit": "g",
                "pack_quantity": 500,
                "storage": "-18 C",
                "min_life_days": 30,
            }
        ],
    )
    query = {"site_id": sites["K"], "variant_id": [variant_id]}

    before = client.get(f"{BASE}/promise", query_string=query)
    client.post(f"{BASE}/routes", json=a_route(cold=True), headers=token("sites:write"))
    after = client.get(f"{BASE}/promise", query_string=query)

    assert (before.status_code, before.json["type"]) == (422, "/problems/no-cold-way")
    assert (after.status_code, after.json["cold"]) == (200, True)


@pytest.mark.parametrize(
    ("query", "problem"),
    [({"site_id": "new"}, "unknown-site"), ({"variant_id": "new"}, "unknown-variant")],
)
def test_a_promise_for_what_is_unknown_is_refused(
    client: FlaskClient, sites: dict[str, UUID], query: dict[str, str], problem: str
) -> None:
    named = {"site_id": sites["T"]} | {name: new_id() for name in query}

    refused = client.get(f"{BASE}/promise", query_string=named)

    assert (refused.status_code, refused.json["type"]) == (422, f"/problems/{problem}")
