"""Placing an order over HTTP: what is answered, stored and recorded, and what is refused."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event

from shared.events import (
    PriceChanged,
    ProductListed,
    ProductWithdrawn,
    SiteClosed,
)
from shared.runtime import clock
from shared.runtime.config import Settings
from shared.runtime.database import Database
from shared.runtime.errors import Misconfigured
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


def test_an_order_is_stored_priced_and_asks_for_its_stock(
    client: FlaskClient, token: Token, an_order: Builder, recorded_events: Recorded
) -> None:
    answer = client.post(ORDERS, json=an_order(), headers=token("orders:place", subject="buyer-1"))

    assert answer.status_code == 202
    order = answer.json
    assert answer.headers["Location"].endswith(f"{ORDERS}/{order['order_id']}")
    assert (order["state"], order["payment_state"]) == ("placed", "cod_due")
    assert order["total_fen"] == order["lines"][0]["line_total_fen"] == 13_600
    assert order["guest_secret"] is None
    (_, contact), (_, placed) = recorded_events()
    assert types_of(recorded_events()) == ["contact_given", "order_placed"]
    assert contact["phone"] == "+8613800138000"
    assert placed["lines"] == [
        {
            "line_no": 1,
            "variant_id": order["lines"][0]["variant_id"],
            "quantity": 1000,
            "line_total_fen": 13_600,
        }
    ]


def test_names_phones_and_addresses_stay_out_of_the_answer_and_of_public_facts(
    place: Place, recorded_events: Recorded
) -> None:
    order = place()

    told = json.dumps([order, *(data for type_, data in recorded_events()[1:])])
    assert "13800138000" not in told
    assert "卓玛" not in json.loads(json.dumps(told))
    assert "巴河镇" not in told
    assert order["masked_phone"] == "+86138******00"


def test_who_collects_gives_no_address_away(place: Place, recorded_events: Recorded) -> None:
    place(collect=True, payment_method="cash_at_station")

    assert recorded_events()[0][1]["address"] is None


def test_a_repeated_placement_is_answered_again_and_places_nothing(
    client: FlaskClient,
    token: Token,
    an_order: Builder,
    database: Database,
    recorded_events: Recorded,
) -> None:
    headers, body = token("orders:place", subject="buyer-1"), an_order(buyer_id=None)
    first = client.post(ORDERS, json=body, headers=headers)

    again = client.post(ORDERS, json=body, headers=headers)

    assert (again.status_code, again.json) == (202, first.json)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert count_of_orders(database) == 1
    assert len(recorded_events()) == 2


def test_a_key_used_for_another_order_is_refused(
    client: FlaskClient, token: Token, an_order: Builder, database: Database
) -> None:
    headers = token("orders:place", subject="buyer-1")
    client.post(ORDERS, json=an_order(), headers=headers)

    other = client.post(ORDERS, json=an_order(buyer_id="buyer-2"), headers=headers)

    assert (other.status_code, other.json["type"]) == (422, "/problems/idempotency-key-reused")
    assert count_of_orders(database) == 1


def _with_line(order: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return order | {"lines": [order["lines"][0] | changes]}


def _with_contact(order: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return order | {"contact": order["contact"] | changes}


BAD_PLACEMENTS: dict[str, tuple[Callable[[dict[str, Any]], Any], int, str]] = {
    "an unknown field": (lambda o: o | {"discount": 1}, 422, "validation-failed"),
    "an unknown field of a line": (
        lambda o: _with_line(o, price_fen=1),
        422,
        "validation-failed",
    ),
    "no lines": (lambda o: o | {"lines": []}, 422, "validation-failed"),
    "201 lines": (lambda o: o | {"lines": o["lines"] * 201}, 422, "validation-failed"),
    "quantity 0": (lambda o: _with_line(o, quantity=0), 422, "validation-failed"),
    "a negative quantity": (lambda o: _with_line(o, quantity=-500), 422, "validation-failed"),
    "an absurd quantity": (lambda o: _with_line(o, quantity=10_000_500), 422, "validation-failed"),
    "a quantity beyond 64 bits": (
        lambda o: _with_line(o, quantity=2**70),
        422,
        "validation-failed",
    ),
    "a quantity with a fraction": (
        lambda o: _with_line(o, quantity=500.5),
        422,
        "validation-failed",
    ),
    "a quantity as text": (lambda o: _with_line(o, quantity="500"), 422, "validation-failed"),
    "a quantity that is true": (lambda o: _with_line(o, quantity=True), 422, "validation-failed"),
    "a broken pack": (lambda o: _with_line(o, quantity=750), 422, "wrong-pack"),
    "an unknown variant": (
        lambda o: _with_line(o, variant_id=str(new_id())),
        422,
        "unknown-variant",
    ),
    "a variant that is no id": (
        lambda o: _with_line(o, variant_id="matsutake"),
        422,
        "validation-failed",
    ),
    "a channel without price": (lambda o: o | {"channel": "company"}, 422, "no-price"),
    "an unknown channel": (lambda o: o | {"channel": "radio"}, 422, "validation-failed"),
    "an unknown site": (lambda o: o | {"site_id": str(new_id())}, 422, "unknown-site"),
    "another price": (lambda o: _with_line(o, line_total_fen=13_599), 409, "price-changed"),
    "an unknown payment method": (
        lambda o: o | {"payment_method": "barter"},
        422,
        "validation-failed",
    ),
    "cash at a station nobody comes to": (
        lambda o: o | {"payment_method": "cash_at_station"},
        422,
        "no-cash-without-station",
    ),
    "a phone nobody has": (lambda o: _with_contact(o, phone="12345"), 422, "validation-failed"),
    "a phone with letters": (
        lambda o: _with_contact(o, phone="1-800-FLOWERS"),
        422,
        "validation-failed",
    ),
    "a phone with an extension": (
        lambda o: _with_contact(o, phone="13800138000 转 8"),
        422,
        "validation-failed",
    ),
    "an unknown language": (lambda o: _with_contact(o, language="fr"), 422, "validation-failed"),
    "no name": (lambda o: _with_contact(o, name=""), 422, "validation-failed"),
    "a name of spaces": (lambda o: _with_contact(o, name="   "), 422, "validation-failed"),
    "an invisible address": (
        lambda o: _with_contact(o, address="\u200b\u3000"),
        422,
        "validation-failed",
    ),
    "a NUL in the name": (lambda o: _with_contact(o, name="a\0b"), 422, "validation-failed"),
    "delivery without address": (
        lambda o: _with_contact(o, address=None),
        422,
        "validation-failed",
    ),
    "a buyer's phone as id": (lambda o: o | {"buyer_id": "+86 138"}, 422, "validation-failed"),
    "a list": (lambda o: [o], 422, "validation-failed"),
    "nothing": (lambda o: {}, 422, "validation-failed"),
}


@pytest.mark.parametrize("name", BAD_PLACEMENTS)
def test_a_bad_placement_is_refused_with_its_own_answer_and_leaves_nothing(
    name: str,
    client: FlaskClient,
    token: Token,
    an_order: Builder,
    database: Database,
    recorded_events: Recorded,
) -> None:
    change, status, problem = BAD_PLACEMENTS[name]

    headers = token("orders:place", "orders:operate")
    answer = client.post(ORDERS, json=change(an_order()), headers=headers)

    assert (answer.status_code, answer.json["type"]) == (status, f"/problems/{problem}")
    assert answer.content_type == "application/problem+json"
    assert count_of_orders(database) == 0
    assert recorded_events() == []


def test_broken_json_is_refused(client: FlaskClient, token: Token) -> None:
    headers = token("orders:place", subject="buyer-1") | {"Content-Type": "application/json"}

    answer = client.post(ORDERS, data='{"channel": ', headers=headers)

    assert answer.status_code == 400
    assert answer.content_type == "application/problem+json"


def test_a_body_over_the_limit_is_refused(
    client: FlaskClient, token: Token, an_order: Builder
) -> None:
    order = _with_contact(an_order(), name="x" * 1_100_000)

    answer = client.post(ORDERS, json=order, headers=token("orders:place", subject="buyer-1"))

    assert answer.status_code == 413


def test_an_order_of_200_lines_takes_as_many_statements_as_one_of_one_line(
    client: FlaskClient, token: Token, an_order: Builder
) -> None:
    engine = client.application.extensions["farmgate"].database.engine
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))

    def place(lines: int) -> tuple[dict[str, Any], int]:
        order = an_order()
        body = order | {"lines": order["lines"] * lines}
        statements.clear()
        answer = client.post(ORDERS, json=body, headers=token("orders:place", subject="buyer-1"))
        assert answer.status_code == 202
        return dict(answer.json), len(statements)

    _, for_one = place(1)
    long, for_many = place(200)

    assert for_many == for_one
    assert [line["line_no"] for line in long["lines"]] == list(range(1, 201))
    assert long["total_fen"] == 200 * 13_600


def test_a_price_that_changed_is_named_with_the_present_one(
    client: FlaskClient, token: Token, an_order: Builder
) -> None:
    order = _with_line(an_order(), line_total_fen=12_000)

    answer = client.post(ORDERS, json=order, headers=token("orders:place", subject="buyer-1"))

    present = {"line_no": 1, "line_total_fen": 13_600, "price_fen": 6800, "price_unit": 500}
    assert answer.json["lines"] == [present]


def test_a_price_holds_to_its_end_and_then_the_one_before_it_holds_again(
    client: FlaskClient,
    token: Token,
    an_order: Builder,
    a_price: Builder,
    deliver: Callable[..., Any],
    variant_id: UUID,
) -> None:
    now = clock.now()
    soon, before = now + timedelta(hours=1), now - timedelta(hours=1)
    deliver(PriceChanged, **a_price(variant_id, price_fen=1, valid_from=soon))
    deliver(PriceChanged, **a_price(variant_id, price_fen=7000, valid_from=before, valid_to=now))

    ended = client.post(ORDERS, json=an_order(), headers=token("orders:place", subject="buyer-1"))
    deliver(PriceChanged, **a_price(variant_id, price_fen=7000, valid_from=before, valid_to=soon))
    running = client.post(ORDERS, json=an_order(), headers=token("orders:place", subject="buyer-1"))

    assert ended.json["total_fen"] == 13_600
    assert running.json["total_fen"] == 14_000


def test_without_a_price_before_it_nothing_is_sold_after_a_dated_price(
    client: FlaskClient,
    token: Token,
    an_order: Builder,
    a_product: Builder,
    a_price: Builder,
    deliver: Callable[..., Any],
) -> None:
    product = a_product()
    variant_id = product["variants"][0]["variant_id"]
    now = clock.now()
    deliver(ProductListed, **product)
    deliver(PriceChanged, **a_price(variant_id, valid_from=now - timedelta(hours=1), valid_to=now))

    answer = client.post(
        ORDERS,
        json=_with_line(an_order(), variant_id=str(variant_id)),
        headers=token("orders:place", subject="buyer-1"),
    )

    assert answer.json["type"] == "/problems/no-price"


def test_a_withdrawn_product_is_not_sold_until_it_is_listed_again(
    client: FlaskClient,
    token: Token,
    an_order: Builder,
    a_product: Builder,
    a_price: Builder,
    deliver: Callable[..., Any],
) -> None:
    product = a_product()
    variant_id = product["variants"][0]["variant_id"]
    deliver(ProductListed, **product)
    deliver(PriceChanged, **a_price(variant_id))
    order = _with_line(an_order(), variant_id=str(variant_id))

    deliver(ProductWithdrawn, product_id=product["product_id"])
    withdrawn = client.post(ORDERS, json=order, headers=token("orders:place", subject="buyer-1"))
    deliver(ProductListed, **product)
    listed = client.post(ORDERS, json=order, headers=token("orders:place", subject="buyer-1"))

    assert withdrawn.json["type"] == "/problems/unknown-variant"
    assert listed.status_code == 202


def test_a_closed_site_takes_no_orders(
    client: FlaskClient,
    token: Token,
    an_order: Builder,
    deliver: Callable[..., Any],
    site_id: UUID,
) -> None:
    order = an_order()
    deliver(SiteClosed, site_id=site_id)

    answer = client.post(ORDERS, json=order, headers=token("orders:place", subject="buyer-1"))

    assert (answer.status_code, answer.json["type"]) == (422, "/problems/site-is-closed")


@pytest.mark.parametrize("value", ["0", "-1", "soon", ""])
@pytest.mark.parametrize(
    "name",
    [
        "FARMGATE_ORDERS_HOLD_SECONDS",
        "FARMGATE_ORDERS_OPEN_HOLDS",
        "FARMGATE_ORDERS_OPEN_FEN",
        "FARMGATE_ORDERS_CALLER_OPEN_HOLDS",
        "FARMGATE_ORDERS_CALLER_OPEN_FEN",
    ],
)
def test_a_wrong_setting_fails_at_the_start_and_is_named(
    app_of: Callable[[Settings], Flask], app_settings: Settings, name: str, value: str
) -> None:
    with pytest.raises(Misconfigured, match=name):
        app_of(_changed(app_settings, {name: value}))


def _changed(settings: Settings, environment: dict[str, str]) -> Settings:
    return Settings.from_environment(settings.service, {**settings.environment, **environment})
