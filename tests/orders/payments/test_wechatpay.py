"""WeChat Pay: signed and encrypted notifications. The stand-in speaks WeChat Pay's format (v3)."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.orders import providers
from services.orders.models import Order
from shared.runtime.errors import Misconfigured
from tests.support.chance import examples
from tests.support.payment_providers import FakeWeChatPay

ReadOrder = Callable[[Any], Order]
Recorded = Callable[[], list[tuple[str, dict[str, Any]]]]
TOTAL = 13_600
TRANSACTION = "4200001234202611301234567890"
SUCCESS = {"code": "SUCCESS", "message": ""}


def a_transaction(order: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Make the resource of a payment's notification."""
    return {
        "mchid": "1900000001",
        "appid": "wxd678efh567hg6787",
        "out_trade_no": order["order_id"].replace("-", ""),
        "transaction_id": TRANSACTION,
        "trade_type": "JSAPI",
        "trade_state": "SUCCESS",
        "trade_state_desc": "支付成功",
        "bank_type": "OTHERS",
        "attach": "",
        "success_time": "2026-11-30T13:29:35+08:00",
        "payer": {"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"},
        "amount": {"total": TOTAL, "payer_total": TOTAL, "currency": "CNY"},
    } | changes


class Paid:
    """A shop with one prepaid order."""

    def __init__(self, shop: Any, wechatpay: FakeWeChatPay, order: dict[str, Any]) -> None:
        self.shop, self.wechatpay, self.order = shop, wechatpay, order
        wechatpay.paid[TRANSACTION] = TOTAL

    def tell(self, kind: str, found: dict[str, Any], **signing: Any) -> Any:
        """Send a notification about a resource."""
        return self.shop.hear("wechatpay", self.wechatpay.notification(kind, found, **signing))


@pytest.fixture
def unpaid(shop: Any, wechatpay: FakeWeChatPay, place: Any, reserve: Any) -> Paid:
    """A shop with one prepaid order that waits for its payment."""
    order = place(payment_method="prepaid")
    reserve(order)
    return Paid(shop(wechatpay), wechatpay, order)


@pytest.fixture
def paid(unpaid: Paid) -> Paid:
    """A shop with one order that was paid."""
    assert unpaid.tell("TRANSACTION.SUCCESS", a_transaction(unpaid.order)).status_code == 200
    return unpaid


@pytest.mark.parametrize("names_it_by", ["id", "reference", "reference_and_number"])
def test_a_payment_confirms_its_order_and_its_repetition_changes_nothing(
    unpaid: Paid, read_order: ReadOrder, recorded_events: Recorded, names_it_by: str
) -> None:
    ref = unpaid.order["order_ref"]
    number = {"id": unpaid.order["order_id"].replace("-", ""), "reference": ref}
    found = a_transaction(unpaid.order, out_trade_no=number.get(names_it_by, f"{ref}_2"))

    answers = [unpaid.tell("TRANSACTION.SUCCESS", found) for _ in range(2)]

    assert [(each.status_code, each.json) for each in answers] == [(200, SUCCESS)] * 2
    assert read_order(unpaid.order["order_id"]).state == "confirmed"
    assert [type_ for type_, _ in recorded_events()].count("orders.order_paid.v1") == 1
    assert [(each.provider, each.payment_ref) for each in unpaid.shop.payments()] == [
        ("wechatpay", TRANSACTION)
    ]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"out_trade_no": "0198d1f26a3b7c4d8e5f0123456789ad"}, 422),
        ({"out_trade_no": "ORD-UNKNOWN_1"}, 422),
        ({"out_trade_no": "\x00"}, 422),
        ({"amount": {"total": TOTAL, "currency": "USD"}}, 422),
        ({"amount": {"total": 0, "currency": "CNY"}}, 400),
        ({"amount": None}, 400),
        ({"transaction_id": None}, 400),
        ({"transaction_id": "1 2"}, 400),
    ],
)
def test_a_payment_that_cannot_be_booked_is_refused_in_the_form_of_wechat_pay(
    unpaid: Paid, change: dict[str, Any], status: int
) -> None:
    answer = unpaid.tell("TRANSACTION.SUCCESS", a_transaction(unpaid.order, **change))

    assert (answer.status_code, answer.json["code"]) == (status, "FAIL")
    assert answer.json["message"]
    assert unpaid.shop.payments() == []


def test_a_wrong_amount_is_booked_and_goes_back(unpaid: Paid, read_order: ReadOrder) -> None:
    unpaid.wechatpay.paid[TRANSACTION] = 500
    found = a_transaction(unpaid.order, amount={"total": 500, "payer_total": 400})

    assert unpaid.tell("TRANSACTION.SUCCESS", found).json == SUCCESS
    unpaid.shop.work()

    assert unpaid.shop.refunds() == [(500, "wrong_amount", "done", None)]
    assert unpaid.wechatpay.gone == {TRANSACTION: 500}
    assert read_order(unpaid.order["order_id"]).payment_state == "pending"


