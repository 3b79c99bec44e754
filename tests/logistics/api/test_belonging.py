"""A clerk who belongs to a site moves and sees what goes there or to a site below, and no more."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask.testing import FlaskClient

from services.logistics.app import create_app
from shared.runtime.config import Settings
from tests.logistics.reading import BASE

Headers = Callable[..., dict[str, str]]
Planned = Callable[..., UUID]
CLERK = ("shipments:read", "shipments:operate")
#: What each route of a shipment is called with.
ACTS: dict[str, dict[str, Any] | None] = {
    "pack": None,
    "dispatch": None,
    "arrivals": {"site_id": str(uuid4())},
    "deliver": {"received_by": "Tashi", "collected_fen": 13600},
    "collect": {"code": "123456", "collected_fen": 13600},
    "fail": {"reason": "refused"},
    "return": {"restock": True},
    "tracking": {"status": "in_transit"},
}


@pytest.mark.parametrize("act", ACTS)
def test_a_clerk_of_another_site_cannot_move_a_parcel_nor_learn_that_it_exists(
    act: str, client: FlaskClient, token: Headers, sites: dict[str, UUID], planned: Planned
) -> None:
    shipment_id = planned()
    before = client.get(f"{BASE}/shipments/{shipment_id}", headers=token(*CLERK)).json

    # The village lies below the parcel's township: what it passes on is not the village's.
    answers = [
        client.post(
            f"{BASE}/shipments/{one}/{act}",
            json=ACTS[act],
            headers=token(*CLERK, subject="pema", sites=[sites["V"]]),
        )
        for one in (shipment_id, uuid4())
    ]

    assert [(a.status_code, a.json["type"]) for a in answers] == [
        (404, "/problems/shipment-not-found")
    ] * 2
    after = client.get(f"{BASE}/shipments/{shipment_id}", headers=token(*CLERK)).json
    assert after == before


def test_every_route_that_names_a_shipment_is_tried_here(app_settings: Settings) -> None:
    app = create_app(app_settings)
    app.extensions["farmgate"].database.close()
    rules = [rule for rule in app.url_map.iter_rules() if "shipment_id" in rule.rule]

    posts = {rule.rule.rpartition("/")[2] for rule in rules if "POST" in (rule.methods or ())}

    assert posts == set(ACTS)


@pytest.mark.parametrize(("of", "seen"), [("T", True), ("K", True), ("C", True), ("V", False)])
def test_a_clerk_sees_what_goes_to_their_site_or_below(
    client: FlaskClient,
    token: Headers,
    sites: dict[str, UUID],
    planned: Planned,
    of: str,
    seen: bool,
) -> None:
    shipment_id = str(planned())

    def get(path: str) -> Any:
        return client.get(f"{BASE}/shipments{path}", headers=token(*CLERK, sites=[sites[of]]))

    assert [each["shipment_id"] for each in get("").json["items"]] == [shipment_id] * seen
    statuses = {get(f"/{shipment_id}{more}").status_code for more in ("", "/tracking")}
    assert statuses == {200 if seen else 404}


def test_a_clerk_says_only_of_their_own_sites_where_a_parcel_is(
    client: FlaskClient, token: Headers, sites: dict[str, UUID], on_its_way: Planned
) -> None:
    path = f"{BASE}/shipments/{on_its_way()}/arrivals"

    def arrive(site: str) -> Any:
        headers = token(*CLERK, sites=[sites["T"]])
        return client.post(path, json={"site_id": str(sites[site])}, headers=headers)

    elsewhere, here = arrive("K"), arrive("T")

    assert (elsewhere.status_code, elsewhere.json["type"]) == (403, "/problems/other-sites")
    assert (here.status_code, here.json["arrived_at"] is not None) == (200, True)


def test_a_clerk_of_no_site_sees_nothing(
    client: FlaskClient, token: Headers, planned: Planned
) -> None:
    planned()

    assert client.get(f"{BASE}/shipments", headers=token(*CLERK, sites=[])).json["items"] == []


def test_what_looks_at_no_site_is_refused_to_those_who_belong_to_one(
    client: FlaskClient, token: Headers, sites: dict[str, UUID]
) -> None:
    headers = token("operate", sites=[sites["C"]])

    answer = client.get(f"{BASE}/verify", headers=headers)

    assert (answer.status_code, answer.json["type"]) == (403, "/problems/other-sites")
