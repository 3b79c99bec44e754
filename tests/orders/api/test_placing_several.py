"""Several orders in one request, each with an outcome of its own."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event

from shared.runtime.config import Settings
from shared.runtime.database import Database
from shared.runtime.ids import new_id
from tests.orders.reading import ORDERS, Builder, Recorded, Token, count_of_orders, types_of

BULK = f"{ORDERS}/bulk"
PARTNER = ("orders:place", "orders:place_for", "orders:read")


@pytest.fixture
def numbered(an_order: Builder) -> Callable[..., dict[str, Any]]:
    """Make the body of a partner's order with this number, of a buyer of its own."""

    def build(number: int, **changes: Any) -> dict[str, Any]:
        contact = an_order()["contact"] | {"phone": f"138 0013 {number:04d}"}
        own = {"external_ref": f"SO-{number}", "buyer_id": f"b-{number}", "contact": contact}
        return an_order(**own | changes)

    return build


@pytest.fixture
def place_several(client: FlaskClient, token: Token) -> Callable[..., Any]:
    """Place orders as a partner; returns the whole answer."""

    def do(orders: list[Any], headers: dict[str, str] | None = None, **options: Any) -> Any:
        sender = options.pop("client", client)
        given = headers or token(*PARTNER, subject="market")
        return sender.post(BULK, json={"orders": orders}, headers=given)

    return do


def test_a_hundred_orders_are_placed_and_each_asks_for_its_stock(
    place_several: Any, numbered: Builder, database: Database, recorded_events: Recorded
) -> None:
    answer = place_several([numbered(number) for number in range(100)])

    assert answer.status_code == 200
    outcomes = answer.json["outcomes"]
    assert [outcome["index"] for outcome in outcomes] == [*range(100)]
    assert {outcome["status"] for outcome in outcomes} == {202}
    assert {outcome["problem"] for outcome in outcomes} == {None}
    assert [outcome["order"]["external_ref"] for outcome in outcomes] == [
        f"SO-{number}" for number in range(100)
    ]
    assert count_of_orders(database) == 100
    assert types_of(recorded_events()) == ["contact_given", "order_placed"] * 100


def test_an_outcome_is_what_a_single_placement_answers(
    client: FlaskClient, token: Token, place_several: Any, numbered: Builder
) -> None:
    bodies = [
        numbered(1),
        numbered(2, buyer_id=None),
        numbered(3, site_id=str(new_id())),
        numbered(4, lines=[]),
        numbered(5, discount=1),
        numbered(6, channel="company"),
        numbered(7, external_ref="13800138000"),
        numbered(8, buyer_id="13800138000"),
        "nonsense",
        {},
    ]

    outcomes = place_several(bodies).json["outcomes"]

    for body, outcome in zip(bodies, outcomes, strict=True):
        if isinstance(body, dict) and "external_ref" in body:
            # Another order, but with the same outcome.
            body = body | {"external_ref": body["external_ref"].replace("SO", "ALONE")}
        alone = client.post(ORDERS, json=body, headers=token(*PARTNER, subject="market"))
        assert outcome["status"] == alone.status_code
        if alone.status_code == 202:
            assert (outcome["problem"], outcome["order"].keys()) == (None, alone.json.keys())
            assert bool(outcome["order"]["guest_secret"]) == bool(alone.json["guest_secret"])
        else:
            assert outcome["order"] is None
            assert outcome["problem"]["type"] == alone.json["type"]
            own = ("detail", "status", "title", "errors")
            assert [outcome["problem"].get(name) for name in own] == [
                alone.json.get(name) for name in own
            ]
    assert [outcome["status"] for outcome in outcomes] == [
        202, 202, 422, 422, 422, 403, 422, 422, 422, 422,
    ]  # fmt: skip


def test_a_bad_order_spoils_none_of_the_others(
    place_several: Any, numbered: Builder, database: Database, recorded_events: Recorded
) -> None:
    bad = numbered(2, lines=[{"variant_id": str(new_id()), "quantity": 500}])

    outcomes = place_several([numbered(1), bad, numbered(3)]).json["outcomes"]

    assert [outcome["status"] for outcome in outcomes] == [202, 422, 202]
    assert outcomes[1]["problem"]["type"] == "/problems/unknown-variant"
    assert count_of_orders(database) == 2
    assert types_of(recorded_events()) == ["contact_given", "order_placed"] * 2


def test_a_repeated_request_is_answered_again_and_places_nothing(
    place_several: Any,
    token: Token,
    numbered: Builder,
    database: Database,
    recorded_events: Recorded,
) -> None:
    headers, orders = token(*PARTNER, subject="market"), [numbered(1), numbered(2, lines=[])]
    first = place_several(orders, headers)

    again = place_several(orders, headers)

    assert again.json == first.json
    assert again.headers["Idempotency-Replayed"] == "true"
    assert count_of_orders(database) == 1
    assert len(recorded_events()) == 2


def test_orders_are_sent_again_with_others_and_placed_once(
    place_several: Any, numbered: Builder, database: Database, reserve: Any
) -> None:
    first = place_several([numbered(1), numbered(2)]).json["outcomes"]
    reserve(first[0]["order"])

    again = place_several([numbered(3), numbered(2), numbered(1)]).json["outcomes"]

    assert [outcome["status"] for outcome in again] == [202, 202, 200]
    assert again[1]["order"]["order_id"] == first[1]["order"]["order_id"]
    assert again[2]["order"]["order_id"] == first[0]["order"]["order_id"]
    assert again[2]["order"]["state"] == "confirmed"
    assert count_of_orders(database) == 3


