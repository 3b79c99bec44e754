"""The payment provider's callbacks: signed, booked once, and refunded where they cannot count."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from standardwebhooks.webhooks import Webhook

from services.orders.models import Order, Payment, Refund
from services.orders.worker import run_expiry
from shared.events import StockRefused
from shared.runtime import clock
from shared.runtime.config import Settings
from shared.runtime.database import Database
from shared.runtime.errors import Misconfigured
from shared.runtime.ids import new_id

CALLBACKS = "/api/orders/v1/payments/callbacks"
Place = Callable[..., dict[str, Any]]
Provider = Callable[..., Any]
Reserve = Callable[[dict[str, Any]], UUID]
ReadOrder = Callable[[UUID | str], Order]
Recorded = Callable[[], list[tuple[str, dict[str, Any]]]]


def _types(events: list[tuple[str, dict[str, Any]]]) -> list[str]:
    return [type_.split(".")[1] for type_, _ in events]


def _booked(database: Database) -> tuple[list[Payment], list[Refund]]:
    with database.readers() as reader:
        payments = reader.scalars(select(Payment).order_by(Payment.id)).all()
        return list(payments), list(reader.scalars(select(Refund).order_by(Refund.id)))


@pytest.fixture
def let_expire(
    database: Database, app_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], None]:
    """Let every hold run out, as orders' clock sees it, and run the timer."""

    def do() -> None:
        later = clock.now() + timedelta(hours=1)
        with monkeypatch.context() as moved:
            moved.setattr(clock, "now", lambda: later)
            run_expiry(database, app_settings)

    return do


def test_a_full_payment_confirms_a_reserved_order(
    place: Place,
    reserve: Reserve,
    provider: Provider,
    read_order: ReadOrder,
    recorded_events: Recorded,
) -> None:
    order = place(payment_method="prepaid")
    reserve(order)

    answer = provider(order)

    assert (answer.status_code, answer.json["status"]) == (200, "paid")
    now = read_order(order["order_id"])
    assert (now.state, now.payment_state, now.expires_at) == ("confirmed", "paid", None)
    assert _types(recorded_events())[3:] == ["order_paid", "order_confirmed"]
    assert recorded_events()[-1][1]["due_fen"] == 0


def test_a_payment_may_come_before_the_stock_is_reserved(
    place: Place,
    reserve: Reserve,
    provider: Provider,
    read_order: ReadOrder,
    recorded_events: Recorded,
) -> None:
    order = place(payment_method="prepaid")

    provider(order)
    reserve(order)

    assert read_order(order["order_id"]).state == "confirmed"
    assert _types(recorded_events())[2:] == ["order_paid", "order_confirmed"]


def test_a_callback_told_again_books_once(
    place: Place,
    reserve: Reserve,
    provider: Provider,
    database: Database,
    recorded_events: Recorded,
) -> None:
    order = place(payment_method="prepaid")
    reserve(order)

    first = provider(order, payment_ref="pay-1")
    again = provider(order, payment_ref="pay-1")

    assert (again.status_code, again.json) == (200, first.json)
    assert len(_booked(database)[0]) == 1
    assert _types(recorded_events()).count("order_paid") == 1


@pytest.mark.parametrize("change", [{"amount_fen": 1}, {"order_id": "another"}])
def test_a_reference_with_other_content_is_refused(
    place: Place, provider: Provider, database: Database, change: dict[str, Any]
) -> None:
    order = place(payment_method="prepaid")
    if "order_id" in change:
        change = {"order_id": place(payment_method="prepaid")["order_id"]}
    provider(order, payment_ref="pay-1")

    answer = provider(order, payment_ref="pay-1", **change)

    assert (answer.status_code, answer.json["type"]) == (409, "/problems/payment-already-booked")
    assert [payment.status for payment in _booked(database)[0]] == ["paid"]


