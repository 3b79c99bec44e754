"""Stand-ins of payment providers on this machine: Stripe, WeChat Pay, and one of one's own.

They speak the real providers' formats, and check and make signatures with the code of the real
libraries. Each stores a refund under its key before it answers, as the real ones do, so that an
answer which is lost can be told from a refund that was not made.
"""

import base64
import json
import secrets
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import stripe
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from standardwebhooks.webhooks import Webhook
from wechatpayv3.utils import rsa_sign, rsa_verify

from shared.runtime import clock

#: The answer to one request: status, body, headers; None: the connection is closed without one.
Reply = tuple[int, dict[str, Any], dict[str, str]] | None


class StandIn:
    """An HTTP server that records its requests and may fail the next ones."""

    def __init__(self) -> None:
        #: Refunds made, by their key.
        self.made: dict[str, dict[str, Any]] = {}
        #: (method, path) of each request.
        self.asked: list[tuple[str, str]] = []
        #: What happens to the next requests, one each; then all go well.
        self.troubles: list[Callable[[Callable[[], Reply]], Reply]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.asked.append((self.command, self.path))
                trouble = outer.troubles.pop(0) if outer.troubles else None
                command, path, headers = self.command, self.path, dict(self.headers)

                def answer() -> Reply:
                    return outer.answer(command, path, headers, body)

                reply = trouble(answer) if trouble else answer()
                if reply is None:
                    self.close_connection = True
                    return
                status, found, more = reply
                sent = json.dumps(found).encode()
                signed = outer.signature(sent) | more
                self.send_response(status)
                for name, value in signed.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(sent)))
                self.end_headers()
                self.wfile.write(sent)

            do_GET = do_POST = _serve

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()

    def posts(self) -> int:
        """Return how many refunds were asked for."""
        return sum(method == "POST" for method, _ in self.asked)

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Reply:
        """Answer one request."""
        raise NotImplementedError

    def signature(self, body: bytes) -> dict[str, str]:
        """Return the headers that sign an answer."""
        return {}


def lose_the_answer(answer: Callable[[], Reply]) -> Reply:
    """Do what is asked, and close the connection instead of answering."""
    answer()
    return None


def refuse_connection(answer: Callable[[], Reply]) -> Reply:
    """Close the connection before anything is done."""
    return None


def fail(status: int, **body: Any) -> Callable[[Callable[[], Reply]], Reply]:
    """Answer with an error, and do nothing."""
    return lambda answer: (status, body, {})


class OwnProvider(StandIn):
    """A provider of one's own: calls back and is called with signatures of Standard Webhooks."""

    def __init__(self) -> None:
        super().__init__()
        self.refund_secret = "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()

    def settings(self) -> dict[str, str]:
        """Return Farmgate's settings for it, beside the secret of its callbacks."""
        return {
            "FARMGATE_PAYMENT_REFUND_URL": f"{self.url}/refunds",
            "FARMGATE_PAYMENT_REFUND_SECRET": self.refund_secret,
        }

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Reply:
        # Not the library's `verify`: a test may have moved the sender's clock.
        name, moment = headers["webhook-id"], int(headers["webhook-timestamp"])
        signed = Webhook(self.refund_secret).sign(
            name, datetime.fromtimestamp(moment, UTC), body.decode()
        )
        assert headers["webhook-signature"] == signed
        self.made.setdefault(name, json.loads(body))
        return 200, {}, {}


