"""A payment provider's signed callbacks, as the demo's provider sends them.

The provider signs them by Standard Webhooks 1.0.0; orders verifies them with the same secret.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from standardwebhooks import Webhook

from farmgate.client import Client
from farmgate.failures import Failed
from shared.runtime import clock
from shared.runtime.config import read


class Provider:
    """A payment provider that knows orders' secret."""

    def __init__(self, client: Client, secret: str) -> None:
        self._client = client
        self._signer = Webhook(secret)

    def report(self, order_id: str, amount_fen: int, status: str, payment_ref: str) -> None:
        """Tell orders that a payment was `paid` or `failed`; the same reference counts once."""
        body: dict[str, Any] = {
            "payment_ref": payment_ref,
            "order_id": order_id,
            "amount_fen": amount_fen,
            "status": status,
        }
        if status == "failed":
            body["reason"] = "declined"
        text = json.dumps(body)
        message_id, moment = f"msg_{uuid4().hex}", clock.now()
        self._client.call(
            "POST",
            "orders",
            "/payments/callbacks",
            content=text.encode(),
            headers={
                "Content-Type": "application/json",
                "webhook-id": message_id,
                "webhook-timestamp": str(int(moment.timestamp())),
                "webhook-signature": self._signer.sign(message_id, moment, text),
            },
        )


def provider(client: Client, environment: Mapping[str, str]) -> Provider:
    """Return a provider with `FARMGATE_PAYMENT_SECRET`, or the secret of the data folder.

    Raises:
        Failed: there is neither.
    """
    secret = read(environment, "FARMGATE_PAYMENT_SECRET", "")
    if not secret:
        path = Path(read(environment, "FARMGATE_DATA", "var")) / "keys" / "payment_secret"
        try:
            secret = path.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise Failed(
                f"The demo pays orders as their payment provider would, and {path} cannot be "
                "read. Run it where `farmgate up` runs, or set FARMGATE_PAYMENT_SECRET."
            ) from error
    return Provider(client, secret)