@pytest.mark.parametrize("amount_fen", [13_599, 13_601, 1])
def test_a_wrong_amount_goes_back_and_the_order_waits_on(
    place: Place,
    reserve: Reserve,
    provider: Provider,
    read_order: ReadOrder,
    database: Database,
    recorded_events: Recorded,
    amount_fen: int,
) -> None:
    order = place(payment_method="prepaid")
    reserve(order)

    answer = provider(order, amount_fen=amount_fen)

    assert answer.status_code == 200
    now = read_order(order["order_id"])
    assert (now.state, now.payment_state) == ("reserved", "pending")
    assert now.expires_at is not None
    assert now.paid_fen == now.refunded_fen == amount_fen
    (payment,), (refund,) = _booked(database)
    assert (refund.payment_id, refund.cause) == (payment.id, "wrong_amount")
    assert recorded_events()[-1][1]["amount_fen"] == amount_fen
    assert provider(order).status_code == 200
    assert read_order(order["order_id"]).state == "confirmed"


def test_an_order_paid_twice_gives_the_second_payment_back(
    place: Place, reserve: Reserve, provider: Provider, read_order: ReadOrder, database: Database
) -> None:
    order = place(payment_method="prepaid")
    reserve(order)
    provider(order, payment_ref="pay-1")

    provider(order, payment_ref="pay-2")

    now = read_order(order["order_id"])
    assert (now.state, now.payment_state) == ("confirmed", "paid")
    assert now.paid_fen - now.refunded_fen == now.total_fen
    payments, (refund,) = _booked(database)
    assert refund.cause == "already_paid"
    assert refund.payment_id == next(p.id for p in payments if p.payment_ref == "pay-2")


def test_a_cash_order_gives_a_payment_back(
    place: Place, provider: Provider, read_order: ReadOrder, database: Database
) -> None:
    order = place()

    provider(order)

    now = read_order(order["order_id"])
    assert (now.payment_state, now.refunded_fen) == ("cod_due", now.total_fen)
    assert _booked(database)[1][0].cause == "not_prepaid"


def test_a_failure_that_comes_after_the_success_is_answered_and_changes_nothing(
    place: Place, provider: Provider, database: Database, recorded_events: Recorded
) -> None:
    order = place(payment_method="prepaid")
    paid = provider(order, payment_ref="pay-1")
    told = recorded_events()

    answer = provider(order, payment_ref="pay-1", status="failed", reason="declined")

    assert (answer.status_code, answer.json) == (200, paid.json)
    assert [payment.status for payment in _booked(database)[0]] == ["paid"]
    assert recorded_events() == told


@pytest.mark.parametrize(
    "more", [{"fee_fen": 12}, {"payer": {"bank": "ICBC"}}, {"currency": "CNY"}]
)
def test_a_callback_with_fields_that_orders_does_not_know_is_taken(
    place: Place, provider: Provider, read_order: ReadOrder, more: dict[str, Any]
) -> None:
    order = place(payment_method="prepaid")

    assert provider(order, **more).status_code == 200
    assert read_order(order["order_id"]).payment_state == "paid"


def test_a_refund_that_the_provider_made_is_booked_once_by_what_went_back_in_all(
    place: Place,
    reserve: Reserve,
    provider: Provider,
    read_order: ReadOrder,
    database: Database,
    recorded_events: Recorded,
) -> None:
    order = place(payment_method="prepaid")
    reserve(order)
    provider(order, payment_ref="pay-1")

    for refunded_fen in (600, 600, 13_600, 600):
        back = {"payment_ref": "pay-1", "status": "refunded", "refunded_fen": refunded_fen}
        assert provider(order, **back).status_code == 200

    now = read_order(order["order_id"])
    assert (now.state, now.payment_state, now.refunded_fen) == ("cancelled", "refunded", 13_600)
    assert [(each.amount_fen, each.cause) for each in _booked(database)[1]] == [
        (600, "provider_refund"),
        (13_000, "provider_refund"),
    ]
    assert _types(recorded_events())[5:] == ["payment_refunded"] * 2 + ["order_cancelled"]