class FakeStripe(StandIn):
    """Stripe's refunds, and events signed as Stripe signs them."""

    def __init__(self) -> None:
        super().__init__()
        self.webhook_secret = "whsec_" + secrets.token_hex(16)
        self.api_key = "sk_test_" + secrets.token_hex(8)
        #: By payment intent: what was paid and what went back.
        self.paid: dict[str, int] = {}
        self.gone: dict[str, int] = {}
        #: The status of new refunds.
        self.status = "succeeded"
        #: Answers by idempotency key, which Stripe repeats for a day.
        self._answers: dict[str, Reply] = {}

    def settings(self) -> dict[str, str]:
        """Return Farmgate's settings for it."""
        return {
            "FARMGATE_STRIPE_WEBHOOK_SECRET": self.webhook_secret,
            "FARMGATE_STRIPE_API_KEY": self.api_key,
            "FARMGATE_STRIPE_URL": self.url,
        }

    def event(
        self, kind: str, found: dict[str, Any], secret: str = "", age: float = 0.0
    ) -> tuple[bytes, dict[str, str]]:
        """Return the body and the headers of an event about an object."""
        body = json.dumps(
            {
                "id": f"evt_{secrets.token_hex(8)}",
                "object": "event",
                "api_version": "2026-08-27.basil",
                "created": int(time.time()),
                "livemode": False,
                "pending_webhooks": 1,
                "type": kind,
                "data": {"object": found},
            }
        )
        header = stripe.WebhookSignature.generate_signature_header(
            body, secret or self.webhook_secret, timestamp=int(time.time() - age)
        )
        return body.encode(), {"Content-Type": "application/json", "Stripe-Signature": header}

    def forget_keys(self) -> None:
        """Forget the idempotency keys, as Stripe does after a day."""
        self._answers.clear()

    def refund_by_hand(self, payment_ref: str, amount_fen: int) -> None:
        """Refund in the dashboard."""
        self._make(payment_ref, amount_fen, f"hand-{secrets.token_hex(4)}", {})

    def charge(self, payment_ref: str, order_id: str) -> dict[str, Any]:
        """Return the charge of a payment intent, as charge.refunded has it."""
        return {
            "id": f"ch_{payment_ref[3:]}",
            "object": "charge",
            "amount": self.paid[payment_ref],
            "amount_refunded": self.gone.get(payment_ref, 0),
            "currency": "cny",
            "payment_intent": payment_ref,
            "metadata": {"order_id": order_id},
        }

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Reply:
        if headers.get("Authorization") != f"Bearer {self.api_key}":
            return 401, {"error": {"type": "invalid_request_error"}}, {}
        if method == "GET":
            asked = parse_qs(urlsplit(path).query)["payment_intent"][0]
            data = [made for made in self.made.values() if made["payment_intent"] == asked]
            return (
                200,
                {"object": "list", "url": "/v1/refunds", "has_more": False, "data": data},
                {},
            )
        key = headers["Idempotency-Key"]
        if key not in self._answers:
            form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
            self._answers[key] = self._refund(form, key)
        return self._answers[key]

    def _refund(self, form: dict[str, str], key: str) -> Reply:
        intent, amount = form["payment_intent"], int(form["amount"])
        left = self.paid[intent] - self.gone.get(intent, 0)
        if left < amount:
            code = {"code": "charge_already_refunded"} if not left else {"param": "amount"}
            return 400, {"error": {"type": "invalid_request_error", **code}}, {}
        metadata = {
            name.removeprefix("metadata[").removesuffix("]"): value
            for name, value in form.items()
            if name.startswith("metadata[")
        }
        return 200, self._make(intent, amount, key, metadata), {}

    def _make(self, intent: str, amount: int, key: str, metadata: dict[str, str]) -> dict[str, Any]:
        self.gone[intent] = self.gone.get(intent, 0) + amount
        self.made[key] = {
            "id": f"re_{secrets.token_hex(8)}",
            "object": "refund",
            "amount": amount,
            "currency": "cny",
            "payment_intent": intent,
            "metadata": metadata,
            "status": self.status,
        }
        return self.made[key]


