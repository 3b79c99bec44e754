"""Stripe: signed events in any order, refunds, chargebacks. The stand-in speaks Stripe's format."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stripe import WebhookSignature

from services.orders.models import Order
from shared.runtime.config import Settings
from shared.runtime.errors import Misconfigured
from tests.support.chance import examples
from tests.support.payment_providers import FakeStripe

Place = Callable[..., dict[str, Any]]
ReadOrder = Callable[[Any], Order]
Recorded = Callable[[], list[tuple[str, dict[str, Any]]]]
Change = dict[str, Any]
TOTAL = 13_600


def an_intent(order: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Make a payment intent that was paid."""
    return {
        "id": "pi_1",
        "object": "payment_intent",
        "amount": order["total_fen"],
        "amount_received": order["total_fen"],
        "currency": "cny",
        "status": "succeeded",
        "metadata": {"order_id": order["order_id"], "shop": "x"},
        "last_payment_error": None,
    } | changes


def a_dispute(**changes: Any) -> dict[str, Any]:
    """Make a chargeback of the whole payment."""
    return {
        "id": "dp_1",
        "object": "dispute",
        "amount": TOTAL,
        "currency": "cny",
        "charge": "ch_1",
        "payment_intent": "pi_1",
        "reason": "fraudulent",
        "status": "needs_response",
    } | changes


class Paid:
    """A shop with one prepaid order, reserved and paid by Stripe."""

    def __init__(self, shop: Any, stripe: FakeStripe, order: dict[str, Any]) -> None:
        self.shop, self.stripe, self.order = shop, stripe, order
        stripe.paid["pi_1"] = order["total_fen"]

    def tell(self, kind: str, found: dict[str, Any], **signing: Any) -> Any:
        """Send an event about an object."""
        return self.shop.hear("stripe", self.stripe.event(kind, found, **signing))

    def tell_refunds(self) -> Any:
        """Send what went back so far."""
        return self.tell("charge.refunded", self.stripe.charge("pi_1", self.order["order_id"]))


@pytest.fixture
def unpaid(shop: Any, stripe: FakeStripe, place: Place, reserve: Any) -> Paid:
    """A shop with one prepaid order that waits for its payment."""
    order = place(payment_method="prepaid")
    reserve(order)
    return Paid(shop(stripe), stripe, order)


@pytest.fixture
def paid(unpaid: Paid) -> Paid:
    """A shop with one order that was paid."""
    assert unpaid.tell("payment_intent.succeeded", an_intent(unpaid.order)).status_code == 200
    return unpaid


def _types(events: list[tuple[str, dict[str, Any]]]) -> list[str]:
    return [type_.split(".")[1] for type_, _ in events]


# --- Payments ---------------------------------------------------------------------------------


@pytest.mark.parametrize("names_it_by", ["order_id", "order_ref"])
def test_a_payment_confirms_its_order_and_its_repetition_changes_nothing(
    unpaid: Paid, read_order: ReadOrder, recorded_events: Recorded, names_it_by: str
) -> None:
    intent = an_intent(unpaid.order, metadata={"order_id": unpaid.order[names_it_by]})

    answers = [unpaid.tell("payment_intent.succeeded", intent) for _ in range(2)]

    assert [(each.status_code, each.json) for each in answers] == [(200, {"received": True})] * 2
    assert read_order(unpaid.order["order_id"]).state == "confirmed"
    assert _types(recorded_events())[3:] == ["order_paid", "order_confirmed"]
    assert [(each.provider, each.payment_ref) for each in unpaid.shop.payments()] == [
        ("stripe", "pi_1")
    ]


def test_a_failed_attempt_is_told_and_one_that_comes_after_the_success_is_stale(
    unpaid: Paid, read_order: ReadOrder, recorded_events: Recorded
) -> None:
    error = {"code": "card_declined", "decline_code": "insufficient_funds", "message": "卓玛"}
    failed = an_intent(unpaid.order, last_payment_error=error, amount_received=0)

    assert unpaid.tell("payment_intent.payment_failed", failed).status_code == 200
    assert unpaid.tell("payment_intent.succeeded", an_intent(unpaid.order)).status_code == 200
    assert unpaid.tell("payment_intent.payment_failed", failed).status_code == 200

    assert read_order(unpaid.order["order_id"]).payment_state == "paid"
    assert _types(recorded_events())[3:] == ["payment_failed", "order_paid", "order_confirmed"]
    assert recorded_events()[3][1]["reason"] == "insufficient_funds"
    assert [each.status for each in unpaid.shop.payments()] == ["paid"]


