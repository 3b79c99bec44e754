"""A shipment's way over HTTP: answers, rows and recorded events."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient

from shared.events import OrderCancelled
from shared.runtime.ids import new_id
from tests.logistics.reading import BASE, Act, Headers, Recorded, facts, shipment_facts


def test_a_parcel_travels_and_is_delivered(
    planned: Callable[..., UUID],
    act: Act,
    sites: dict[str, UUID],
    recorded_events: Recorded,
) -> None:
    shipment_id = planned()

    states = [
        act(shipment_id, "pack").json["state"],
        act(shipment_id, "dispatch").json["state"],
        act(shipment_id, "arrivals", site_id=str(sites["K"])).json["state"],
        act(shipment_id, "arrivals", site_id=str(sites["T"])).json["state"],
        act(shipment_id, "deliver", received_by="Tashi", collected_fen=13600).json["state"],
    ]

    assert states == ["packed", "handed_over", "handed_over", "handed_over", "delivered"]
    assert shipment_facts(recorded_events) == [
        "shipment_planned",
        "shipment_packed",
        "shipment_dispatched",
        "shipment_arrived",
        "shipment_arrived",
        "shipment_delivered",
    ]
    arrivals = [data for type_, data in recorded_events() if "arrived" in type_]
    assert [arrival["final"] for arrival in arrivals] == [False, True]
    assert recorded_events()[-1][1]["collected_fen"] == 13600


def test_a_dispatch_says_what_left_lot_by_lot(
    on_its_way: Callable[..., UUID], recorded_events: Recorded
) -> None:
    on_its_way()

    [line] = recorded_events()[-1][1]["lines"]
    assert line["line_no"] == 1
    assert [(lot["lot_code"], lot["quantity"]) for lot in line["lots"]] == [
        ("L-1", 500),
        ("L-2", 500),
    ]


@pytest.mark.parametrize("collect", [False, True])
def test_an_action_done_already_is_answered_with_the_present_state(
    planned: Callable[..., UUID],
    act: Act,
    sites: dict[str, UUID],
    recorded_events: Recorded,
    collect: bool,
) -> None:
    shipment_id = planned(collect=collect)
    body = {"received_by": "Tashi", "collected_fen": 13600}
    steps: list[tuple[str, dict[str, Any]]] = [
        ("pack", {}),
        ("dispatch", {}),
        ("arrivals", {"site_id": str(sites["T"])}),
        ("collect" if collect else "deliver", body),
    ]

    for action, content in steps:
        first = act(shipment_id, action, **content)
        recorded = len(recorded_events())
        again = act(shipment_id, action, **content)
        assert (first.status_code, again.status_code) == (200, 200)
        assert again.json == first.json
        assert len(recorded_events()) == recorded


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("dispatch", {}),
        ("arrivals", {"site_id": "T"}),
        ("deliver", {"received_by": "Tashi", "collected_fen": 13600}),
        ("fail", {"reason": "absent"}),
        ("return", {"restock": True}),
    ],
)
def test_what_does_not_follow_from_the_state_is_refused_naming_it(
    planned: Callable[..., UUID],
    act: Act,
    sites: dict[str, UUID],
    recorded_events: Recorded,
    action: str,
    body: dict[str, Any],
) -> None:
    shipment_id = planned()
    if "site_id" in body:
        body = {"site_id": str(sites["T"])}

    refused = act(shipment_id, action, **body)

    assert (refused.status_code, refused.json["type"]) == (409, "/problems/wrong-shipment-state")
    assert refused.json["state"] == "planned"
    assert shipment_facts(recorded_events) == ["shipment_planned"]


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("pack", {}),
        ("dispatch", {}),
        ("deliver", {"received_by": "Tashi", "collected_fen": 0}),
        ("collect", {"received_by": "Tashi", "collected_fen": 0}),
    ],
)
def test_a_shipment_that_is_not_there_is_404(act: Act, action: str, body: dict[str, Any]) -> None:
    missing = act(new_id(), action, **body)

    assert (missing.status_code, missing.json["type"]) == (404, "/problems/shipment-not-found")


def test_money_that_differs_from_what_is_due_needs_a_reason(
    on_its_way: Callable[..., UUID], act: Act, recorded_events: Recorded
) -> None:
    shipment_id = on_its_way()
    paid_less = {"received_by": "Tashi", "collected_fen": 13000}

    refused = act(shipment_id, "deliver", **paid_less)
    booked = act(shipment_id, "deliver", **paid_less, difference_reason="one bag was torn")

    assert (refused.status_code, refused.json["type"]) == (422, "/problems/wrong-amount")
    assert refused.json["due_fen"] == 13600
    assert (booked.status_code, booked.json["collected_fen"]) == (200, 13000)
    assert recorded_events()[-1][1]["collected_fen"] == 13000


@pytest.mark.parametrize("restock", [True, False])
def test_a_refused_parcel_comes_back(
    on_its_way: Callable[..., UUID], act: Act, recorded_events: Recorded, restock: bool
) -> None:
    shipment_id = on_its_way()

    refused = act(shipment_id, "fail", reason="absent")
    returned = act(shipment_id, "return", restock=restock)
    again = act(shipment_id, "return", restock=not restock)

    assert (refused.json["state"], refused.json["refusal"]) == ("refused", "absent")
    assert (returned.json["state"], returned.json["restocked"]) == ("returned", restock)
    assert again.json == returned.json
    assert facts(recorded_events)[-2:] == ["delivery_failed", "shipment_returned"]
    fact = recorded_events()[-1][1]
    assert (fact["restock"], len(fact["lines"][0]["lots"])) == (restock, 2)


def test_a_published_reason_is_one_of_a_list(on_its_way: Callable[..., UUID], act: Act) -> None:
    refused = act(on_its_way(), "fail", reason="Tashi of Bahe 7 was out")

    assert refused.status_code == 422


def test_a_parcel_called_back_is_handed_to_nobody_and_comes_back(
    at_its_site: Callable[..., UUID],
    act: Act,
    deliver: Callable[..., Any],
    sites: dict[str, UUID],
    recorded_events: Recorded,
) -> None:
    order_id = new_id()
    shipment_id = at_its_site(order_id=order_id)
    code = recorded_events()[-1][1]["code"]

    deliver(OrderCancelled, order_id=order_id, order_ref="ORD-1", reason="changed")
    refused = act(shipment_id, "collect", code=code, collected_fen=13600)
    on_its_way_back = act(shipment_id, "arrivals", site_id=str(sites["K"]))
    returned = act(shipment_id, "return", restock=True)

    assert (refused.status_code, refused.json["state"]) == (409, "refused")
    assert on_its_way_back.json["at_site_id"] == str(sites["K"])
    assert returned.json["state"] == "returned"
    assert facts(recorded_events)[-2:] == ["collection_code_issued", "shipment_returned"]


def test_an_arrival_at_an_unknown_site_is_refused(
    on_its_way: Callable[..., UUID], act: Act
) -> None:
    refused = act(on_its_way(), "arrivals", site_id=str(new_id()))

    assert (refused.status_code, refused.json["type"]) == (422, "/problems/unknown-site")


def test_a_carriers_report_is_kept_and_changes_no_state(
    client: FlaskClient,
    token: Headers,
    planned: Callable[..., UUID],
    act: Act,
    recorded_events: Recorded,
) -> None:
    shipment_id = planned()

    report = act(
        shipment_id, "tracking", status="delivered", carrier="Nyingchi Post", carrier_code="80"
    )
    act(shipment_id, "tracking", status="lost")

    url = f"{BASE}/shipments/{shipment_id}"
    track = client.get(f"{url}/tracking", headers=token("shipments:read")).json["items"]
    assert report.status_code == 201
    assert [(seen["status"], seen["carrier_code"]) for seen in track] == [
        ("delivered", "80"),
        ("lost", None),
    ]
    shown = client.get(url, headers=token("shipments:read")).json
    assert shown["shipment"]["state"] == "planned"
    assert shipment_facts(recorded_events) == ["shipment_planned"]


def test_arrivals_are_on_the_parcels_track(
    client: FlaskClient, token: Headers, at_its_site: Callable[..., UUID]
) -> None:
    url = f"{BASE}/shipments/{at_its_site()}/tracking"

    track = client.get(url, headers=token("shipments:read")).json["items"]

    assert [seen["status"] for seen in track] == ["available_for_pickup"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"status": "eaten"},
        {"status": "lost", "happened_at": "yesterday"},
        {"status": "lost", "happened_at": "2024-07-01T08:00:00"},
        {"status": "lost", "happened_at": "9999-12-31T23:59:59-08:00"},
    ],
)
def test_a_malformed_report_is_refused(
    planned: Callable[..., UUID], act: Act, body: dict[str, Any]
) -> None:
    assert act(planned(), "tracking", **body).status_code in (400, 422)
