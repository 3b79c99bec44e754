"""Keys of machines that must not need a fresh token: long secrets, known by their digest.

A token of an outside issuer runs out; a till that was cut off for a week must still be able to
say who it is. Its key does not run out: it is given once, and its owner's service tells the
others by event what it may do, so that each checks it alone. SHA-256 suffices for a secret of
256 random bits; a slow hash is for what people choose.
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

#: What a key looks like: `fgk_`, its id, and 32 random bytes in base64url.
PREFIX = "fgk_"
SECRET_PATTERN = "[A-Za-z0-9_-]{43}"
_TOKEN = re.compile(f"{PREFIX}([0-9a-f]{{32}})_({SECRET_PATTERN})")


def new_secret() -> str:
    """Return a new secret: 256 random bits, 43 characters."""
    return secrets.token_urlsafe(32)


def digest_of(secret: str) -> str:
    """Return what is stored of a secret: SHA-256, 64 hexadecimal digits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def token_of(key_id: UUID, secret: str) -> str:
    """Return the bearer token that a key's owner sends."""
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
    """Keep what a key may do from now on; an event older than the last changes nothing.

    `claims` are shown to routes as `Caller.claims`. Without scopes the key is revoked.
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
    """Return who bears a key.

    Raises:
        InvalidToken: it is malformed, unknown here (yet), wrong, or revoked.
    """
    match = _TOKEN.fullmatch(token)
    key = None if match is None else session.get(ApiKey, UUID(match[1]))
    if match is None or key is None:
        raise InvalidToken("This key is not known here; one just given is known within seconds.")
    if not hmac.compare_digest(key.digest, digest_of(match[2])):
        raise InvalidToken("This key is not known here; one just given is known within seconds.")
    if not key.scopes:
        raise InvalidToken("This key was revoked; ask an operator for a new one.", revoked=True)
    return Caller(key.subject, frozenset(key.scopes), dict(key.claims))