def test_a_wrong_amount_is_booked_and_goes_back_through_stripe(
    unpaid: Paid, read_order: ReadOrder
) -> None:
    unpaid.stripe.paid["pi_1"] = 500

    answer = unpaid.tell(
        "payment_intent.succeeded", an_intent(unpaid.order, amount=500, amount_received=500)
    )
    unpaid.shop.work()

    assert answer.status_code == 200
    assert read_order(unpaid.order["order_id"]).payment_state == "pending"
    assert unpaid.shop.refunds() == [(500, "wrong_amount", "done", None)]
    assert unpaid.stripe.gone == {"pi_1": 500}


@pytest.mark.parametrize(
    ("change", "status", "problem"),
    [
        ({"currency": "usd"}, 422, "wrong-currency"),
        ({"metadata": {"order_id": "0198d1f2-6a3b-7c4d-8e5f-0123456789ad"}}, 422, "unknown-order"),
        ({"metadata": {"order_id": "ORD-UNKNOWN"}}, 422, "unknown-order"),
        ({"metadata": {"order_id": ""}}, 400, "unreadable-news"),
        ({"metadata": {"order_id": "\x00"}}, 400, "unreadable-news"),
        ({"amount": -1, "amount_received": -1}, 400, "unreadable-news"),
        ({"amount": 10**15}, 400, "unreadable-news"),
        ({"amount": "13600"}, 400, "unreadable-news"),
        ({"id": "pi 1\n"}, 400, "unreadable-news"),
        ({"id": None}, 400, "unreadable-news"),
    ],
)
def test_a_payment_that_cannot_be_booked_is_refused_with_a_problem(
    unpaid: Paid, change: Change, status: int, problem: str
) -> None:
    answer = unpaid.tell("payment_intent.succeeded", an_intent(unpaid.order, **change))

    assert (answer.status_code, answer.json["type"]) == (status, f"/problems/{problem}")
    assert unpaid.shop.payments() == []


def test_a_reference_that_is_booked_for_another_order_is_refused(
    paid: Paid, place: Place, reserve: Any
) -> None:
    other = place(payment_method="prepaid")
    reserve(other)

    answer = paid.tell("payment_intent.succeeded", an_intent(other))

    assert (answer.status_code, answer.json["type"]) == (409, "/problems/payment-already-booked")


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("payment_intent.succeeded", {"metadata": {}}),
        ("payment_intent.succeeded", {"metadata": None}),
        ("payment_intent.created", {}),
        ("customer.created", {"id": 5}),
        ("charge.refunded", {"amount_refunded": 5, "metadata": {}}),
    ],
)
def test_news_that_is_not_about_an_order_is_answered_and_ignored(
    unpaid: Paid, kind: str, change: Change
) -> None:
    answer = unpaid.tell(kind, an_intent(unpaid.order, **change))

    assert (answer.status_code, answer.json) == (200, {"received": True})
    assert unpaid.shop.payments() == []


# --- Signatures -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [None, "", "t=1", "v1=abc", "t=x,v1=abc", "t=1700000000,v1=", "t=1e999,v1=\xe9", "nonsense,,="],
)
def test_an_event_without_stripes_signature_is_refused(unpaid: Paid, header: str | None) -> None:
    body, headers = unpaid.stripe.event("payment_intent.succeeded", an_intent(unpaid.order))
    given = {n: v for n, v in (headers | {"Stripe-Signature": header}).items() if v is not None}

    answer = unpaid.shop.hear("stripe", (body, given))

    assert (answer.status_code, answer.json["type"]) == (401, "/problems/invalid-signature")


def test_an_event_that_is_old_changed_or_signed_by_somebody_else_is_refused(unpaid: Paid) -> None:
    intent = an_intent(unpaid.order)
    body, headers = unpaid.stripe.event("payment_intent.succeeded", intent)
    old = unpaid.stripe.event("payment_intent.succeeded", intent, age=301)
    foreign = unpaid.stripe.event("payment_intent.succeeded", intent, secret="whsec_other")
    changed = body.replace(b"13600", b"13601"), headers
    broken = body + b"\xff", headers

    for refused in (old, foreign, changed, broken):
        assert unpaid.shop.hear("stripe", refused).status_code == 401
    assert unpaid.shop.payments() == []
    assert unpaid.shop.hear("stripe", (body, headers)).status_code == 200


def test_while_a_signing_secret_is_rolled_both_are_taken(
    shop: Any, stripe: FakeStripe, place: Place
) -> None:
    order, both = place(payment_method="prepaid"), f"whsec_older {stripe.webhook_secret}"
    rolled = shop(FARMGATE_STRIPE_WEBHOOK_SECRET=both)
    signed = stripe.event("payment_intent.succeeded", an_intent(order), secret="whsec_older")

    assert rolled.hear("stripe", signed).status_code == 200


