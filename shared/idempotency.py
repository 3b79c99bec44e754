"""Answers to POSTs, kept under their `Idempotency-Key`: a client may repeat any of them.

Source: IETF draft-ietf-httpapi-idempotency-key-header-07. Missing key 400, the same key with
another request 422, the first one still running 409, otherwise the stored answer again.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from sqlalchemy import Table, and_, bindparam, delete, func, literal, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from shared.clock import now
from shared.errors import BadRequest, Conflict, FarmgateError, Unprocessable
from shared.tables import IdempotencyKey

#: How long an answer is kept.
KEPT = timedelta(hours=24)
#: Answers forgotten at once.
CHUNK = 5000
#: Bare, or an RFC 8941 string (quoted) without escapes; 1 to 255 characters.
KEY_PATTERN = r'^(?:[!#-~]{1,255}|"[ !#-\[\]-~]{1,255}")$'


_TABLE = cast(Table, IdempotencyKey.__table__)
_LOOK = select(*_TABLE.c["fingerprint", "status", "headers", "body"]).where(
    _TABLE.c.client == bindparam("client"), _TABLE.c.key == bindparam("key")
)
# One statement, because each costs a journey to the database: so its view of the table may be a
# moment older than its lock. `keep` notices an answer that was stored in that moment.
_LOCK_AND_LOOK = (
    select(
        func.pg_try_advisory_xact_lock(func.hashtextextended(bindparam("lock"), 0)).label(
            "claimed"
        ),
        *_TABLE.c["fingerprint", "status", "headers", "body"],
    )
    .select_from(select(literal(1).label("one")).subquery("always"))
    .outerjoin(
        _TABLE,
        and_(_TABLE.c.client == bindparam("client"), _TABLE.c.key == bindparam("key")),
    )
)
# How many rows an INSERT wrote is not told unless asked for.
_COUNTED = {"preserve_rowcount": True}
_KEEP = {
    "postgresql": postgresql.insert(_TABLE).on_conflict_do_nothing().execution_options(**_COUNTED),
    "sqlite": sqlite.insert(_TABLE).on_conflict_do_nothing().execution_options(**_COUNTED),
}


class KeyRefused(FarmgateError):
    """Raised when an Idempotency-Key itself is the reason for a refusal; nothing is kept then."""


class IdempotencyKeyMissing(KeyRefused, BadRequest):
    """Raised when a POST that creates something came without a usable Idempotency-Key."""


class IdempotencyKeyReused(KeyRefused, Unprocessable):
    """Raised when a key that was used before comes with another request."""


class RequestInProgress(KeyRefused, Conflict):
    """Raised when the first request with this key is not answered yet."""


class Overtaken(Exception):
    """Raised when another process stored an answer between the look for one and the claim."""


@dataclass(frozen=True)
class Request:
    """What names a request: whose it is, its key, and what it asks for."""

    client: str
    key: str
    fingerprint: str


@dataclass(frozen=True)
class Answer:
    """What was answered, to be given again."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def read_key(header: str | None) -> str:
    """Return the key in an `Idempotency-Key` header, quoted or bare.

    Raises:
        IdempotencyKeyMissing: there is none, or it is not 1 to 255 printable characters.
    """
    if header is None or re.match(KEY_PATTERN, header) is None:
        raise IdempotencyKeyMissing(
            "Send `Idempotency-Key`, 1 to 255 printable characters such as a UUID: new for each "
            "request, and the same when you repeat one."
        )
    return header.strip('"')


def fingerprint_of(method: str, path: str, query: bytes, body: bytes) -> str:
    """Return what tells two requests with the same key apart: SHA-256, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for part in (method.encode(), path.encode(), query, body):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def claim(session: Session, request: Request) -> Answer | None:
    """Claim a request's key until the transaction ends; return the stored answer, if there is one.

    On SQLite the transaction itself already excludes all others.

    Raises:
        RequestInProgress: another process is answering a request with this key.
        IdempotencyKeyReused: the stored answer belongs to another request.
    """
    names = {"client": request.client, "key": request.key}
    connection = session.connection()
    if connection.dialect.name == "postgresql":
        lock = f"{request.client}\n{request.key}"
        row = connection.execute(_LOCK_AND_LOOK, {"lock": lock, **names}).one_or_none()
        if row is None or not row.claimed:
            raise RequestInProgress(
                "The first request with this key is still running; repeat it later."
            )
    else:
        row = connection.execute(_LOOK, names).one_or_none()
    if row is None or row.fingerprint is None:
        return None
    if row.fingerprint != request.fingerprint:
        raise IdempotencyKeyReused(
            "This Idempotency-Key was used for another request; take a new one."
        )
    return Answer(row.status, row.headers, row.body)


def keep(
    session: Session, request: Request, status: int, headers: Mapping[str, str], body: bytes
) -> None:
    """Keep an answer under its key, in the transaction of what it tells.

    Raises:
        Overtaken: another answer was stored since the key was claimed; roll back.
    """
    session.flush()
    connection = session.connection()
    result = connection.execute(
        _KEEP[connection.dialect.name],
        {
            "client": request.client,
            "key": request.key,
            "fingerprint": request.fingerprint,
            "status": status,
            "headers": dict(headers),
            "body": body,
            "answered_at": now(),
        },
    )
    if result.rowcount == 0:
        raise Overtaken


def prune(session: Session, before: datetime) -> int:
    """Forget up to `CHUNK` answers given before a moment; return how many."""
    names = tuple_(IdempotencyKey.client, IdempotencyKey.key)
    old = (
        select(IdempotencyKey.client, IdempotencyKey.key)
        .where(IdempotencyKey.answered_at < before)
        .limit(CHUNK)
    )
    statement = delete(IdempotencyKey).where(names.in_(old))
    result = session.execute(statement, execution_options={"synchronize_session": False})
    return int(result.rowcount)  # type: ignore[attr-defined]
