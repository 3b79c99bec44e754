"""Answers to POSTs, kept under their `Idempotency-Key`: a client may repeat any of them.

Source: IETF draft-ietf-httpapi-idempotency-key-header-07. Missing key 400, the same key with
another request 422, the first one still running 409, otherwise the stored answer again.
"""

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from sqlalchemy import delete, text
from sqlalchemy.orm import Session

from shared.errors import BadRequest, Conflict, Unprocessable
from shared.tables import IdempotencyKey

#: How long an answer is kept.
KEPT = timedelta(hours=24)
_KEY = re.compile(r'^"?([\x21\x23-\x7e]{1,255})"?$')


class IdempotencyKeyMissing(BadRequest):
    """Raised when a POST that creates something came without a usable Idempotency-Key."""


class IdempotencyKeyReused(Unprocessable):
    """Raised when a key that was used before comes with another request."""


class RequestInProgress(Conflict):
    """Raised when the first request with this key is not answered yet."""


_running: set[tuple[str, str]] = set()
_lock = threading.Lock()


def read_key(header: str | None) -> str:
    """Return the key of a request, quoted as a structured-field string or bare.

    Raises:
        IdempotencyKeyMissing: there is none, or it is not 1 to 255 printable characters.
    """
    match = _KEY.match(header or "")
    if match is None:
        raise IdempotencyKeyMissing(
            "Send `Idempotency-Key`, 1 to 255 printable characters such as a UUID, new for each "
            "request and the same when you repeat it."
        )
    return match[1]


def fingerprint_of(method: str, path: str, query: bytes, body: bytes) -> str:
    """Return what tells two requests with the same key apart."""
    parts = (method.encode(), path.encode(), query, body)
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


@contextmanager
def running(client: str, key: str) -> Iterator[None]:
    """Hold a key inside this process while its first request runs.

    Raises:
        RequestInProgress: another thread holds it.
    """
    name = (client, key)
    with _lock:
        if name in _running:
            raise RequestInProgress("The first request with this key is still running; wait.")
        _running.add(name)
    try:
        yield
    finally:
        with _lock:
            _running.discard(name)


def claim(session: Session, client: str, key: str, fingerprint: str) -> IdempotencyKey | None:
    """Claim a key for this transaction; returns the stored answer if there is one.

    Raises:
        RequestInProgress: another process is answering a request with this key.
        IdempotencyKeyReused: the stored answer belongs to another request.
    """
    if session.get_bind().dialect.name == "postgresql":
        lock = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 0))")
        if not session.scalar(lock, {"name": f"{client}\n{key}"}):
            raise RequestInProgress("The first request with this key is still running; wait.")
    stored = session.get(IdempotencyKey, (client, key))
    if stored is not None and stored.fingerprint != fingerprint:
        raise IdempotencyKeyReused(
            "This Idempotency-Key was used for another request; take a new one."
        )
    return stored


def prune(session: Session, before: datetime) -> None:
    """Forget answers given before a moment."""
    session.execute(delete(IdempotencyKey).where(IdempotencyKey.answered_at < before))
