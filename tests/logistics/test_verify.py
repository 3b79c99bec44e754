"""Logistics compares its own rows, and tells in few words what it holds of each order."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from sqlalchemy import delete, update

from services.logistics import rules
from services.logistics.batch import LogisticsBatch
from services.logistics.models import CollectionCode, ProofOfDelivery, Shipment, ShipmentLine
from services.logistics.rules import MOMENTS, ShipmentRows, ShipmentState
from services.logistics.use_cases import hand_over
from shared.events import OrderConfirmed
from shared.messaging.batch import transaction
from shared.runtime.database import Database

VERIFY = "/api/logistics/v1/verify"
Headers = Callable[..., dict[str, str]]
Waiting = Callable[..., tuple[UUID, str]]

WAITING = ShipmentRows(
    state=ShipmentState.HANDED_OVER,
    collect=True,
    due_fen=100,
    collected_fen=None,
    moments=frozenset({"packed", "handed_over", "arrived"}),
    quantity=500,
    proven_fen=None,
    has_reason=False,
    has_code=True,
)
COLLECTED = replace(
    WAITING,
    state=ShipmentState.COLLECTED,
    moments=MOMENTS[ShipmentState.COLLECTED],
    collected_fen=100,
    proven_fen=100,
    has_code=False,
)


@pytest.mark.parametrize("kept", [WAITING, COLLECTED])
def test_rows_that_agree_show_nothing(kept: ShipmentRows) -> None:
    assert rules.disagreements(kept) == []


@pytest.mark.parametrize("state", ShipmentState)
def test_every_state_says_which_moments_it_had(state: ShipmentState) -> None:
    assert ("ended" in MOMENTS[state]) == rules.is_over(state)


@pytest.mark.parametrize(
    ("kept", "check"),
    [
        (replace(WAITING, quantity=0), "lines"),
        (replace(WAITING, moments=frozenset({"packed", "arrived"})), "moments"),
        (replace(WAITING, moments=WAITING.moments | {"ended"}), "moments"),
        (replace(WAITING, proven_fen=100), "proof"),
        (replace(WAITING, has_code=False), "code"),
        (replace(COLLECTED, has_code=True), "code"),
        (replace(COLLECTED, proven_fen=None), "proof"),
        (replace(COLLECTED, proven_fen=99), "proof"),
        (replace(COLLECTED, collected_fen=99, proven_fen=99), "proof"),
    ],
)
def test_rows_that_disagree_are_named(kept: ShipmentRows, check: str) -> None:
    assert [found[0] for found in rules.disagreements(kept)] == [check]


def test_less_money_with_a_reason_is_no_disagreement() -> None:
    kept = replace(COLLECTED, collected_fen=99, proven_fen=99, has_reason=True)

    assert rules.disagreements(kept) == []


def verify(client: FlaskClient, token: Headers) -> dict[str, Any]:
    answer = client.get(VERIFY, headers=token("operate"))
    assert answer.status_code == 200
    report: dict[str, Any] = answer.json
    return report


def test_an_untouched_service_agrees_with_itself(
    client: FlaskClient,
    token: Headers,
    database: Database,
    planned: Callable[..., UUID],
    waiting: Waiting,
) -> None:
    planned()
    waiting()
    shipment_id, code = waiting()
    with transaction(database, LogisticsBatch) as batch:
        hand_over.collect(
            batch,
            shipment_id,
            code=code,
            received_by=None,
            collected_fen=13000,
            difference_reason="one bag was torn",
            by="clerk-1",
        )

    report = verify(client, token)

    assert report == {
        "service": "logistics",
        "checked": {"shipments": 3},
        "differences": [],
        "notes": [],
    }


def test_rows_changed_behind_its_back_are_named_with_their_ids(
    client: FlaskClient, token: Headers, database: Database, waiting: Waiting
) -> None:
    shipment_ids = [waiting()[0] for _ in range(3)]
    with database.sessions.begin() as session:
        for model in (ShipmentLine, CollectionCode):
            session.execute(delete(model).where(model.shipment_id == shipment_ids[0]))
        session.execute(
            update(Shipment).where(Shipment.id == shipment_ids[1]).values(state="collected")
        )

    report = verify(client, token)

    found = [(each["check"], each["ids"]["shipment_id"]) for each in report["differences"]]
    assert found == [
        ("shipment_lines", str(shipment_ids[0])),
        ("shipment_code", str(shipment_ids[0])),
        ("shipment_moments", str(shipment_ids[1])),
        ("shipment_proof", str(shipment_ids[1])),
        ("shipment_code", str(shipment_ids[1])),
    ]
    assert "nothing" in report["differences"][0]["detail"]


def test_proof_without_a_collection_is_a_difference(
    client: FlaskClient, token: Headers, database: Database, waiting: Waiting
) -> None:
    shipment_id, _ = waiting()
    with database.sessions.begin() as session:
        order_id = session.get_one(Shipment, shipment_id).order_id
        session.add(
            ProofOfDelivery(
                shipment_id=shipment_id,
                kind="name",
                received_by="Tashi",
                collected_fen=0,
                handed_over_by="nobody",
                recorded_at=session.get_one(Shipment, shipment_id).planned_at,
            )
        )

    [difference] = verify(client, token)["differences"]

    assert difference["ids"] == {"shipment_id": str(shipment_id), "order_id": str(order_id)}
    assert (difference["expected"], difference["found"]) == ("none", "one")


def test_facts_come_in_pages_by_order_with_each_lots_sum(
    client: FlaskClient,
    token: Headers,
    deliver: Callable[..., Any],
    a_confirmed_order: Callable[..., dict[str, Any]],
) -> None:
    orders = [a_confirmed_order() for _ in range(3)]
    lots = orders[0]["lines"][0]["lots"]
    lots[1]["lot_id"] = lots[0]["lot_id"]
    lots[1]["location_id"] = orders[0]["site_id"]
    deliver(OrderConfirmed, _many=orders)

    first = client.get(
        f"{VERIFY}/facts",
        query_string={"kind": "shipments", "limit": 2},
        headers=token("operate"),
    ).json
    second = client.get(
        f"{VERIFY}/facts",
        query_string={"kind": "shipments", "limit": 2, "cursor": first["next"]},
        headers=token("operate"),
    ).json

    ids = [item["id"] for page in (first, second) for item in page["items"]]
    assert ids == sorted(str(order["order_id"]) for order in orders)
    assert second["next"] is None
    by_id = {item["id"]: item["value"] for item in first["items"]}
    assert by_id[str(orders[0]["order_id"])] == {
        "state": "planned",
        "lots": {str(lots[0]["lot_id"]): 1000},
    }


def test_facts_can_be_asked_for_by_their_ids(
    client: FlaskClient,
    token: Headers,
    deliver: Callable[..., Any],
    a_confirmed_order: Callable[..., dict[str, Any]],
) -> None:
    orders = [a_confirmed_order() for _ in range(3)]
    deliver(OrderConfirmed, _many=orders)
    wanted = sorted(str(order["order_id"]) for order in orders[1:])

    answer = client.get(
        f"{VERIFY}/facts",
        query_string={"kind": "shipments", "id": wanted},
        headers=token("operate"),
    )

    assert [item["id"] for item in answer.json["items"]] == wanted


@pytest.mark.parametrize("query", [{}, {"kind": "orders"}, {"kind": "shipments", "limit": 1001}])
def test_a_wrong_question_is_refused(
    client: FlaskClient, token: Headers, query: dict[str, Any]
) -> None:
    answer = client.get(f"{VERIFY}/facts", query_string=query, headers=token("operate"))

    assert answer.status_code == 422


@pytest.mark.parametrize("path", ["", "/facts?kind=shipments"])
def test_only_those_who_operate_may_ask(client: FlaskClient, token: Headers, path: str) -> None:
    assert client.get(VERIFY + path, headers=token("shipments:read")).status_code == 403