@pytest.mark.parametrize("back", [{}, {"refunded_fen": 0}, {"refunded_fen": 13_601}])
def test_a_refund_without_its_amount_or_of_more_than_was_paid_is_refused(
    place: Place, provider: Provider, read_order: ReadOrder, back: dict[str, Any]
) -> None:
    order = place(payment_method="prepaid")
    provider(order, payment_ref="pay-1")

    answer = provider(order, payment_ref="pay-1", status="refunded", **back)

    assert (answer.status_code, answer.json["type"]) == (422, "/problems/validation-failed")
    assert "refunded_fen" in answer.json["errors"]
    assert read_order(order["order_id"]).refunded_fen == 0


def test_a_failed_attempt_is_told_and_the_same_reference_may_still_succeed(
    place: Place,
    reserve: Reserve,
    provider: Provider,
    read_order: ReadOrder,
    recorded_events: Recorded,
) -> None:
    order = place(payment_method="prepaid")
    reserve(order)

    provider(order, payment_ref="pay-1", status="failed", reason="no_funds")
    failed = read_order(order["order_id"])
    provider(order, payment_ref="pay-1")

    assert (failed.state, failed.payment_state) == ("reserved", "failed")
    assert read_order(order["order_id"]).state == "confirmed"
    assert _types(recorded_events())[3:] == ["payment_failed", "order_paid", "order_confirmed"]
    assert recorded_events()[3][1]["reason"] == "no_funds"


def test_money_for_a_cancelled_order_goes_back_at_once(
    client: FlaskClient,
    token: Callable[..., dict[str, str]],
    place: Place,
    provider: Provider,
    read_order: ReadOrder,
    recorded_events: Recorded,
) -> None:
    order = place(payment_method="prepaid")
    client.post(
        f"/api/orders/v1/orders/{order['order_id']}/cancel",
        json={"reason": "changed_mind"},
        headers=token("orders:place", subject="shop"),
    )

    provider(order)

    now = read_order(order["order_id"])
    assert (now.state, now.payment_state) == ("cancelled", "refunded")
    assert _types(recorded_events())[-2:] == ["order_cancelled", "payment_refunded"]
    assert recorded_events()[-1][1]["cause"] == "order_cancelled"


def test_unpaid_prepaid_orders_expire_and_release_cash_never_does_and_paid_ones_stay(
    place: Place,
    reserve: Reserve,
    provider: Provider,
    read_order: ReadOrder,
    let_expire: Callable[[], None],
    recorded_events: Recorded,
) -> None:
    """A prepaid order waits for its money and no longer; cash has nothing to wait for.

    Reported in vendure#3509, #2030; shopperlabs/shopper#607; saleor#8313, #11257.
    """
    unpaid, paid = place(payment_method="prepaid"), place(payment_method="prepaid")
    cash = place()
    at_station = place(payment_method="cash_at_station", collect=True)
    for order in (unpaid, paid, cash, at_station):
        reserve(order)
    provider(paid)

    let_expire()

    states = [read_order(o["order_id"]).state for o in (unpaid, paid, cash, at_station)]
    assert states == ["expired", "confirmed", "confirmed", "confirmed"]
    expired = [data for type_, data in recorded_events() if "expired" in type_]
    assert [data["order_id"] for data in expired] == [unpaid["order_id"]]


def test_the_buyer_of_a_prepaid_order_is_asked_for_its_money_when_the_goods_are_reserved(
    place: Place, reserve: Reserve, provider: Provider, recorded_events: Recorded
) -> None:
    unpaid, paid = place(payment_method="prepaid"), place(payment_method="prepaid")
    provider(paid)
    for order in (unpaid, paid, place()):
        reserve(order)

    asked = [data for type_, data in recorded_events() if "payment_requested" in type_]
    assert [(data["order_id"], data["amount_fen"]) for data in asked] == [
        (unpaid["order_id"], 13_600)
    ]


def test_a_paid_order_is_never_stuck_for_stock(
    place: Place,
    provider: Provider,
    read_order: ReadOrder,
    deliver: Callable[..., Any],
    recorded_events: Recorded,
) -> None:
    """Money received ends in goods or goes back; no paid order waits for stock for ever.

    Reported in vendure#3509, #2030; shopperlabs/shopper#607; saleor#8313, #11257.
    """
    order = place(payment_method="prepaid")
    provider(order)

    deliver(StockRefused, order_id=UUID(order["order_id"]), shortfalls=[])

    now = read_order(order["order_id"])
    assert (now.state, now.payment_state) == ("rejected", "refunded")
    assert _types(recorded_events())[2:] == ["order_paid", "order_rejected", "payment_refunded"]


