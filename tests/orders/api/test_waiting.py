"""Placing an order and waiting for its decision."""

from collections.abc import Callable
from time import monotonic
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from services.orders.api.waiting import preferred_wait
from services.orders.models import Order
from shared.runtime.database import Database
from tests.orders.reading import ORDERS, Builder, Token


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0),
        ("", 0),
        ("return=minimal", 0),
        ("wait=5", 5),
        ("respond-async, Wait = 10", 10),
        ('wait="7"; x=y', 7),
        ("wait=300", 30),
        ("wait=-1", 0),
        ("await=5", 0),
        ("wait=5x", 0),
    ],
)
def test_a_preference_to_wait_is_read_and_bounded(header: str | None, seconds: int) -> None:
    assert preferred_wait(header) == seconds


def test_who_prefers_to_wait_gets_the_decided_order(
    client: FlaskClient,
    token: Token,
    an_order: Builder,
    database: Database,
    reserve: Callable[..., Any],
    in_threads: Callable[..., list[Any]],
) -> None:
    headers = token("orders:place", "orders:place_for") | {"Prefer": "wait=20"}
    body = an_order(buyer_id=None)

    def catalog_answers() -> None:
        deadline = monotonic() + 10
        while monotonic() < deadline:
            with database.readers() as reader:
                order = reader.scalars(select(Order)).first()
            if order is not None:
                lines = [{"line_no": 1, "variant_id": order.lines[0].variant_id, "quantity": 1000}]
                reserve({"order_id": str(order.id), "lines": lines})
                return

    answer, _ = in_threads(
        [lambda: client.post(ORDERS, json=body, headers=headers), catalog_answers]
    )

    assert answer.status_code == 200
    assert answer.headers["Preference-Applied"] == "wait=20"
    assert answer.json["state"] == "confirmed"
    assert answer.json["lines"][0]["lots"][0]["lot_code"] == "L-1"
    assert answer.json["guest_secret"]


def test_who_waits_in_vain_gets_the_placed_order(
    client: FlaskClient, token: Token, an_order: Builder
) -> None:
    headers = token("orders:place", subject="buyer-1") | {"Prefer": "wait=1"}

    answer = client.post(ORDERS, json=an_order(), headers=headers)

    assert (answer.status_code, answer.json["state"]) == (202, "placed")
