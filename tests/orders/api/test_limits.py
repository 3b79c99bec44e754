"""How much unpaid stock may be set aside, and what an operator says to more than that."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from services.orders.models import Order
from services.orders.rules.limits import Allowance, Open, exceeded
from services.orders.rules.order_status import OrderState
from shared.events import ShipmentCollected, ShipmentDispatched, ShipmentPacked
from shared.runtime.config import Settings
from shared.runtime.database import Database
from shared.runtime.ids import new_id
from tests.orders.reading import ORDERS, Builder, Recorded, Token, count_of_orders, types_of
from tests.orders.till.device import Till, words

#: One order of the tests costs this.
FEN = 13_600
METHODS = [("prepaid", False), ("cash_on_delivery", False), ("cash_at_station", True)]


def phone(number: int) -> dict[str, Any]:
    """Return an order's contact with a telephone of its own."""
    contact = {"name": "卓玛", "phone": f"138 0013 {number:04d}", "address": "巴河镇1号"}
    return {"contact": contact | {"language": "zh"}}


@pytest.fixture
def limited(
    app_of: Callable[[Settings], Flask], app_settings: Settings, an_order: Builder, token: Token
) -> Callable[..., Callable[..., Any]]:
    """Set limits; returns what places an order as `subject`, an operator unless told otherwise."""

    def limit(**settings: int) -> Callable[..., Any]:
        given = {f"FARMGATE_ORDERS_{name.upper()}": str(value) for name, value in settings.items()}
        changed = Settings.from_environment("orders", {**app_settings.environment, **given})
        client = app_of(changed).test_client()

        def place(*scopes: str, subject: str = "shop", **changes: Any) -> Any:
            headers = token("orders:place", *(scopes or ("orders:operate",)), subject=subject)
            return client.post(ORDERS, json=an_order(**changes), headers=headers)

        return place

    return limit


@pytest.fixture
def decide(client: FlaskClient, token: Token) -> Callable[..., Any]:
    """Let an operator approve or decline an order; returns the whole answer."""

    def do(order: dict[str, Any], word: str, *scopes: str) -> Any:
        headers = token(*(scopes or ("orders:operate",)), subject="chief")
        return client.post(f"{ORDERS}/{order['order_id']}/{word}", json={}, headers=headers)

    return do


# --- Too many -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "collect"), METHODS)
def test_a_buyer_may_have_so_many_unpaid_orders_however_they_are_to_be_paid(
    limited: Any, method: str, collect: bool
) -> None:
    place = limited(open_holds=2)
    buyer = {"subject": "buyer-1", "payment_method": method, "collect": collect}

    answers = [place("orders:read", **buyer, **phone(number)) for number in range(3)]
    other = place("orders:read", **buyer | {"subject": "buyer-2", "buyer_id": None}, **phone(9))

    assert [each.status_code for each in answers] == [202, 202, 409]
    assert answers[2].json["type"] == "/problems/too-many-open-holds"
    assert "pay, collect or cancel" in answers[2].json["detail"]
    assert other.status_code == 202


@pytest.mark.parametrize("spelt", ["13800130000", "+86 138 0013 0000", "0086-138-0013-0000"])
def test_guests_and_invented_buyers_with_one_telephone_share_one_limit(
    limited: Any, database: Database, spelt: str
) -> None:
    place = limited(open_holds=2)
    same = {"contact": phone(0)["contact"] | {"phone": spelt}}

    first = place("orders:place_for", buyer_id=None, **phone(0))
    second = place("orders:place_for", buyer_id="invented-1", **same)
    third = place("orders:place_for", buyer_id="invented-2", **same)

    assert [a.status_code for a in (first, second, third)] == [202, 202, 409]
    assert count_of_orders(database) == 2


def test_nobody_uses_up_another_buyers_limit_by_giving_their_telephone(limited: Any) -> None:
    place = limited(open_holds=1)
    place("orders:read", subject="mallory", buyer_id=None, **phone(0))
    place("orders:place_for", subject="shop", buyer_id="buyer-1", **phone(1))

    victim = place("orders:read", subject="buyer-1", **phone(0))
    again = place("orders:read", subject="buyer-1", **phone(0))

    assert (victim.status_code, victim.json["approval_reason"]) == (202, "others_orders")
    assert again.status_code == 409


def test_a_shop_that_invents_buyers_and_telephones_has_a_limit_of_its_own(limited: Any) -> None:
    place = limited(caller_open_holds=3)

    def of(shop: str, number: int) -> int:
        answer = place(
            "orders:place_for", subject=shop, buyer_id=f"invented-{number}", **phone(number)
        )
        return int(answer.status_code)

    assert [of("shop", number) for number in range(4)] == [202, 202, 202, 409]
    assert of("another", 9) == 202