def test_one_number_twice_in_a_request_is_one_order_or_a_conflict(
    place_several: Any, numbered: Builder, database: Database
) -> None:
    orders = [numbered(1), numbered(1), numbered(1, collect=True)]

    outcomes = place_several(orders).json["outcomes"]

    assert [outcome["status"] for outcome in outcomes] == [202, 202, 409]
    assert outcomes[0]["order"]["order_id"] == outcomes[1]["order"]["order_id"]
    assert outcomes[2]["problem"]["type"] == "/problems/external-ref-used"
    assert outcomes[2]["problem"]["order_id"] == outcomes[0]["order"]["order_id"]
    assert count_of_orders(database) == 1


def test_the_limits_of_unpaid_orders_count_the_orders_of_the_request(
    app_of: Callable[[Settings], Flask],
    app_settings: Settings,
    place_several: Any,
    numbered: Builder,
    an_order: Builder,
    database: Database,
) -> None:
    given = app_settings.environment | {"FARMGATE_ORDERS_OPEN_HOLDS": "2"}
    limited = app_of(Settings.from_environment("orders", given)).test_client()
    same = an_order()["contact"]

    orders = [numbered(number, contact=same) for number in range(4)] + [numbered(9)]
    outcomes = place_several(orders, client=limited).json["outcomes"]

    assert [outcome["status"] for outcome in outcomes] == [202, 202, 409, 409, 202]
    assert outcomes[2]["problem"]["type"] == "/problems/too-many-open-holds"
    assert count_of_orders(database) == 3


@pytest.mark.parametrize("harness", ["sqlite"], indirect=True)
@pytest.mark.parametrize("body", [{}, {"orders": []}, {"orders": [{}] * 101}, {"orders": {}}])
def test_none_or_more_than_a_hundred_are_refused_as_a_whole(
    client: FlaskClient, token: Token, database: Database, body: Any
) -> None:
    answer = client.post(BULK, json=body, headers=token(*PARTNER, subject="market"))

    assert (answer.status_code, answer.json["type"]) == (422, "/problems/validation-failed")
    assert list(answer.json["errors"]) == ["orders"]
    assert count_of_orders(database) == 0


@pytest.mark.parametrize("harness", ["sqlite"], indirect=True)
def test_a_buyer_places_several_orders_for_itself(
    place_several: Any, token: Token, an_order: Builder
) -> None:
    buyer = token("orders:place", subject="buyer-1")

    outcomes = place_several([an_order(), an_order(buyer_id="buyer-2")], buyer).json["outcomes"]

    assert [outcome["status"] for outcome in outcomes] == [202, 403]
    assert outcomes[1]["problem"]["type"] == "/problems/not-your-buyer"


@pytest.mark.parametrize("harness", ["sqlite"], indirect=True)
def test_nobody_places_several_orders_without_a_token_and_a_key(
    client: FlaskClient, token: Token, numbered: Builder, database: Database
) -> None:
    body = {"orders": [numbered(1)]}
    reader = token("orders:read", subject="market")
    keyless = token(*PARTNER, subject="market")
    del keyless["Idempotency-Key"]

    answers = [
        client.post(BULK, json=body, headers={"Idempotency-Key": str(uuid4())}),
        client.post(BULK, json=body, headers=reader),
        client.post(BULK, json=body, headers=keyless),
    ]

    assert [answer.status_code for answer in answers] == [401, 403, 400]
    assert count_of_orders(database) == 0


def test_the_same_orders_at_once_from_several_processes_are_placed_once(
    app_of: Callable[[Settings], Flask],
    app_settings: Settings,
    place_several: Any,
    numbered: Builder,
    in_threads: Callable[..., list[Any]],
    database: Database,
) -> None:
    clients = [app_of(app_settings).test_client() for _ in range(4)]
    orders = [numbered(number) for number in range(20)]

    def send(number: int) -> Any:
        # Each in another order: the locks must not be taken in the order of the request.
        turned = orders[number * 5 :] + orders[: number * 5]
        return place_several(turned, client=clients[number])

    answers = in_threads([lambda number=number: send(number) for number in range(4)])

    assert {answer.status_code for answer in answers} == {200}
    outcomes = [outcome for answer in answers for outcome in answer.json["outcomes"]]
    assert {outcome["status"] for outcome in outcomes} == {202}
    ids = {UUID(outcome["order"]["order_id"]) for outcome in outcomes}
    assert len(ids) == count_of_orders(database) == 20


def test_fifty_orders_take_as_many_statements_as_two(
    client: FlaskClient, place_several: Any, numbered: Builder
) -> None:
    engine = client.application.extensions["farmgate"].database.engine
    seen: list[str] = []

    def count(first: int, number: int) -> int:
        seen.clear()
        answer = place_several([numbered(first + each) for each in range(number)])
        assert {outcome["status"] for outcome in answer.json["outcomes"]} == {202}
        return len(seen)

    def note(*args: Any) -> None:
        seen.append(args[2])

    event.listen(engine, "before_cursor_execute", note)
    try:
        count(0, 1)
        assert count(100, 2) == count(200, 50)
    finally:
        event.remove(engine, "before_cursor_execute", note)
