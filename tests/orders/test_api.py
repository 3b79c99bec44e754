"""Orders over HTTP: what is answered, stored and recorded, and how bad input is refused."""

import json
from collections.abc import Callable
from datetime import timedelta
from time import monotonic
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event, func, select

from services.orders.api.waiting import preferred_wait
from services.orders.models import Order
from shared import clock
from shared.config import Settings
from shared.database import Database
from shared.errors import Misconfigured
from shared.events import (
    PriceChanged,
    ProductListed,
    ProductWithdrawn,
    SiteClosed,
    StockRefused,
)
from shared.ids import new_id

ORDERS = "/api/orders/v1/orders"
Place = Callable[..., dict[str, Any]]
Token = Callable[..., dict[str, str]]
Builder = Callable[..., dict[str, Any]]
Recorded = Callable[[], list[tuple[str, dict[str, Any]]]]


def types_of(events: list[tuple[str, dict[str, Any]]]) -> list[str]:
    """Return the facts' names, without service and version."""
    return [type_.split(".")[1] for type_, _ in events]


def count_of_orders(database: Database) -> int:
    """Return how many orders are stored."""
    with database.readers() as reader:
        return reader.scalar(select(func.count()).select_from(Order)) or 0


# --- Placing -------------------------------------------------------------------------------------


def test_an_order_is_stored_priced_and_asks_for_its_stock(
    client: FlaskClient, token: Token, an_order: Builder, recorded_events: Recorded
) -> None:
    answer = client.post(ORDERS, json=an_order(), headers=token("orders:place"))

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
    headers, body = token("orders:place"), an_order(buyer_id=None)
    first = client.post(ORDERS, json=body, headers=headers)

    again = client.post(ORDERS, json=body, headers=headers)

    assert (again.status_code, again.json) == (202, first.json)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert count_of_orders(database) == 1
    assert len(recorded_events()) == 2


def test_a_key_used_for_another_order_is_refused(
    client: FlaskClient, token: Token, an_order: Builder, database: Database
) -> None:
    headers = token("orders:place")
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
    "an unknown language": (lambda o: _with_contact(o, language="fr"), 422, "validation-failed"),
    "no name": (lambda o: _with_contact(o, name=""), 422, "validation-failed"),
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

    answer = client.post(ORDERS, json=change(an_order()), headers=token("orders:place"))

    assert (answer.status_code, answer.json["type"]) == (status, f"/problems/{problem}")
    assert answer.content_type == "application/problem+json"
    assert count_of_orders(database) == 0
    assert recorded_events() == []


def test_broken_json_is_refused(client: FlaskClient, token: Token) -> None:
    headers = token("orders:place") | {"Content-Type": "application/json"}

    answer = client.post(ORDERS, data='{"channel": ', headers=headers)

    assert answer.status_code == 400
    assert answer.content_type == "application/problem+json"


def test_a_body_over_the_limit_is_refused(
    client: FlaskClient, token: Token, an_order: Builder
) -> None:
    order = _with_contact(an_order(), name="x" * 1_100_000)

    answer = client.post(ORDERS, json=order, headers=token("orders:place"))

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
        answer = client.post(ORDERS, json=body, headers=token("orders:place"))
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

    answer = client.post(ORDERS, json=order, headers=token("orders:place"))

    present = {"line_no": 1, "line_total_fen": 13_600, "price_fen": 6800, "price_unit": 500}
    assert answer.json["lines"] == [present]


def test_a_price_holds_from_its_beginning_to_its_end(
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

    ended = client.post(ORDERS, json=an_order(), headers=token("orders:place"))
    deliver(PriceChanged, **a_price(variant_id, price_fen=7000, valid_from=before, valid_to=soon))
    running = client.post(ORDERS, json=an_order(), headers=token("orders:place"))

    assert ended.json["type"] == "/problems/no-price"
    assert running.json["total_fen"] == 14_000


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
    withdrawn = client.post(ORDERS, json=order, headers=token("orders:place"))
    deliver(ProductListed, **product)
    listed = client.post(ORDERS, json=order, headers=token("orders:place"))

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

    answer = client.post(ORDERS, json=order, headers=token("orders:place"))

    assert (answer.status_code, answer.json["type"]) == (422, "/problems/site-is-closed")


def test_open_holds_per_buyer_limited(
    make_app: Callable[[Settings], Flask],
    app_settings: Settings,
    token: Token,
    an_order: Builder,
    provider: Callable[..., Any],
) -> None:
    limit = {"FARMGATE_ORDERS_OPEN_HOLDS": "2"}
    client = make_app(_changed(app_settings, limit)).test_client()

    def place(**changes: Any) -> Any:
        order = an_order(payment_method="prepaid") | changes
        return client.post(ORDERS, json=order, headers=token("orders:place"))

    first, second, third = place(), place(), place()
    assert [first.status_code, second.status_code, third.status_code] == [202, 202, 409]
    assert third.json["type"] == "/problems/too-many-open-holds"
    assert place(buyer_id="buyer-2").status_code == 202
    assert place(payment_method="cash_on_delivery").status_code == 202
    provider(first.json)
    assert place().status_code == 202


@pytest.mark.parametrize("value", ["0", "-1", "soon", ""])
@pytest.mark.parametrize("name", ["FARMGATE_ORDERS_HOLD_SECONDS", "FARMGATE_ORDERS_OPEN_HOLDS"])
def test_a_wrong_setting_fails_at_the_start_and_is_named(
    make_app: Callable[[Settings], Flask], app_settings: Settings, name: str, value: str
) -> None:
    with pytest.raises(Misconfigured, match=name):
        make_app(_changed(app_settings, {name: value}))


def _changed(settings: Settings, environment: dict[str, str]) -> Settings:
    return Settings.from_environment(settings.service, {**settings.environment, **environment})


# --- Who may see an order ------------------------------------------------------------------------


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


# --- Lists ---------------------------------------------------------------------------------------


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


# --- Cancelling ----------------------------------------------------------------------------------


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


# --- Waiting for the decision --------------------------------------------------------------------


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
    body, headers = an_order(buyer_id=None), token("orders:place") | {"Prefer": "wait=20"}

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
    headers = token("orders:place") | {"Prefer": "wait=1"}

    answer = client.post(ORDERS, json=an_order(), headers=headers)

    assert (answer.status_code, answer.json["state"]) == (202, "placed")


# --- Traces --------------------------------------------------------------------------------------


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
    ]
    assert [fact["type"] for fact in trace["handled"]] == ["catalog.stock_reserved.v1"]


def test_the_trace_of_an_unknown_order_is_empty(client: FlaskClient, token: Token) -> None:
    answer = client.get(f"/api/orders/v1/trace/{new_id()}", headers=token("operate"))

    assert answer.status_code == 200
    assert (answer.json["state"], answer.json["waiting_for"]) == ({}, [])


def test_a_trace_is_for_operators(client: FlaskClient, token: Token) -> None:
    answer = client.get(f"/api/orders/v1/trace/{new_id()}", headers=token("orders:read"))

    assert answer.status_code == 403