def test_what_is_paid_handed_over_or_cancelled_counts_no_more(
    limited: Any,
    client: FlaskClient,
    token: Token,
    provider: Any,
    reserve: Any,
    deliver: Any,
    read_order: Any,
) -> None:
    place = limited(open_holds=1)
    buyer = {"subject": "buyer-1"}
    paid = place("orders:read", **buyer, payment_method="prepaid").json
    provider(paid)
    cancelled = place("orders:read", **buyer).json
    assert place("orders:read", **buyer).status_code == 409
    headers = token("orders:place", **buyer)
    client.post(f"{ORDERS}/{cancelled['order_id']}/cancel", json={"reason": "no"}, headers=headers)
    collected = place("orders:read", **buyer, payment_method="cash_at_station", collect=True).json
    about = {"shipment_id": new_id(), "order_id": reserve(collected)}
    deliver(ShipmentPacked, **about)
    deliver(ShipmentDispatched, **about, shipment_ref="SHP-1", lines=[])
    assert place("orders:read", **buyer).status_code == 409
    deliver(ShipmentCollected, **about, collected_fen=FEN)

    assert place("orders:read", **buyer).status_code == 202
    for order in (paid, cancelled, collected):
        assert read_order(order["order_id"]).phone_digest is None


# --- Too much -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "collect"), METHODS)
def test_an_order_beyond_the_value_waits_for_an_operator_and_asks_for_no_stock(
    limited: Any, recorded_events: Recorded, method: str, collect: bool
) -> None:
    place = limited(open_fen=FEN - 1)

    answer = place("orders:read", subject="buyer-1", payment_method=method, collect=collect)

    order = answer.json
    assert (answer.status_code, order["state"], order["awaits_approval"]) == (202, "placed", True)
    assert order["approval_reason"] == "open_value"
    assert types_of(recorded_events()) == ["contact_given", "approval_requested"]
    assert recorded_events()[1][1]["reason"] == "open_value"


def test_small_orders_add_up(limited: Any) -> None:
    place = limited(open_fen=2 * FEN)

    waits = [
        place("orders:place_for", buyer_id=None, **phone(number)).json["awaits_approval"]
        for number in (0, 0, 1, 0)
    ]

    assert waits == [False, False, False, True]


def test_what_waits_for_approval_keeps_nobody_from_ordering_less(
    limited: Any, variant_id: Any
) -> None:
    place = limited(open_fen=FEN)
    small = {"variant_id": str(variant_id), "quantity": 1000}
    large = small | {"quantity": 1500}

    waits = [
        place("orders:place_for", buyer_id=None, lines=[line]).json["awaits_approval"]
        for line in (large, small, small)
    ]

    assert waits == [True, False, True]


def test_a_shops_orders_add_up_whoever_they_are_for(limited: Any) -> None:
    place = limited(caller_open_fen=2 * FEN)

    waits = [
        place("orders:place_for", buyer_id=None, **phone(number)).json["awaits_approval"]
        for number in range(3)
    ]

    assert waits == [False, False, True]


def test_an_operators_orders_have_to_be_approved_and_are_never_refused(limited: Any) -> None:
    place = limited(open_holds=1, caller_open_holds=1)

    first, second, third = place(**phone(0)), place(**phone(0)), place(buyer_id=None, **phone(1))

    assert [a.status_code for a in (first, second, third)] == [202, 202, 202]
    assert [a.json["approval_reason"] for a in (first, second, third)] == [
        None,
        "open_orders",
        None,
    ]


