"""WeChat Pay, API v3: payments and refunds that a merchant is notified of.

https://pay.weixin.qq.com/doc/v3/merchant/4012791882 (payments), …/4012791886 (refunds).
"""

import binascii
import json
import re
from collections.abc import Mapping
from typing import Any, Literal
from uuid import UUID

import msgspec
import requests
import wechatpayv3
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from services.orders.providers import read_together, read_url
from services.orders.providers.news import (
    TIMEOUT,
    TOLERANCE_SECONDS,
    Amount,
    InvalidSignature,
    Ref,
    check_currency,
    code_of,
    read_json,
)
from services.orders.rules.payments import (
    WECHATPAY,
    Attempt,
    News,
    OneRefund,
    Outcome,
    ProviderRefundState,
    RefundFailed,
    RefundRequest,
)
from shared.runtime import clock
from shared.runtime.config import read
from shared.runtime.errors import Misconfigured

_NAME = "FARMGATE_WECHATPAY_"
MERCHANT, API_V3_KEY = f"{_NAME}MERCHANT_ID", f"{_NAME}API_V3_KEY"
PLATFORM_KEY, PLATFORM_KEY_ID = f"{_NAME}PLATFORM_KEY", f"{_NAME}PLATFORM_KEY_ID"
PRIVATE_KEY, SERIAL = f"{_NAME}PRIVATE_KEY", f"{_NAME}MERCHANT_SERIAL"
#: WeChat Pay has a second address, https://api2.mch.weixin.qq.com, for when the first is away.
URL, DEFAULT_URL = f"{_NAME}URL", "https://api.mch.weixin.qq.com"

#: The headers of a signature.
_HEADERS = tuple(
    f"Wechatpay-{name}" for name in ("Signature", "Timestamp", "Nonce", "Serial", "Signature-Type")
)
_STATES = {
    "SUCCESS": ProviderRefundState.DONE,
    "PROCESSING": ProviderRefundState.ACCEPTED,
    "CLOSED": ProviderRefundState.REFUSED,
    "ABNORMAL": ProviderRefundState.REFUSED,
}
_PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----.+?-----END \1-----", re.DOTALL)


class _Paid(msgspec.Struct):
    total: Amount
    currency: str = "CNY"


class _Transaction(msgspec.Struct):
    out_trade_no: str
    transaction_id: Ref
    trade_state: str
    amount: _Paid


class _Back(msgspec.Struct):
    refund: Amount


class _Refund(msgspec.Struct):
    transaction_id: Ref
    out_refund_no: str
    refund_id: Ref
    refund_status: Literal["SUCCESS", "CLOSED", "ABNORMAL"]
    amount: _Back


class _Notification(msgspec.Struct):
    event_type: str


class WeChatPay:
    """A merchant of WeChat Pay."""

    name = WECHATPAY

    def __init__(self, clients: Mapping[str, Any], can_refund: bool) -> None:
        #: By the id of the platform's key with which answers and notifications are signed.
        self._clients = clients
        self.can_verify, self.can_refund = True, can_refund

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "WeChatPay":
        """Read the merchant from its settings.

        Raises:
            Misconfigured: a setting is missing beside the others, or malformed.
        """
        needed = (MERCHANT, API_V3_KEY, PLATFORM_KEY)
        merchant, api_v3_key, platform = read_together(environment, needed, "WeChat Pay")
        private_key, serial = read_together(
            environment, (PRIVATE_KEY, SERIAL), "a refund", optional=True
        )
        if len(api_v3_key.encode()) != 32:
            raise Misconfigured(f"{API_V3_KEY} must have 32 characters, as set at the merchant's.")
        url = read_url(environment, URL, DEFAULT_URL)
        clients = {}
        for key_id, pem in _platform_keys(platform, read(environment, PLATFORM_KEY_ID, "")).items():
            try:
                client = wechatpayv3.WeChatPay(
                    wechatpayv3.WeChatPayType.NATIVE,
                    merchant,
                    private_key or None,
                    serial,
                    "",
                    api_v3_key,
                    timeout=TIMEOUT,
                    public_key=pem,
                    public_key_id=key_id,
                )
            except Exception as error:  # the library raises no other
                raise Misconfigured(
                    f"{PLATFORM_KEY} (pub_key.pem or a certificate) or {PRIVATE_KEY} "
                    f"(apiclient_key.pem) is no PEM of a key: {error}"
                ) from error
            client._core._gate_way = url  # the library has no setting for it
            clients[key_id] = client
        return cls(clients, bool(private_key))

    def verify(self, headers: Mapping[str, str], body: bytes) -> News | None:
        """Return the payment or refund that a notification tells; None for other types."""
        given = {name: headers.get(name.lower(), "") for name in _HEADERS}
        # An unknown serial would make the library ask WeChat Pay for certificates, at anybody's
        # wish; and the library does not look at the moment.
        given["Wechatpay-Serial"] = _serial(given["Wechatpay-Serial"])
        client = self._clients.get(given["Wechatpay-Serial"])
        resource = None
        if client is not None and _is_recent(given["Wechatpay-Timestamp"]):
            resource = _decrypted(client, given, body)
        if resource is None:
            raise InvalidSignature(
                "The notification is not signed by the platform's key, too old, or not encrypted "
                f"with the merchant's APIv3 key; check {PLATFORM_KEY} and {API_V3_KEY}."
            )
        kind = read_json(body, _Notification).event_type
        if kind.startswith("TRANSACTION."):
            return _attempt(read_json(resource, _Transaction))
        if kind.startswith("REFUND."):
            return _refund(read_json(resource, _Refund))
        return None

    def acknowledge(self) -> dict[str, Any]:
        """Return what WeChat Pay expects with 200; without it, it notifies again for a day."""
        return {"code": "SUCCESS", "message": ""}

    def refuse(self, detail: str) -> dict[str, Any] | None:
        """Return what WeChat Pay expects with 4xx or 5xx."""
        return {"code": "FAIL", "message": detail}

    def refund(self, request: RefundRequest) -> Outcome:
        """Refund a transaction, or ask what became of an earlier attempt's refund.

        The key is the `out_refund_no`: WeChat Pay makes one refund for each.
        """
        client = next(iter(self._clients.values()))
        try:
            status, text = 404, ""
            if request.attempt > 1:
                status, text = client.query_refund(request.key)
            if status == 404:
                status, text = client.refund(
                    out_refund_no=request.key,
                    transaction_id=request.payment_ref,
                    amount={
                        "refund": request.amount_fen,
                        "total": request.paid_fen,
                        "currency": "CNY",
                    },
                )
            answer = json.loads(text)
        except requests.RequestException as error:
            return Outcome(ProviderRefundState.DUE, reason=code_of(type(error).__name__))
        except Exception:  # the library raises no other when an answer's signature is wrong
            return Outcome(ProviderRefundState.DUE, reason="unverified_answer")
        if not isinstance(answer, dict):
            return Outcome(ProviderRefundState.DUE, reason=f"http_{status}")
        if 200 <= status < 300:
            state = _STATES.get(str(answer.get("status")), ProviderRefundState.ACCEPTED)
            refused = state == ProviderRefundState.REFUSED
            reason = code_of(answer.get("status")) if refused else None
            # A closed refund is over; only under another number can it be asked for again.
            return Outcome(state, answer.get("refund_id"), reason, new_key=reason == "closed")
        # 401: the merchant's key or serial is not the one that WeChat Pay knows.
        is_later = status in (401, 429) or status >= 500
        state = ProviderRefundState.DUE if is_later else ProviderRefundState.REFUSED
        return Outcome(state, reason=code_of(answer.get("code"), f"http_{status}"))