@pytest.mark.parametrize(
    "signing",
    [
        {"age": 301},
        {"age": -330},
        {"api_v3_key": "0" * 32},
        {"serial": "PUB_KEY_ID_0000"},
        {"serial": "5157F09EFDC096DE15EBE81A47057A7232F1B8E1"},
        {"signer": rsa.generate_private_key(public_exponent=65537, key_size=2048)},
    ],
)
def test_a_notification_that_is_old_or_not_wechat_pays_is_refused(
    unpaid: Paid, signing: dict[str, Any]
) -> None:
    answer = unpaid.tell("TRANSACTION.SUCCESS", a_transaction(unpaid.order), **signing)

    assert (answer.status_code, answer.json["code"]) == (401, "FAIL")
    assert unpaid.shop.payments() == []
    # A serial that is not known makes orders ask nobody.
    assert unpaid.wechatpay.asked == []


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Wechatpay-Signature", None),
        ("Wechatpay-Signature", ""),
        ("Wechatpay-Signature", "WECHATPAY/SIGNTEST/AAAA"),
        ("Wechatpay-Signature", "\xe9"),
        ("Wechatpay-Timestamp", None),
        ("Wechatpay-Timestamp", "yesterday"),
        ("Wechatpay-Timestamp", "9" * 40),
        ("Wechatpay-Serial", None),
        ("Wechatpay-Serial", "zz"),
        ("Wechatpay-Nonce", "another"),
        ("Wechatpay-Signature-Type", "WECHATPAY2-SM2-WITH-SM3"),
    ],
)
def test_a_notification_with_other_headers_is_refused(
    unpaid: Paid, header: str, value: str | None
) -> None:
    body, headers = unpaid.wechatpay.notification(
        "TRANSACTION.SUCCESS", a_transaction(unpaid.order)
    )
    given = {n: v for n, v in (headers | {header: value}).items() if v is not None}

    answer = unpaid.shop.hear("wechatpay", (body, given))

    assert (answer.status_code, answer.json["code"]) == (401, "FAIL")


def test_a_changed_body_is_refused(unpaid: Paid) -> None:
    body, headers = unpaid.wechatpay.notification(
        "TRANSACTION.SUCCESS", a_transaction(unpaid.order)
    )

    for changed in (body.replace(b"SUCCESS", b"FAILURE"), body + b"\xff", b"", b"[]"):
        assert unpaid.shop.hear("wechatpay", (changed, headers)).status_code == 401


@pytest.mark.parametrize("kind", ["PAYSCORE.USER_OPEN_SERVICE", "MCHTRANSFER.BILL.FINISHED"])
def test_news_that_is_not_about_an_order_is_answered_and_ignored(unpaid: Paid, kind: str) -> None:
    answer = unpaid.tell(kind, {"anything": 1})

    assert (answer.status_code, answer.json) == (200, SUCCESS)


@pytest.mark.parametrize("harness", ["sqlite"], indirect=True)
@settings(
    max_examples=examples(40),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    more=st.dictionaries(
        st.text(min_size=1, max_size=8).map("new_{}".format),
        st.none() | st.integers() | st.text(max_size=5) | st.lists(st.booleans(), max_size=2),
    )
)
def test_a_notification_with_unknown_fields_is_taken(unpaid: Paid, more: dict[str, Any]) -> None:
    found = a_transaction(unpaid.order) | more
    found["amount"] |= more

    answer = unpaid.tell("TRANSACTION.SUCCESS", found)

    assert (answer.status_code, answer.json) == (200, SUCCESS)
    assert [each.status for each in unpaid.shop.payments()] == ["paid"]


def test_with_a_platform_certificate_its_serial_number_names_the_key(
    shop: Any, wechatpay: FakeWeChatPay, place: Any, read_order: ReadOrder
) -> None:
    order, name = (
        place(payment_method="prepaid"),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Tenpay.com sign")]),
    )
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(wechatpay.platform.public_key())
        .serial_number(0x0157F09EFDC096DE15EBE81A47057A7232F1B8E1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(wechatpay.platform, SHA256())
    )
    environment = wechatpay.settings()
    del environment["FARMGATE_WECHATPAY_PLATFORM_KEY_ID"]
    pem = certificate.public_bytes(Encoding.PEM).decode()
    farm = shop(**environment | {"FARMGATE_WECHATPAY_PLATFORM_KEY": pem})
    signed = wechatpay.notification(
        "TRANSACTION.SUCCESS",
        a_transaction(order),
        serial="0157F09EFDC096DE15EBE81A47057A7232F1B8E1",
    )

    assert farm.hear("wechatpay", signed).status_code == 200
    assert read_order(order["order_id"]).payment_state == "paid"


# --- Refunds --------------------------------------------------------------------------------------


