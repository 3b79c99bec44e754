"""A refund that orders decides leads to one refund at the payment's provider, whatever fails."""

import sys
from collections.abc import Callable
from datetime import timedelta
from types import FrameType
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text, update
from sqlalchemy.orm import Session

from services.orders import providers, worker
from services.orders.models import ProviderRefund, Refund
from services.orders.providers import standard, stripe, wechatpay
from services.orders.rules.payments import ProviderRefundState
from services.orders.use_cases import refund
from services.orders.use_cases.late import LATE
from shared.runtime import clock
from shared.runtime.config import Settings
from shared.runtime.database import Database
from shared.runtime.errors import Misconfigured
from shared.runtime.ids import new_id
from shared.runtime.late import find, limits_of
from tests.support.payment_providers import (
    FakeStripe,
    OwnProvider,
    fail,
    lose_the_answer,
    refuse_connection,
)

TOTAL = 13_600
NAMES = ("standard", "stripe", "wechatpay")
Paid = Callable[[], dict[str, Any]]


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    """The provider under test."""
    return str(request.param)


@pytest.fixture
def stand_in(request: pytest.FixtureRequest, name: str) -> Any:
    """The stand-in of the provider under test."""
    fixtures = {"standard": "own_provider", "stripe": "stripe", "wechatpay": "wechatpay"}
    return request.getfixturevalue(fixtures[name])


@pytest.fixture
def farm(shop: Any, stand_in: Any) -> Any:
    """Orders with the settings of the provider under test."""
    return shop(stand_in)


@pytest.fixture
def paid(farm: Any, stand_in: Any, place: Any, provider: Any, name: str) -> Paid:
    """Place an order and let the provider under test report its payment."""

    def make() -> dict[str, Any]:
        order = place(payment_method="prepaid")
        ref = f"pi_{new_id().hex}"
        if name == "standard":
            assert provider(order, payment_ref=ref).status_code == 200
            return dict(order)
        stand_in.paid[ref] = TOTAL
        if name == "stripe":
            intent = {"id": ref, "amount": TOTAL, "currency": "cny"}
            intent["metadata"] = {"order_id": order["order_id"]}
            signed = stand_in.event("payment_intent.succeeded", intent)
        else:
            transaction = {
                "transaction_id": ref,
                "out_trade_no": order["order_id"].replace("-", ""),
                "trade_state": "SUCCESS",
                "amount": {"total": TOTAL, "currency": "CNY"},
            }
            signed = stand_in.notification("TRANSACTION.SUCCESS", transaction)
        assert farm.hear(name, signed).status_code == 200
        return dict(order)

    return make


@pytest.fixture
def ask(client: Any, token: Any) -> Callable[..., Any]:
    """Ask or tell orders something about refunds as an operator."""

    def do(method: str, path: str = "", **options: Any) -> Any:
        headers = token("orders:operate")
        return client.open(
            f"/api/orders/v1/refunds{path}", method=method, headers=headers, **options
        )

    return do


def test_a_refund_leads_to_one_call_with_its_amount(
    farm: Any, stand_in: Any, paid: Paid, cancel: Any
) -> None:
    cancel(paid())

    farm.work()
    farm.work()

    assert farm.refunds() == [(TOTAL, "order_cancelled", "done", None)]
    assert stand_in.posts() == len(stand_in.made) == 1


def test_a_refund_whose_answer_is_lost_is_not_made_twice(
    farm: Any, stand_in: Any, paid: Paid, cancel: Any, later: Any
) -> None:
    cancel(paid())
    stand_in.troubles = [lose_the_answer, refuse_connection, fail(500), fail(503), fail(429)]

    for _ in range(6):
        farm.work()
        later(timedelta(hours=2))

    assert farm.refunds() == [(TOTAL, "order_cancelled", "done", None)]
    assert len(stand_in.made) == 1


def test_a_refund_is_not_asked_for_again_before_its_time(
    farm: Any, stand_in: Any, paid: Paid, cancel: Any, later: Any
) -> None:
    cancel(paid())
    stand_in.troubles = [fail(500)] * 9
    asked = []

    for minutes in (0, 0.9, 0.2, 1.9, 0.2, 0):
        later(timedelta(minutes=minutes))
        farm.work()
        asked.append(len(stand_in.asked))

    assert asked == [1, 1, 2, 2, 3, 3]
    ((_, _, state, reason),) = farm.refunds()
    assert (state, reason is None) == ("due", False)