def test_who_prefers_to_wait_does_not_wait_for_an_operator(
    limited: Any, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = limited(open_fen=1)
    monkeypatch.setattr("services.orders.api.waiting.preferred_wait", lambda header: 30)
    monkeypatch.setattr("services.orders.api.waiting._decided", lambda *_: pytest.fail("it waits"))

    assert place().status_code == 202


# --- An operator's word ---------------------------------------------------------------------------


def test_an_approved_order_asks_for_its_stock_once_and_goes_on_as_any_other(
    limited: Any, decide: Any, reserve: Any, recorded_events: Recorded, read_order: Any
) -> None:
    order = limited(open_fen=1)("orders:read", subject="buyer-1").json

    first, again = decide(order, "approve"), decide(order, "approve")

    assert (first.status_code, first.json["awaits_approval"]) == (200, False)
    assert again.json == first.json
    placed = [data for type_, data in recorded_events() if type_ == "orders.order_placed.v1"]
    assert [(p["order_id"], p["total_fen"]) for p in placed] == [(order["order_id"], FEN)]
    assert read_order(reserve(order)).state == OrderState.CONFIRMED
    assert read_order(order["order_id"]).approved_by == "chief"


def test_a_declined_order_is_rejected_and_refunded_and_stock_never_hears_of_it(
    limited: Any, decide: Any, provider: Any, recorded_events: Recorded, read_order: Any
) -> None:
    order = limited(open_fen=1)("orders:read", subject="buyer-1", payment_method="prepaid").json
    provider(order)

    first, again = decide(order, "decline"), decide(order, "decline")

    assert [a.status_code for a in (first, again)] == [200, 200]
    assert (first.json["state"], first.json["reason"]) == ("rejected", "not_approved")
    assert first.json["refunded_fen"] == FEN
    told = types_of(recorded_events())
    assert told.count("order_rejected") == 1
    assert "order_placed" not in told and "order_cancelled" not in told
    assert read_order(order["order_id"]).phone_digest is None


def test_its_buyer_may_withdraw_what_waits_for_approval(
    limited: Any, client: FlaskClient, token: Token, recorded_events: Recorded
) -> None:
    order = limited(open_fen=1)("orders:read", subject="buyer-1").json
    path, body = f"{ORDERS}/{order['order_id']}/cancel", {"reason": "changed_mind"}

    answer = client.post(path, json=body, headers=token("orders:place", subject="buyer-1"))

    assert (answer.json["state"], answer.json["reason"]) == ("rejected", "withdrawn")
    assert types_of(recorded_events())[-1] == "order_rejected"


@pytest.mark.parametrize("word", ["approve", "decline"])
def test_only_an_operator_decides_and_only_what_waits(
    limited: Any, decide: Any, recorded_events: Recorded, word: str
) -> None:
    waits = limited(open_fen=1)("orders:read", subject="buyer-1").json
    stands = limited()("orders:read", subject="buyer-2", buyer_id=None, **phone(2)).json
    before = recorded_events()

    forbidden = decide(waits, word, "orders:place", "orders:read")
    needless = decide(stands, word)

    assert (forbidden.status_code, needless.status_code) == (403, 409)
    assert needless.json["type"] == "/problems/nothing-to-approve"
    assert recorded_events() == before


def test_an_approved_order_is_not_declined_and_a_declined_one_not_approved(
    limited: Any, decide: Any
) -> None:
    place = limited(open_fen=1)
    approved, declined = place(**phone(1)).json, place(**phone(2)).json
    decide(approved, "approve")
    decide(declined, "decline")

    assert decide(approved, "decline").status_code == 409
    assert decide(declined, "approve").status_code == 409


def test_what_waits_for_approval_is_listed(limited: Any, ask: Any, decide: Any) -> None:
    waits, stands = limited(open_fen=1)(**phone(1)).json, limited()(**phone(2)).json
    approved = limited(open_fen=1)(**phone(3)).json
    decide(approved, "approve")

    def listed(value: str) -> set[str]:
        return {o["order_id"] for o in ask(f"orders?awaits_approval={value}")["items"]}

    assert listed("true") == {waits["order_id"]}
    assert listed("false") == {stands["order_id"], approved["order_id"]}
    (wait,) = ask(f"trace/{waits['order_id']}")["waiting_for"]
    assert wait["what"] == "an operator's approval (open_value)"


def test_operators_comparing_the_services_see_that_nobody_was_asked_for_stock(
    limited: Any, ask: Any, decide: Any
) -> None:
    place = limited(open_fen=1)
    waits, declined = place(**phone(1)).json, place(**phone(2)).json
    decide(declined, "decline")

    facts = {f["id"]: f["value"]["state"] for f in ask("verify/facts?kind=orders")["items"]}

    assert facts == {waits["order_id"]: "awaiting_approval", declined["order_id"]: "declined"}


# --- Tills ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("station_price")
def test_an_order_taken_at_a_till_waits_for_approval_and_is_never_refused(
    till: Till,
    an_entry: Builder,
    database: Database,
    recorded_events: Recorded,
) -> None:
    """The buyer has gone home; and an upload may bring more orders than any one request."""
    entries = [an_entry("order", number) for number in range(1, 23)]

    answers = till.upload(*entries)

    assert words(answers) == ["accepted"] * 22
    with database.readers() as reader:
        waiting = [each for each in reader.query(Order) if each.awaits_approval]
    assert [each.approval_reason for each in waiting] == ["open_orders"] * 2
    assert types_of(recorded_events()).count("order_placed") == 20


# --- The rule -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("has", "total_fen", "code"),
    [
        (Open(1, 50), 50, None),
        (Open(1, 50), 51, "open_value"),
        (Open(2, 0), 1, "open_orders"),
        (Open(2, 99), 99, "open_orders"),
        (Open(0, 0), 101, "open_value"),
    ],
)
def test_an_allowance_is_exceeded_by_number_or_by_value(
    has: Open, total_fen: int, code: str | None
) -> None:
    assert exceeded(has, total_fen, Allowance(2, 100)) == code