def test_a_hold_that_still_runs_does_not_expire(
    place: Place,
    reserve: Reserve,
    read_order: ReadOrder,
    database: Database,
    app_settings: Settings,
) -> None:
    order = place(payment_method="prepaid")
    reserve(order)

    run_expiry(database, app_settings)

    now = read_order(order["order_id"])
    assert now.state == "reserved"
    assert now.expires_at is not None
    assert timedelta(seconds=890) < now.expires_at - clock.now() <= timedelta(seconds=900)


@pytest.mark.parametrize("there_is_stock", [True, False])
def test_money_after_the_expiry_holds_again_or_goes_back(
    place: Place,
    reserve: Reserve,
    provider: Provider,
    read_order: ReadOrder,
    let_expire: Callable[[], None],
    deliver: Callable[..., Any],
    recorded_events: Recorded,
    there_is_stock: bool,
) -> None:
    order = place(payment_method="prepaid")
    reserve(order)
    let_expire()

    provider(order)
    asked_again = read_order(order["order_id"])
    if there_is_stock:
        reserve(order)
    else:
        deliver(StockRefused, order_id=UUID(order["order_id"]), shortfalls=[])

    assert (asked_again.state, asked_again.payment_state) == ("placed", "paid")
    now = read_order(order["order_id"])
    assert now.state == ("confirmed" if there_is_stock else "rejected")
    assert now.refunded_fen == (0 if there_is_stock else now.total_fen)
    told = _types(recorded_events())[3:]
    assert told[:3] == ["order_expired", "order_paid", "order_reinstated"]
    ending = ["order_confirmed"] if there_is_stock else ["order_rejected", "payment_refunded"]
    assert told[3:] == ending


# --- Bad callbacks ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"order_id": str(UUID(int=1))}, "unknown-order"),
        ({"amount_fen": 0}, "validation-failed"),
        ({"amount_fen": -5}, "validation-failed"),
        ({"amount_fen": 10**15}, "validation-failed"),
        ({"amount_fen": "100"}, "validation-failed"),
        ({"status": "maybe"}, "validation-failed"),
        ({"payment_ref": ""}, "validation-failed"),
        ({"payment_ref": "pay 1\n"}, "validation-failed"),
        ({"currency": "USD"}, "validation-failed"),
    ],
)
def test_a_bad_callback_is_refused_and_books_nothing(
    place: Place,
    provider: Provider,
    database: Database,
    change: dict[str, Any],
    problem: str,
) -> None:
    order = place(payment_method="prepaid")

    answer = provider(order, **change)

    assert (answer.status_code, answer.json["type"]) == (422, f"/problems/{problem}")
    assert _booked(database) == ([], [])


@pytest.fixture
def forged(place: Place) -> Callable[..., tuple[str, dict[str, str]]]:
    """Make a callback signed with a secret of one's own, or as `changes` to its headers say."""

    def make(moment: datetime, **changes: str | None) -> tuple[str, dict[str, str]]:
        order = place(payment_method="prepaid")
        body = json.dumps(
            {
                "payment_ref": f"pay-{new_id()}",
                "order_id": order["order_id"],
                "amount_fen": order["total_fen"],
                "status": "paid",
            }
        )
        foreign = Webhook("whsec_" + "QUFB" * 8)
        headers = {
            "Content-Type": "application/json",
            "webhook-id": "msg-1",
            "webhook-timestamp": str(int(moment.timestamp())),
            "webhook-signature": foreign.sign("msg-1", moment, body),
        }
        merged = {**headers, **{key.replace("_", "-"): value for key, value in changes.items()}}
        return body, {name: value for name, value in merged.items() if value is not None}

    return make


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"webhook_signature": None},
        {"webhook_signature": ""},
        {"webhook_signature": "v1"},
        {"webhook_signature": "v1,!!!"},
        {"webhook_signature": "v1,QUJD v1,QUJD"},
        {"webhook_signature": "v2,QUJD"},
        {"webhook_id": None},
        {"webhook_timestamp": None},
        {"webhook_timestamp": "yesterday"},
        {"webhook_timestamp": "inf"},
        {"webhook_timestamp": "nan"},
    ],
)
def test_a_callback_that_the_provider_did_not_sign_is_refused(
    client: FlaskClient,
    forged: Callable[..., tuple[str, dict[str, str]]],
    database: Database,
    changes: dict[str, str | None],
) -> None:
    body, headers = forged(clock.now(), **changes)

    answer = client.post(CALLBACKS, data=body, headers=headers)

    assert (answer.status_code, answer.json["type"]) == (401, "/problems/invalid-signature")
    assert _booked(database) == ([], [])