def test_without_settings_the_route_says_what_to_set(shop: Any, stripe: FakeStripe) -> None:
    answer = shop().hear("stripe", stripe.event("payment_intent.succeeded", {}))

    assert (answer.status_code, answer.json["type"]) == (503, "/problems/payments-not-configured")
    assert "FARMGATE_STRIPE_WEBHOOK_SECRET" in answer.json["detail"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FARMGATE_STRIPE_WEBHOOK_SECRET", "hush"),
        ("FARMGATE_STRIPE_API_KEY", "pk_live_public"),
        ("FARMGATE_STRIPE_URL", "api.stripe.com"),
    ],
)
def test_a_malformed_setting_ends_the_start_and_is_named(
    app_of: Any, app_settings: Settings, name: str, value: str
) -> None:
    environment = dict(app_settings.environment) | {name: value}

    with pytest.raises(Misconfigured, match=name):
        app_of(Settings.from_environment("orders", environment))


# --- Unknown fields -----------------------------------------------------------------------------

_anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2)
    ),
    max_leaves=5,
)


@pytest.mark.parametrize("harness", ["sqlite"], indirect=True)
@settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(more=st.dictionaries(st.text(min_size=1, max_size=8).map("new_{}".format), _anything))
def test_an_event_with_unknown_fields_is_taken(unpaid: Paid, more: dict[str, Any]) -> None:
    body, _ = unpaid.stripe.event("payment_intent.succeeded", an_intent(unpaid.order) | more)
    event = json.loads(body)
    signed = unpaid.stripe.event("", {})
    text = json.dumps(event | more | {"data": event["data"] | more})
    header = WebhookSignature.generate_signature_header(text, unpaid.stripe.webhook_secret)

    answer = unpaid.shop.hear("stripe", (text.encode(), signed[1] | {"Stripe-Signature": header}))

    assert answer.status_code == 200
    assert [each.status for each in unpaid.shop.payments()] == ["paid"]


# --- Money that goes back without orders ----------------------------------------------------------


def test_a_refund_in_the_dashboard_is_booked_once_and_cancels_an_order_that_has_not_left(
    paid: Paid, read_order: ReadOrder, recorded_events: Recorded
) -> None:
    paid.stripe.refund_by_hand("pi_1", 3_600)
    first = paid.stripe.charge("pi_1", paid.order["order_id"])
    assert paid.tell("charge.refunded", first).status_code == 200
    partly = read_order(paid.order["order_id"])
    paid.stripe.refund_by_hand("pi_1", 10_000)
    paid.tell_refunds()
    # News that is old, and that comes again.
    paid.tell("charge.refunded", first)
    paid.tell_refunds()
    paid.shop.work()

    assert (partly.state, partly.payment_state, partly.refunded_fen) == ("confirmed", "paid", 3_600)
    now = read_order(paid.order["order_id"])
    assert (now.state, now.payment_state, now.refunded_fen) == ("cancelled", "refunded", TOTAL)
    assert now.reason == "provider_refund"
    assert paid.shop.refunds() == [
        (3_600, "provider_refund", None, None),
        (10_000, "provider_refund", None, None),
    ]
    assert _types(recorded_events())[5:] == [
        "payment_refunded",
        "payment_refunded",
        "order_cancelled",
    ]
    assert paid.stripe.posts() == 0


def test_a_refund_of_ours_is_not_booked_again_when_stripe_tells_it(
    paid: Paid, cancel: Any, read_order: ReadOrder
) -> None:
    cancel(paid.order)
    paid.shop.work()

    assert paid.tell_refunds().status_code == 200
    assert paid.shop.refunds() == [(TOTAL, "order_cancelled", "done", None)]
    assert read_order(paid.order["order_id"]).refunded_fen == TOTAL


def test_a_refund_by_hand_that_is_faster_than_ours_settles_it_and_nothing_goes_back_twice(
    paid: Paid, cancel: Any
) -> None:
    cancel(paid.order)
    paid.stripe.refund_by_hand("pi_1", TOTAL)

    paid.tell_refunds()
    paid.shop.work()

    assert paid.shop.refunds() == [(TOTAL, "order_cancelled", "done", None)]
    assert (paid.stripe.posts(), paid.stripe.gone["pi_1"]) == (0, TOTAL)


def test_news_about_a_payment_that_is_not_booked_yet_is_to_come_again(
    unpaid: Paid, read_order: ReadOrder
) -> None:
    unpaid.stripe.refund_by_hand("pi_1", TOTAL)

    early = [unpaid.tell_refunds(), unpaid.tell("charge.dispute.created", a_dispute())]
    unpaid.tell("payment_intent.succeeded", an_intent(unpaid.order))
    again = unpaid.tell_refunds()

    assert {(e.status_code, e.json["type"]) for e in early} == {(409, "/problems/unknown-payment")}
    assert again.status_code == 200
    assert read_order(unpaid.order["order_id"]).payment_state == "refunded"


