"""Secrets of endpoints, and the headers of Standard Webhooks 1.0.0.

No secret is stored: each is derived from the operator's key, the endpoint's id and a number. So
neither the database nor a backup of it lets anybody sign.
"""

import base64
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from standardwebhooks.webhooks import Webhook

from shared.runtime.config import Settings, read
from shared.runtime.errors import Misconfigured

SETTING = "FARMGATE_WEBHOOK_KEY"
#: The fewest characters of a key.
SHORTEST_KEY = 32


def key_of(settings: Settings) -> bytes:
    """Return the key from which all secrets are derived.

    Raises:
        Misconfigured: there is none, or it is too short.
    """
    default = settings.data / "keys" / "webhook_key"
    key = read(settings.environment, SETTING, "") or _content(default)
    if len(key) < SHORTEST_KEY:
        raise Misconfigured(
            f"Set {SETTING}_FILE to a file with at least {SHORTEST_KEY} random characters; the "
            "secrets of all webhook endpoints are derived from it."
        )
    return key.encode()


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""


def secret_of(key: bytes, endpoint_id: UUID, number: int) -> str:
    """Return an endpoint's secret of this number, `whsec_…`, 32 bytes in base64."""
    # HKDF-Expand of RFC 5869 with one block: a secret tells nothing about another one.
    derived = hmac.digest(key, f"{endpoint_id}/{number}\x01".encode(), "sha256")
    return f"whsec_{base64.b64encode(derived).decode()}"


def headers_of(
    message_id: str, moment: datetime, body: str, secrets: Sequence[str]
) -> dict[str, str]:
    """Return the headers that sign `body` with each of the secrets.

    The library takes the digits of `moment` as UTC, so it must be in UTC.
    """
    moment = moment.astimezone(UTC)
    signatures = [Webhook(secret).sign(message_id, moment, body) for secret in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