def test_a_callback_signed_too_long_ago_or_changed_afterwards_is_refused(
    client: FlaskClient, place: Place, app_settings: Settings, database: Database
) -> None:
    order, now = place(payment_method="prepaid"), clock.now()
    secret_file = app_settings.environment["FARMGATE_PAYMENT_SECRET_FILE"]
    with open(secret_file, encoding="utf-8") as file:
        signer = Webhook(file.read().strip())
    facts = {"payment_ref": "pay-1", "order_id": order["order_id"], "amount_fen": 1}
    body = json.dumps(facts | {"status": "paid"})

    def send(moment: datetime, sent: str) -> int:
        headers = {
            "Content-Type": "application/json",
            "webhook-id": "msg-1",
            "webhook-timestamp": str(int(moment.timestamp())),
            "webhook-signature": signer.sign("msg-1", moment, body),
        }
        return client.post(CALLBACKS, data=sent, headers=headers).status_code

    assert send(now - timedelta(minutes=6), body) == 401
    assert send(now + timedelta(minutes=6), body) == 401
    assert send(now, body.replace("1,", "2,")) == 401
    assert send(now, body + "\xff") == 401
    assert _booked(database) == ([], [])
    assert send(now, body) == 200


@pytest.mark.parametrize("secret", ["whsec_", "whsec_*"])
def test_a_malformed_secret_ends_the_start_and_is_named(
    app_of: Callable[[Settings], Flask], app_settings: Settings, secret: str
) -> None:
    environment = dict(app_settings.environment)
    del environment["FARMGATE_PAYMENT_SECRET_FILE"]
    environment["FARMGATE_PAYMENT_SECRET"] = secret

    with pytest.raises(Misconfigured, match="FARMGATE_PAYMENT_SECRET"):
        app_of(Settings.from_environment("orders", environment))


@pytest.mark.parametrize("secret", [None, ""])
def test_without_a_secret_the_route_names_the_setting(
    app_of: Callable[[Settings], Flask],
    app_settings: Settings,
    forged: Callable[..., tuple[str, dict[str, str]]],
    secret: str | None,
) -> None:
    environment = dict(app_settings.environment)
    del environment["FARMGATE_PAYMENT_SECRET_FILE"]
    if secret is not None:
        environment["FARMGATE_PAYMENT_SECRET"] = secret
    client = app_of(Settings.from_environment("orders", environment)).test_client()
    body, headers = forged(clock.now())

    answer = client.post(CALLBACKS, data=body, headers=headers)

    assert (answer.status_code, answer.json["type"]) == (503, "/problems/payments-not-configured")
    assert "FARMGATE_PAYMENT_SECRET" in answer.json["detail"]


def test_while_a_secret_is_replaced_both_are_taken(
    app_of: Callable[[Settings], Flask],
    app_settings: Settings,
    forged: Callable[..., tuple[str, dict[str, str]]],
) -> None:
    environment = dict(app_settings.environment)
    del environment["FARMGATE_PAYMENT_SECRET_FILE"]
    environment["FARMGATE_PAYMENT_SECRET"] = f"whsec_{'QkJC' * 8} whsec_{'QUFB' * 8}"
    client = app_of(Settings.from_environment("orders", environment)).test_client()
    body, headers = forged(clock.now())

    assert client.post(CALLBACKS, data=body, headers=headers).status_code == 200