def test_a_refund_by_hand_that_fails_later_comes_again(
    paid: Paid, read_order: ReadOrder, recorded_events: Recorded
) -> None:
    paid.stripe.refund_by_hand("pi_1", 3_600)
    paid.tell_refunds()
    (made,) = paid.stripe.made.values()
    failed = made | {"status": "failed", "failure_reason": "lost_or_stolen_card"}

    for kind in ("refund.failed", "charge.refund.updated"):
        assert paid.tell(kind, failed).status_code == 200

    now = read_order(paid.order["order_id"])
    assert now.paid_fen - now.refunded_fen == TOTAL
    assert recorded_events()[-1] == (
        "orders.refund_reversed.v1",
        recorded_events()[-2][1] | {"cause": "provider_refund", "amount_fen": 3_600},
    )


@pytest.mark.parametrize("news", [["created", "funds_withdrawn"], ["funds_withdrawn", "created"]])
def test_a_chargeback_is_booked_once_and_cancels_an_order_that_has_not_left(
    paid: Paid, read_order: ReadOrder, recorded_events: Recorded, news: list[str]
) -> None:
    for kind in [*news, *news]:
        assert paid.tell(f"charge.dispute.{kind}", a_dispute()).status_code == 200
    assert paid.tell("charge.dispute.closed", a_dispute(status="lost")).status_code == 200
    paid.shop.work()

    now = read_order(paid.order["order_id"])
    assert (now.state, now.payment_state, now.reason) == ("cancelled", "refunded", "chargeback")
    assert paid.shop.refunds() == [(TOTAL, "chargeback", None, None)]
    told = recorded_events()[5:]
    assert [data.get("cause") for _, data in told] == ["chargeback", None]
    assert paid.stripe.posts() == 0


def test_a_chargeback_that_is_won_comes_again_and_old_news_of_it_changes_nothing(
    paid: Paid, read_order: ReadOrder, recorded_events: Recorded
) -> None:
    paid.tell("charge.dispute.created", a_dispute(amount=5_000))
    lost = read_order(paid.order["order_id"])

    paid.tell("charge.dispute.closed", a_dispute(amount=5_000, status="won"))
    for kind in ("created", "funds_withdrawn", "funds_reinstated"):
        assert paid.tell(f"charge.dispute.{kind}", a_dispute(amount=5_000)).status_code == 200

    assert lost.paid_fen - lost.refunded_fen == TOTAL - 5_000
    now = read_order(paid.order["order_id"])
    assert now.paid_fen - now.refunded_fen == TOTAL
    assert _types(recorded_events())[5:] == ["payment_refunded", "refund_reversed"]


def test_a_chargeback_won_for_a_cancelled_order_goes_back_to_the_buyer(
    paid: Paid, read_order: ReadOrder
) -> None:
    paid.tell("charge.dispute.created", a_dispute())

    paid.tell("charge.dispute.closed", a_dispute(status="won"))
    paid.shop.work()

    now = read_order(paid.order["order_id"])
    assert (now.state, now.paid_fen - now.refunded_fen) == ("cancelled", 0)
    assert paid.stripe.gone["pi_1"] == TOTAL


def test_a_dispute_that_is_won_before_its_beginning_is_told_takes_nothing(
    paid: Paid, read_order: ReadOrder
) -> None:
    paid.tell("charge.dispute.closed", a_dispute(status="won"))
    paid.tell("charge.dispute.created", a_dispute())

    assert read_order(paid.order["order_id"]).refunded_fen == 0


def test_an_inquiry_takes_no_money(paid: Paid, read_order: ReadOrder) -> None:
    for kind in ("created", "updated", "closed"):
        found = a_dispute(status="warning_needs_response")
        assert paid.tell(f"charge.dispute.{kind}", found).status_code == 200

    assert read_order(paid.order["order_id"]).refunded_fen == 0


def test_a_chargeback_of_money_that_had_gone_back_is_not_taken_from_the_order_twice(
    paid: Paid, cancel: Any, read_order: ReadOrder
) -> None:
    cancel(paid.order)
    paid.shop.work()

    assert paid.tell("charge.dispute.created", a_dispute()).status_code == 200
    assert paid.tell("charge.dispute.closed", a_dispute(status="won")).status_code == 200

    now = read_order(paid.order["order_id"])
    assert (now.paid_fen, now.refunded_fen) == (TOTAL, TOTAL)