#: Code in which the process may end: the worker's timer, and all that it calls of orders.
PLACES = {
    function.__code__
    for function in (
        worker.run_refunds,
        refund.any_due,
        refund.claim_refunds,
        refund.record_outcome,
        standard.Standard.refund,
        stripe.Stripe.refund,
        stripe.Stripe._made_before,
        wechatpay.WeChatPay.refund,
    )
}


def _kill_at(number: int, run: Callable[[], None]) -> bool:
    """Run and end at the line with this number; return whether it was reached."""
    reached = 0

    def line(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal reached
        if event == "line":
            reached += 1
            if reached == number:
                raise Killed
        return line

    def call(frame: FrameType, event: str, argument: Any) -> Any:
        return line if frame.f_code in PLACES else None

    before = sys.gettrace()
    sys.settrace(call)
    try:
        run()
    except Killed:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.parametrize("harness", ["sqlite"], indirect=True)
def test_a_worker_that_is_killed_at_any_line_makes_each_refund_once(
    farm: Any,
    stand_in: Any,
    paid: Paid,
    cancel: Any,
    database: Database,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    number, found = 0, providers.configured(farm.settings.environment)
    # Reading keys takes longer than all the rest.
    monkeypatch.setattr(providers, "configured", lambda environment: found)
    while True:
        number += 1
        cancel(paid())
        made = len(stand_in.made)
        was_killed = _kill_at(number, farm.work)
        with database.sessions.begin() as session:
            past = clock.now() - timedelta(hours=1)
            waits = update(ProviderRefund).where(ProviderRefund.due_at.is_not(None))
            session.execute(waits.values(due_at=past))
        farm.work()
        assert len(stand_in.made) == made + 1, f"killed at line {number}"
        if not was_killed:
            break

    assert number > 25
    assert {state for _, _, state, _ in farm.refunds()} == {"done"}
    if name != "standard":  # its receiver knows a repetition by the webhook-id
        assert stand_in.posts() == number


def test_a_refund_that_stripe_made_a_day_ago_is_found_though_its_key_is_forgotten(
    shop: Any, stripe: FakeStripe, place: Any, cancel: Any, later: Any
) -> None:
    farm, order = shop(stripe), place(payment_method="prepaid")
    stripe.paid["pi_1"] = 3 * TOTAL
    intent = {"id": "pi_1", "amount": TOTAL, "currency": "cny"}
    intent["metadata"] = {"order_id": order["order_id"]}
    farm.hear("stripe", stripe.event("payment_intent.succeeded", intent))
    cancel(order)
    stripe.troubles = [lose_the_answer]
    farm.work()

    later(timedelta(days=2))
    stripe.forget_keys()
    farm.work()

    assert farm.refunds() == [(TOTAL, "order_cancelled", "done", None)]
    assert stripe.gone["pi_1"] == TOTAL


# --- Refusals -----------------------------------------------------------------------------------

REFUSED = {
    "standard": fail(422),
    "stripe": fail(400, error={"type": "invalid_request_error", "code": "balance_insufficient"}),
    "wechatpay": fail(403, code="NOT_ENOUGH", message="基本账户余额不足，请充值后重新发起"),
}
REASONS = {
    "standard": "http_422",
    "stripe": "balance_insufficient",
    "wechatpay": "not_enough",
}


def test_a_refusal_is_named_to_the_operator_and_can_be_retried(
    farm: Any,
    stand_in: Any,
    paid: Paid,
    cancel: Any,
    later: Any,
    database: Database,
    ask: Any,
    client: Any,
    token: Any,
    name: str,
) -> None:
    order = paid()
    cancel(order)
    stand_in.troubles = [REFUSED[name]]

    farm.work()
    later(timedelta(minutes=10))
    farm.work()

    assert stand_in.posts() == 1
    (listed,) = ask("GET", "?state=refused").json["items"]
    assert (listed["order_ref"], listed["reason"]) == (order["order_ref"], REASONS[name])
    assert listed["provider"] == name
    with database.readers() as session:
        cases = find(session, LATE, limits_of(LATE, {}))["refund_refused"]
    assert [str(case.traced_by) for case in cases] == [order["order_id"]]
    trace = client.get(f"/api/orders/v1/trace/{order['order_id']}", headers=token("operate")).json
    assert REASONS[name] in trace["waiting_for"][-1]["what"]
    assert farm.client.get("/api/orders/v1/verify", headers=token("operate")).json["notes"] != []

    again = ask("POST", f"/{listed['refund_id']}/retry")
    assert (again.status_code, again.json["state"]) == (200, "due")
    farm.work()

    assert farm.refunds() == [(TOTAL, "order_cancelled", "done", None)]
    assert len(stand_in.made) == 1
    assert ask("POST", f"/{listed['refund_id']}/retry").status_code == 409


def test_a_refused_refund_that_was_paid_by_hand_is_settled_and_asked_for_no_more(
    farm: Any, stand_in: Any, paid: Paid, cancel: Any, ask: Any, name: str
) -> None:
    cancel(paid())
    stand_in.troubles = [REFUSED[name]]
    farm.work()
    (listed,) = ask("GET").json["items"]

    for _ in range(2):
        answer = ask("POST", f"/{listed['refund_id']}/settle")
        assert answer.status_code == 200
        assert (answer.json["state"], answer.json["settled_by"]) == ("done", "operator")
    farm.work()

    assert stand_in.posts() == 1
    assert ask("GET", "?state=refused").json["items"] == []


def test_a_refund_that_was_not_refused_can_be_neither_retried_nor_settled(
    farm: Any, paid: Paid, cancel: Any, ask: Any
) -> None:
    cancel(paid())
    farm.work()
    (listed,) = ask("GET").json["items"]

    for what in ("retry", "settle"):
        answer = ask("POST", f"/{listed['refund_id']}/{what}")
        assert (answer.status_code, answer.json["type"]) == (409, "/problems/refund-not-refused")
        unknown = ask("POST", f"/{new_id()}/{what}")
        assert (unknown.status_code, unknown.json["type"]) == (404, "/problems/refund-not-found")


def test_a_refund_that_nobody_answers_is_late(
    farm: Any, stand_in: Any, paid: Paid, cancel: Any, later: Any, database: Database
) -> None:
    order = paid()
    cancel(order)
    stand_in.troubles = [refuse_connection] * 20

    for _ in range(4):
        farm.work()
        later(timedelta(hours=1))

    with database.readers() as session:
        cases = find(session, LATE, limits_of(LATE, {}))["unrefunded"]
    assert [str(case.traced_by) for case in cases] == [order["order_id"]]


# --- What providers answer ------------------------------------------------------------------------


def test_a_refund_that_stripe_reports_as_failed_later_is_refused_and_asked_for_with_a_new_key(
    shop: Any, stripe: FakeStripe, place: Any, cancel: Any, ask: Any
) -> None:
    farm, order = shop(stripe), place(payment_method="prepaid")
    stripe.paid["pi_1"] = TOTAL
    intent = {"id": "pi_1", "amount": TOTAL, "currency": "cny"}
    intent["metadata"] = {"order_id": order["order_id"]}
    farm.hear("stripe", stripe.event("payment_intent.succeeded", intent))
    cancel(order)
    stripe.status = "pending"
    farm.work()
    accepted = farm.refunds()
    (made,) = stripe.made.values()
    failed = made | {"status": "failed", "failure_reason": "declined"}
    stripe.gone.clear()
    made["status"], stripe.status = "failed", "succeeded"

    for _ in range(2):
        assert farm.hear("stripe", stripe.event("refund.failed", failed)).status_code == 200
    refused = farm.refunds()
    (listed,) = ask("GET", "?state=refused").json["items"]
    ask("POST", f"/{listed['refund_id']}/retry")
    farm.work()
    # The news of the first attempt comes once more.
    farm.hear("stripe", stripe.event("refund.failed", failed))

    assert accepted == [(TOTAL, "order_cancelled", "accepted", None)]
    assert refused == [(TOTAL, "order_cancelled", "refused", "declined")]
    assert farm.refunds() == [(TOTAL, "order_cancelled", "done", None)]
    assert len(stripe.made) == 2


def test_a_wrong_key_of_ours_is_no_refusal(
    farm: Any, stand_in: Any, paid: Paid, cancel: Any, name: str
) -> None:
    cancel(paid())
    wrong = {"error": {"type": "invalid_request_error"}} if name == "stripe" else {"code": "SIGN"}
    stand_in.troubles = [fail(401, **wrong)]

    farm.work()

    assert [state for _, _, state, _ in farm.refunds()] == ["due"]


def test_a_payment_at_a_provider_without_settings_for_refunds_waits_for_them(
    shop: Any, stripe: FakeStripe, place: Any, cancel: Any, later: Any
) -> None:
    web = {"FARMGATE_STRIPE_WEBHOOK_SECRET": stripe.webhook_secret}
    farm, order = shop(**web), place(payment_method="prepaid")
    stripe.paid["pi_1"] = TOTAL
    intent = {"id": "pi_1", "amount": TOTAL, "currency": "cny"}
    intent["metadata"] = {"order_id": order["order_id"]}
    farm.hear("stripe", stripe.event("payment_intent.succeeded", intent))
    cancel(order)
    farm.work()
    before = farm.refunds()

    later(timedelta(hours=1))
    shop(stripe).work()

    assert before == [(TOTAL, "order_cancelled", "due", "not_configured")]
    assert farm.refunds() == [(TOTAL, "order_cancelled", "done", None)]


def test_an_own_provider_without_an_address_learns_of_refunds_by_their_event(
    shop: Any, place: Any, provider: Any, cancel: Any
) -> None:
    farm, order = shop(), place(payment_method="prepaid")
    provider(order)
    cancel(order)

    farm.work()

    assert farm.refunds() == [(TOTAL, "order_cancelled", "not_called", None)]


@pytest.mark.parametrize(
    "environment",
    [
        {"FARMGATE_PAYMENT_REFUND_URL": "https://pay.example"},
        {"FARMGATE_PAYMENT_REFUND_SECRET": "whsec_QUFB"},
        {
            "FARMGATE_PAYMENT_REFUND_URL": "pay.example",
            "FARMGATE_PAYMENT_REFUND_SECRET": "whsec_QUFB",
        },
        {"FARMGATE_PAYMENT_REFUND_URL": "https://x", "FARMGATE_PAYMENT_REFUND_SECRET": "whsec_*"},
    ],
)
def test_half_the_settings_of_an_own_providers_refunds_end_the_start(
    environment: dict[str, str],
) -> None:
    with pytest.raises(Misconfigured, match="FARMGATE_PAYMENT_REFUND"):
        providers.configured(environment)


def test_a_redirect_is_not_followed(
    shop: Any, own_provider: OwnProvider, stripe: FakeStripe, place: Any, provider: Any, cancel: Any
) -> None:
    farm, order = shop(own_provider), place(payment_method="prepaid")
    provider(order)
    cancel(order)
    own_provider.troubles = [lambda answer: (302, {}, {"Location": f"{stripe.url}/"})]

    farm.work()

    assert farm.refunds() == [(TOTAL, "order_cancelled", "due", "http_302")]
    assert stripe.asked == []


def test_no_library_of_a_provider_without_settings_is_imported(app_settings: Settings) -> None:
    import subprocess

    code = (
        "import sys\n"
        "from services.orders import worker, providers\n"
        "settings = {'FARMGATE_STRIPE_URL': '', 'FARMGATE_PAYMENT_SECRET': 'whsec_QUFB'}\n"
        "providers.configured(settings)\n"
        "print([m for m in ('stripe', 'wechatpayv3', 'requests') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_a_flush_in_the_middle_of_a_batch_writes_a_refund_before_what_is_done_about_it(
    paid: Paid, farm: Any, session: Session
) -> None:
    order = paid()
    (payment,) = farm.payments()
    moment, refund_id = clock.now(), new_id()
    session.add(
        ProviderRefund(refund_id=refund_id, state=ProviderRefundState.DUE, changed_at=moment)
    )
    session.add(
        Refund(
            id=refund_id,
            payment_id=payment.id,
            order_id=UUID(order["order_id"]),
            amount_fen=1,
            cause="x",
            refunded_at=moment,
        )
    )

    session.flush()  # a foreign key would refuse the other order


def test_refunds_that_were_decided_before_this_version_are_left_alone(
    farm: Any, stand_in: Any, paid: Paid, cancel: Any, database: Database
) -> None:
    cancel(paid())
    with database.sessions.begin() as session:
        session.execute(text("DELETE FROM provider_refunds"))

    farm.work()

    assert farm.refunds() == [(TOTAL, "order_cancelled", None, None)]
    assert stand_in.asked == []