def test_a_refund_on_the_merchants_platform_is_booked_once(
    paid: Paid, read_order: ReadOrder, recorded_events: Recorded
) -> None:
    found = [paid.wechatpay.refund_by_hand(TRANSACTION, fen) for fen in (3_600, 10_000)]

    for each in [*found, *found]:
        assert paid.tell("REFUND.SUCCESS", each).json == SUCCESS
    paid.shop.work()

    now = read_order(paid.order["order_id"])
    assert (now.state, now.payment_state, now.refunded_fen) == ("cancelled", "refunded", TOTAL)
    assert paid.shop.refunds() == [
        (3_600, "provider_refund", "done", None),
        (10_000, "provider_refund", "done", None),
    ]
    assert paid.wechatpay.posts() == 0


def test_a_refund_of_ours_that_is_under_way_is_done_when_it_is_told(
    paid: Paid, cancel: Any
) -> None:
    cancel(paid.order)
    paid.wechatpay.status = "PROCESSING"
    paid.shop.work()
    accepted = paid.shop.refunds()
    (key,) = paid.wechatpay.made

    for _ in range(2):
        found = paid.wechatpay.refund_resource(key)
        assert paid.tell("REFUND.SUCCESS", found).json == SUCCESS

    assert accepted == [(TOTAL, "order_cancelled", "accepted", None)]
    assert paid.shop.refunds() == [(TOTAL, "order_cancelled", "done", None)]


def test_a_refund_under_way_is_asked_about_until_it_is_over(
    paid: Paid, cancel: Any, later: Any
) -> None:
    cancel(paid.order)
    paid.wechatpay.status = "PROCESSING"
    paid.shop.work()
    (made,) = paid.wechatpay.made.values()
    later(timedelta(hours=2))
    paid.shop.work()
    made["status"] = "SUCCESS"
    later(timedelta(hours=2))
    paid.shop.work()

    assert paid.shop.refunds() == [(TOTAL, "order_cancelled", "done", None)]
    assert [method for method, _ in paid.wechatpay.asked] == ["POST", "GET", "GET"]


@pytest.mark.parametrize(("status", "asked_again"), [("CLOSED", 2), ("ABNORMAL", 1)])
def test_a_refund_that_failed_is_refused_and_only_a_closed_one_gets_another_number(
    paid: Paid, cancel: Any, client: Any, token: Any, status: str, asked_again: int
) -> None:
    cancel(paid.order)
    paid.wechatpay.status = "PROCESSING"
    paid.shop.work()
    (key,) = paid.wechatpay.made
    paid.wechatpay.gone.clear()
    failed = paid.wechatpay.refund_resource(key, status)

    for _ in range(2):
        assert paid.tell(f"REFUND.{status}", failed).json == SUCCESS
    assert paid.shop.refunds() == [(TOTAL, "order_cancelled", "refused", status.lower())]
    paid.wechatpay.made[key]["status"] = status
    paid.wechatpay.status = "SUCCESS"
    listed = client.get("/api/orders/v1/refunds", headers=token("orders:operate")).json["items"]
    path = f"/api/orders/v1/refunds/{listed[0]['refund_id']}/retry"
    assert client.post(path, headers=token("orders:operate")).status_code == 200
    paid.shop.work()
    paid.tell(f"REFUND.{status}", failed)

    assert len(paid.wechatpay.made) == asked_again
    state = "done" if status == "CLOSED" else "refused"
    assert [found for _, _, found, _ in paid.shop.refunds()] == [state]


def test_an_answer_that_wechat_pay_did_not_sign_is_no_answer(
    paid: Paid, cancel: Any, later: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancel(paid.order)
    with monkeypatch.context() as forged:
        forged.setattr(paid.wechatpay, "platform", paid.wechatpay.merchant)
        paid.shop.work()
    doubted = paid.shop.refunds()
    later(timedelta(hours=1))
    paid.shop.work()

    assert doubted == [(TOTAL, "order_cancelled", "due", "unverified_answer")]
    assert paid.shop.refunds() == [(TOTAL, "order_cancelled", "done", None)]
    assert len(paid.wechatpay.made) == paid.wechatpay.posts() == 1


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"MERCHANT_ID": ""}, "MERCHANT_ID"),
        ({"API_V3_KEY": "short"}, "API_V3_KEY"),
        ({"PLATFORM_KEY": "nonsense"}, "PLATFORM_KEY"),
        ({"PLATFORM_KEY": "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----"}, "broken"),
        ({"PLATFORM_KEY_ID": ""}, "PLATFORM_KEY_ID"),
        ({"PRIVATE_KEY": ""}, "PRIVATE_KEY"),
        ({"MERCHANT_SERIAL": ""}, "MERCHANT_SERIAL"),
        ({"PRIVATE_KEY": "nonsense"}, "PRIVATE_KEY"),
        ({"URL": "mch.example"}, "URL"),
        (dict.fromkeys(("MERCHANT_ID", "API_V3_KEY", "PLATFORM_KEY"), ""), "MERCHANT_ID"),
    ],
)
def test_settings_that_cannot_be_used_are_named(
    wechatpay: FakeWeChatPay, changes: dict[str, str], named: str
) -> None:
    environment = wechatpay.settings()
    environment |= {f"FARMGATE_WECHATPAY_{name}": value for name, value in changes.items()}

    with pytest.raises(Misconfigured, match=named):
        providers.configured(environment)