class FakeWeChatPay(StandIn):
    """WeChat Pay's refunds, and notifications signed and encrypted as WeChat Pay does."""

    key_id = "PUB_KEY_ID_0116000000012026000000000000"

    def __init__(self) -> None:
        super().__init__()
        self.api_v3_key = secrets.token_hex(16)
        self.platform, self.merchant = _rsa("platform"), _rsa("merchant")
        #: By transaction: what was paid and what went back.
        self.paid: dict[str, int] = {}
        self.gone: dict[str, int] = {}
        self.status = "SUCCESS"

    def settings(self) -> dict[str, str]:
        """Return Farmgate's settings for it."""
        public = self.platform.public_key()
        return {
            "FARMGATE_WECHATPAY_MERCHANT_ID": "1900000001",
            "FARMGATE_WECHATPAY_MERCHANT_SERIAL": "1DDE55AD98ED71D6EDD4A4A16996DE7B47773A8C",
            "FARMGATE_WECHATPAY_PRIVATE_KEY": self.merchant.private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
            ).decode(),
            "FARMGATE_WECHATPAY_API_V3_KEY": self.api_v3_key,
            "FARMGATE_WECHATPAY_PLATFORM_KEY": public.public_bytes(
                Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
            ).decode(),
            "FARMGATE_WECHATPAY_PLATFORM_KEY_ID": self.key_id,
            "FARMGATE_WECHATPAY_URL": self.url,
        }

    def notification(
        self,
        kind: str,
        found: dict[str, Any],
        *,
        age: float = 0.0,
        api_v3_key: str = "",
        signer: rsa.RSAPrivateKey | None = None,
        serial: str = "",
    ) -> tuple[bytes, dict[str, str]]:
        """Return the body and the headers of a notification about a resource."""
        nonce = secrets.token_hex(6)
        kept = kind.partition(".")[0].lower()
        sealed = AESGCM((api_v3_key or self.api_v3_key).encode()).encrypt(
            nonce.encode(), json.dumps(found).encode(), kept.encode()
        )
        body = json.dumps(
            {
                "id": f"EV-{secrets.token_hex(8)}",
                "create_time": "2026-11-30T13:29:35+08:00",
                "resource_type": "encrypt-resource",
                "event_type": kind,
                "summary": "支付成功",
                "resource": {
                    "original_type": kept,
                    "algorithm": "AEAD_AES_256_GCM",
                    "ciphertext": base64.b64encode(sealed).decode(),
                    "associated_data": kept,
                    "nonce": nonce,
                },
            },
            ensure_ascii=False,
        ).encode()
        headers = self._sign(body, clock.now().timestamp() - age, signer, serial)
        return body, {"Content-Type": "application/json"} | headers

    def refund_by_hand(self, payment_ref: str, amount_fen: int) -> dict[str, Any]:
        """Refund on the merchant's platform; returns the resource of its notification."""
        key = f"hand{secrets.token_hex(8)}"
        self._make(payment_ref, key, amount_fen)
        return self.refund_resource(key)

    def refund_resource(self, key: str, status: str = "SUCCESS") -> dict[str, Any]:
        """Return the resource of a notification about a refund."""
        made = self.made[key]
        return {
            "mchid": "1900000001",
            "out_trade_no": "1",
            "transaction_id": made["transaction_id"],
            "out_refund_no": key,
            "refund_id": made["refund_id"],
            "refund_status": status,
            "user_received_account": "招商银行信用卡0403",
            "amount": {
                "total": self.paid[made["transaction_id"]],
                "refund": made["amount"]["refund"],
                "payer_total": self.paid[made["transaction_id"]],
                "payer_refund": made["amount"]["refund"],
            },
        }

    def signature(self, body: bytes) -> dict[str, str]:
        return self._sign(body, clock.now().timestamp())

    def _sign(
        self,
        body: bytes,
        moment: float,
        signer: rsa.RSAPrivateKey | None = None,
        serial: str = "",
    ) -> dict[str, str]:
        timestamp, nonce = str(int(moment)), secrets.token_hex(16)
        text = f"{timestamp}\n{nonce}\n{body.decode()}\n"
        return {
            "Wechatpay-Timestamp": timestamp,
            "Wechatpay-Nonce": nonce,
            "Wechatpay-Serial": serial or self.key_id,
            "Wechatpay-Signature": rsa_sign(signer or self.platform, text),
            "Wechatpay-Signature-Type": "WECHATPAY2-SHA256-RSA2048",
        }

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Reply:
        scheme, _, parts = headers["Authorization"].partition(" ")
        told = {n: v.strip('"') for n, _, v in (each.partition("=") for each in parts.split(","))}
        first = f"{method}\n{path}\n{told['timestamp']}"
        rest = (told["nonce_str"], body.decode(), told["signature"], self.merchant.public_key())
        if scheme != "WECHATPAY2-SHA256-RSA2048" or not rsa_verify(first, *rest):
            return 401, {"code": "SIGN_ERROR", "message": "签名错误"}, {}
        if method == "GET":
            made = self.made.get(path.rpartition("/")[2])
            if made is None:
                return 404, {"code": "RESOURCE_NOT_EXISTS", "message": "退款单不存在"}, {}
            return 200, made, {}
        asked = json.loads(body)
        key, transaction = asked["out_refund_no"], asked["transaction_id"]
        assert asked["amount"]["currency"] == "CNY"
        assert asked["amount"]["total"] == self.paid[transaction]
        if key not in self.made:
            refund = asked["amount"]["refund"]
            if self.gone.get(transaction, 0) + refund > self.paid[transaction]:
                return 400, {"code": "INVALID_REQUEST", "message": "订单已全额退款"}, {}
            self._make(transaction, key, refund)
        return 200, self.made[key], {}

    def _make(self, transaction: str, key: str, refund: int) -> None:
        self.gone[transaction] = self.gone.get(transaction, 0) + refund
        self.made[key] = {
            "refund_id": f"503{secrets.randbelow(10**12):012d}",
            "out_refund_no": key,
            "transaction_id": transaction,
            "status": self.status,
            "amount": {"refund": refund, "total": self.paid[transaction], "currency": "CNY"},
        }


@cache
def _rsa(of: str) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)
