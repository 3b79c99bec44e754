"""Who may see an order, lists of orders, and traces."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask.testing import FlaskClient

from shared.events import (
    PriceChanged,
)
from shared.runtime import clock
from shared.runtime.database import Database
from shared.runtime.ids import new_id
from tests.orders.reading import (
    ORDERS,
    Builder,
    Place,
    Recorded,
    Token,
    count_of_orders,
    types_of,
)

# --- Who may see an order -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": "Bearer nonsense"}, 401),
        ({}, 401),
    ],
)
def test_no_order_is_placed_without_a_valid_token(
    client: FlaskClient,
    an_order: Builder,
    database: Database,
    headers: dict[str, str],
    status: int,
) -> None:
    answer = client.post(
        ORDERS, json=an_order(), headers={"Idempotency-Key": str(uuid4()), **headers}
    )

    assert answer.status_code == status
    assert count_of_orders(database) == 0


def test_reading_needs_its_own_scope(client: FlaskClient, token: Token, place: Place) -> None:
    order = place()

    answer = client.get(f"{ORDERS}/{order['order_id']}", headers=token("orders:place"))

    assert answer.status_code == 403


@pytest.mark.parametrize("subject", ["buyer-1", "shop"])
def test_an_order_is_shown_to_its_buyer_and_to_who_placed_it(
    client: FlaskClient, token: Token, place: Place, subject: str
) -> None:
    order = place()

    answer = client.get(
        f"{ORDERS}/{order['order_id']}", headers=token("orders:read", subject=subject)
    )

    assert answer.status_code == 200
    assert answer.json == {k: v for k, v in order.items() if k != "guest_secret"}


def test_every_id_route_hides_other_owners(
    client: FlaskClient, token: Token, place: Place, recorded_events: Recorded
) -> None:
    order = place()
    stranger = token("orders:read", "orders:place", subject="buyer-2")
    path = f"{ORDERS}/{order['order_id']}"

    shown = client.get(path, headers=stranger)
    cancelled = client.post(f"{path}/cancel", json={"reason": "mine_now"}, headers=stranger)
    unknown = client.get(f"{ORDERS}/{new_id()}", headers=stranger)

    assert [shown.status_code, cancelled.status_code, unknown.status_code] == [404, 404, 404]
    assert shown.json["type"] == unknown.json["type"] == "/problems/order-not-found"
    assert "order_cancelled" not in types_of(recorded_events())


def test_an_operator_sees_every_order(client: FlaskClient, token: Token, place: Place) -> None:
    order = place()

    answer = client.get(
        f"{ORDERS}/{order['order_id']}", headers=token("orders:read", "orders:operate")
    )

    assert answer.status_code == 200


def test_a_guests_secret_is_readable_nowhere_in_what_is_stored(
    place: Place, stored: Callable[[], str]
) -> None:
    order = place(buyer_id=None)

    everything = stored()

    assert order["order_ref"] in everything
    assert order["guest_secret"] not in everything


def test_a_guests_order_is_read_with_its_secret_and_not_by_its_id(
    client: FlaskClient, place: Place
) -> None:
    order = place(buyer_id=None)
    guests = "/api/orders/v1/guest-orders"

    shown = client.get(f"{guests}/{order['guest_secret']}")

    assert shown.status_code == 200
    assert shown.json["order_id"] == order["order_id"]
    assert "guest_secret" not in shown.json
    assert client.get(f"{guests}/{order['guest_secret']}x").status_code == 404
    assert client.get(f"{guests}/{order['order_id']}").status_code == 404
    assert client.get(f"{ORDERS}/{order['order_id']}").status_code == 401


# --- Lists ----------------------------------------------------------------------------------------


def _refs(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [order["order_ref"] for order in answer.json["items"]]


def test_orders_are_listed_newest_first_page_by_page_without_gaps(
    client: FlaskClient, token: Token, place: Place
) -> None:
    refs = [place()["order_ref"] for _ in range(5)]
    headers = token("orders:read", "orders:operate")

    first = client.get(f"{ORDERS}?limit=2", headers=headers)
    place()  # what is placed meanwhile moves nothing
    second = client.get(f"{ORDERS}?limit=2&cursor={first.json['next']}", headers=headers)
    last = client.get(f"{ORDERS}?limit=2&cursor={second.json['next']}", headers=headers)

    assert [*_refs(first), *_refs(second), *_refs(last)] == refs[::-1]
    assert last.json["next"] is None


def test_orders_are_found_by_state_channel_buyer_time_and_reference(
    client: FlaskClient,
    token: Token,
    place: Place,
    a_price: Builder,
    variant_id: UUID,
    deliver: Callable[..., Any],
    reserve: Callable[..., Any],
) -> None:
    deliver(PriceChanged, **a_price(variant_id, channel="station"))
    early = place()
    between = clock.now().isoformat().replace("+00:00", "Z")
    late = place(channel="station", buyer_id="buyer-2")
    reserve(late)
    headers = token("orders:read", "orders:operate")

    def found(**query: str) -> list[str]:
        return _refs(client.get(ORDERS, query_string=query, headers=headers))

    assert found() == [late["order_ref"], early["order_ref"]]
    assert found(state="confirmed") == found(channel="station") == [late["order_ref"]]
    assert found(buyer_id="buyer-1") == found(placed_to=between) == [early["order_ref"]]
    assert found(placed_from=between) == [late["order_ref"]]
    assert found(q=late["order_ref"][:8].lower()) == [late["order_ref"]]
    assert found(q=early["order_ref"].removeprefix("ORD-")) == [early["order_ref"]]
    assert found(q="ORD-0") == found(state="shipped") == []


def test_a_list_shows_only_ones_own_orders(client: FlaskClient, token: Token, place: Place) -> None:
    mine, theirs = place(), place(_subject="other-shop", buyer_id="buyer-2")

    def seen(subject: str) -> list[str]:
        return _refs(client.get(ORDERS, headers=token("orders:read", subject=subject)))

    assert seen("shop") == seen("buyer-1") == [mine["order_ref"]]
    assert seen("buyer-2") == seen("other-shop") == [theirs["order_ref"]]
    assert seen("nobody") == []


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=x",
        "cursor=%21",
        "state=lost",
        "colour=red",
        "q=%25",
        "placed_from=yesterday",
        "placed_from=2026-08-01T12:00:00",
    ],
)
def test_a_bad_filter_is_refused(client: FlaskClient, token: Token, query: str) -> None:
    answer = client.get(f"{ORDERS}?{query}", headers=token("orders:read"))

    assert answer.status_code == 422
    assert answer.content_type == "application/problem+json"


def test_orders_are_counted_by_state(
    client: FlaskClient, token: Token, place: Place, reserve: Callable[..., Any]
) -> None:
    reserve(place())
    place()
    place(_subject="other-shop", buyer_id="buyer-2")

    everybody = client.get(f"{ORDERS}/summary", headers=token("orders:read", "orders:operate")).json
    mine = client.get(f"{ORDERS}/summary", headers=token("orders:read", subject="shop")).json

    assert (everybody["total"], mine["total"]) == (3, 2)
    assert (everybody["states"]["placed"], everybody["states"]["confirmed"]) == (2, 1)
    assert everybody["states"]["expired"] == 0


# --- Traces ---------------------------------------------------------------------------------------


def test_a_trace_tells_what_happened_and_what_the_order_waits_for(
    client: FlaskClient, token: Token, place: Place, reserve: Callable[..., Any]
) -> None:
    order = place(payment_method="prepaid")
    reserve(order)

    trace = client.get(f"/api/orders/v1/trace/{order['order_id']}", headers=token("operate")).json

    assert trace["state"]["state"] == "reserved"
    assert "payment of 13600 fen until" in trace["waiting_for"][0]["what"]
    assert [fact["type"].split(".")[1] for fact in trace["published"]] == [
        "contact_given",
        "order_placed",
        "payment_requested",
    ]
    assert [fact["type"] for fact in trace["handled"]] == ["catalog.stock_reserved.v1"]


def test_the_trace_of_an_unknown_order_is_empty(client: FlaskClient, token: Token) -> None:
    answer = client.get(f"/api/orders/v1/trace/{new_id()}", headers=token("operate"))

    assert answer.status_code == 200
    assert (answer.json["state"], answer.json["waiting_for"]) == ({}, [])


def test_a_trace_is_for_operators(client: FlaskClient, token: Token) -> None:
    answer = client.get(f"/api/orders/v1/trace/{new_id()}", headers=token("orders:read"))

    assert answer.status_code == 403