def _platform_keys(text: str, key_id: str) -> dict[str, str]:
    """Return the platform's keys as PEM by their ids: a public key, certificates, or both.

    Raises:
        Misconfigured: there is none, or the id of the public key is missing.
    """
    found: dict[str, str] = {}
    for match in _PEM.finditer(text):
        if match[1] == "PUBLIC KEY":
            if not key_id:
                raise Misconfigured(f"Set {PLATFORM_KEY_ID} to the public key's PUB_KEY_ID_….")
            # First, since refunds are asked for with the first.
            found = {key_id: match[0], **found}
        elif match[1] == "CERTIFICATE":
            try:
                certificate = x509.load_pem_x509_certificate(match[0].encode())
            except ValueError as error:
                raise Misconfigured(f"{PLATFORM_KEY} holds a broken certificate.") from error
            public = certificate.public_key()
            pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            found[_serial(f"{certificate.serial_number:X}")] = pem.decode()
    if not found and key_id and re.fullmatch(r"[A-Za-z0-9+/=\s]{100,}", text):
        found[key_id] = text  # a public key without its first and last line, as .env can hold it
    if not found:
        raise Misconfigured(
            f"{PLATFORM_KEY} (or {PLATFORM_KEY}_FILE) must hold WeChat Pay's public key "
            "(pub_key.pem) or its platform certificate, as PEM."
        )
    return found


def _serial(text: str) -> str:
    """Return the id of a key; a certificate's serial number in one of its several forms."""
    return text.upper().lstrip("0") if re.fullmatch("[0-9a-fA-F]+", text) else text


def _is_recent(timestamp: str) -> bool:
    if not re.fullmatch("[0-9]{1,12}", timestamp):
        return False
    return abs(clock.now().timestamp() - int(timestamp)) <= TOLERANCE_SECONDS


def _decrypted(client: Any, headers: dict[str, str], body: bytes) -> str | None:
    try:
        found: str | None = client.decrypt_callback(headers, body)
    # The library raises Exception itself for other algorithms than those of the documents.
    except (Exception, binascii.Error):
        return None
    return found


def _attempt(transaction: _Transaction) -> Attempt | None:
    if transaction.trade_state != "SUCCESS":
        return None
    check_currency(transaction.amount.currency)
    order = _order(transaction.out_trade_no)
    return Attempt(transaction.transaction_id, order, transaction.amount.total, "paid")


def _order(out_trade_no: str) -> UUID | str:
    """Return the order of an `out_trade_no`: its id's 32 digits, or ORD-… and _ with a number."""
    if re.fullmatch("[0-9a-fA-F]{32}", out_trade_no):
        return UUID(hex=out_trade_no)
    return out_trade_no.partition("_")[0][:40].replace("\x00", "")


def _refund(refund: _Refund) -> OneRefund | RefundFailed:
    amount_fen = refund.amount.refund
    if refund.refund_status == "SUCCESS":
        return OneRefund(refund.transaction_id, refund.refund_id, refund.out_refund_no, amount_fen)
    return RefundFailed(
        refund.transaction_id,
        refund.refund_id,
        refund.out_refund_no,
        amount_fen,
        code_of(refund.refund_status),
        new_key=refund.refund_status == "CLOSED",
    )
