"""Cancelling an order over HTTP: once, with what was paid given back."""

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from shared.events import (
    StockRefused,
)
from tests.orders.reading import ORDERS, Place, Recorded, Token, types_of


def test_a_confirmed_order_is_cancelled_once_however_often_it_is_asked(
    client: FlaskClient,
    token: Token,
    place: Place,
    reserve: Callable[..., Any],
    recorded_events: Recorded,
) -> None:
    order = place()
    reserve(order)
    path, body = f"{ORDERS}/{order['order_id']}/cancel", {"reason": "changed_mind"}

    answers = [
        client.post(path, json=body, headers=token("orders:place", subject="buyer-1"))
        for _ in range(2)
    ]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json == answers[1].json
    assert answers[0].json["state"] == "cancelled"
    assert answers[0].json["payment_state"] == "voided"
    cancelled = [data for type_, data in recorded_events() if "cancelled" in type_]
    assert [data["reason"] for data in cancelled] == ["changed_mind"]


def test_a_cancelled_order_gives_back_what_was_paid(
    client: FlaskClient,
    token: Token,
    place: Place,
    reserve: Callable[..., Any],
    provider: Callable[..., Any],
    recorded_events: Recorded,
) -> None:
    order = place(payment_method="prepaid")
    reserve(order)
    provider(order)

    answer = client.post(
        f"{ORDERS}/{order['order_id']}/cancel",
        json={"reason": "changed_mind"},
        headers=token("orders:place", subject="shop"),
    )

    assert answer.json["payment_state"] == "refunded"
    assert answer.json["refunded_fen"] == order["total_fen"]
    assert types_of(recorded_events())[-2:] == ["order_cancelled", "payment_refunded"]


def test_a_rejected_order_is_not_cancelled_and_the_refusal_names_its_state(
    client: FlaskClient, token: Token, place: Place, deliver: Callable[..., Any]
) -> None:
    order = place()
    deliver(StockRefused, order_id=order["order_id"], shortfalls=[])

    answer = client.post(
        f"{ORDERS}/{order['order_id']}/cancel",
        json={"reason": "changed_mind"},
        headers=token("orders:place", subject="shop"),
    )

    assert (answer.status_code, answer.json["type"]) == (409, "/problems/wrong-order-state")
    assert answer.json["state"] == "rejected"


@pytest.mark.parametrize("body", [{}, {"reason": "Call me: 138"}, {"reason": "x", "by": "me"}])
def test_a_cancellation_gives_a_code_as_its_reason(
    client: FlaskClient, token: Token, place: Place, body: dict[str, str]
) -> None:
    order = place()

    answer = client.post(
        f"{ORDERS}/{order['order_id']}/cancel",
        json=body,
        headers=token("orders:place", subject="shop"),
    )

    assert answer.status_code == 422
