"""API keys of machines: long random secrets, stored as digests, that do not expire.

A token expires, but a till that was offline for a week must still be able to authenticate. One
service issues each key and publishes its scopes as an event, so that every service checks the key
without asking another. SHA-256 suffices for a secret of 256 random bits; slow hashes are for
passwords that people choose.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from uuid import UUID

from sqlalchemy.orm import Session

from shared.runtime.callers import Caller, InvalidToken
from shared.runtime.tables import ApiKey

#: A key is `fgk_`, its id, `_`, and 32 random bytes in base64url.
PREFIX = "fgk_"
SECRET_PATTERN = "[A-Za-z0-9_-]{43}"
_TOKEN = re.compile(f"{PREFIX}([0-9a-f]{{32}})_({SECRET_PATTERN})")


def new_secret() -> str:
    """Return a new secret: 256 random bits, 43 characters."""
    return secrets.token_urlsafe(32)


def digest_of(secret: str) -> str:
    """Return the digest to store for a secret: SHA-256, 64 hexadecimal digits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def token_of(key_id: UUID, secret: str) -> str:
    """Return the bearer token that a client sends for this key."""
    return f"{PREFIX}{key_id.hex}_{secret}"


def apply_key(
    session: Session,
    key_id: UUID,
    *,
    subject: str,
    digest: str,
    scopes: Iterable[str],
    claims: Mapping[str, str],
    sequence: int,
) -> None:
    """Store a key's scopes and claims; an event older than the last one changes nothing.

    Routes read `claims` as `Caller.claims`. A key without scopes is revoked.
    """
    key = session.get(ApiKey, key_id, with_for_update=True)
    if key is None:
        key = ApiKey(id=key_id)
        session.add(key)
    elif sequence <= key.sequence:
        return
    key.subject, key.digest, key.scopes = subject, digest, list(scopes)
    key.claims, key.sequence = dict(claims), sequence


def caller_of(session: Session, token: str) -> Caller:
    """Return the caller whom a key authenticates.

    Raises:
        InvalidToken: it is malformed, revoked or unknown; the event of a new key takes seconds.
    """
    match = _TOKEN.fullmatch(token)
    key = None if match is None else session.get(ApiKey, UUID(match[1]))
    if match is None or key is None or not hmac.compare_digest(key.digest, digest_of(match[2])):
        raise InvalidToken("This key is unknown; a new key works within seconds of its issue.")
    if not key.scopes:
        raise InvalidToken("This key was revoked; ask an operator for a new one.", revoked=True)
    return Caller(key.subject, frozenset(key.scopes), dict(key.claims))
