"""Answers to POSTs, kept under their `Idempotency-Key`: a client may repeat any of them.

Source: IETF draft-ietf-httpapi-idempotency-key-header-07. Missing key 400, the same key with
another request 422, the first one still running 409, otherwise the stored answer again.

An answer can hold a secret that is given out once, or an address, so no answer is stored in plain
text, and no Idempotency-Key. From key and request come the name that an answer is stored under and
the secret that seals it (docs/decisions/0014). A reader of the table or of a backup has neither.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Table, and_, bindparam, func, literal, select
from sqlalchemy.orm import Session

from shared.runtime.clock import now
from shared.runtime.errors import BadRequest, Conflict, FarmgateError, Unprocessable
from shared.runtime.inserts import insert
from shared.runtime.tables import IdempotencyKey

#: Bare, or an RFC 8941 string (quoted) without escapes; 1 to 255 characters.
KEY_PATTERN = r'^(?:[!#-~]{1,255}|"[ !#-\[\]-~]{1,255}")$'


_TABLE = cast(Table, IdempotencyKey.__table__)
# Version 0.1 stored keys and answers as they are, and a client may repeat a request to the next
# version: an upgrade must not do its work twice. These rows are gone after a day.
_FOUND = and_(
    _TABLE.c.client == bindparam("client"),
    _TABLE.c.key.in_([bindparam("key"), bindparam("plain")]),
)
_COLUMNS = _TABLE.c["key", "fingerprint", "status", "headers", "body"]
_LOOK = select(*_COLUMNS).where(_FOUND)
# One statement, because each costs a journey to the database: so its view of the table may be a
# moment older than its lock. `keep` notices an answer that was stored in that moment.
_LOCK_AND_LOOK = (
    select(
        func.pg_try_advisory_xact_lock(func.hashtextextended(bindparam("lock"), 0)).label(
            "claimed"
        ),
        *_COLUMNS,
    )
    .select_from(select(literal(1).label("one")).subquery("always"))
    .outerjoin(_TABLE, _FOUND)
)


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

    @property
    def name(self) -> str:
        """The name under which its answer is stored: 64 hexadecimal digits."""
        return self._derive("name", "").hex()

    @property
    def mark(self) -> str:
        """What is stored of the fingerprint: of a short request that alone could be guessed."""
        return self._derive("fingerprint", self.fingerprint).hex()

    @property
    def sealing_key(self) -> bytes:
        """The key of its answer, 32 bytes."""
        return self._derive("answer", self.fingerprint)

    def _derive(self, purpose: str, text: str) -> bytes:
        # RFC 5869's Expand with one block: a key gives values that tell nothing of each other.
        return hmac.digest(self.key.encode(), f"{purpose}\n{text}".encode(), "sha256")


@dataclass(frozen=True)
class Answer:
    """What was answered, to be given again.

    `sealed` opens with the request's key and holds headers and body; None: a row of a version
    that stored both as they are.
    """

    status: int
    sealed: bytes | None
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
    names = {"client": request.client, "key": request.name, "plain": request.key}
    connection = session.connection()
    if connection.dialect.name == "postgresql":
        lock = f"{request.client}\n{request.name}"
        row = connection.execute(_LOCK_AND_LOOK, {"lock": lock, **names}).one_or_none()
        if row is None or not row.claimed:
            raise RequestInProgress(
                "The first request with this key is still running; repeat it later."
            )
    else:
        row = connection.execute(_LOOK, names).one_or_none()
    return _answer_in(row, request)


def look(session: Session, request: Request) -> Answer | None:
    """Return the stored answer to a request, if there is one; claim nothing.

    Raises:
        IdempotencyKeyReused: the stored answer belongs to another request.
    """
    names = {"client": request.client, "key": request.name, "plain": request.key}
    return _answer_in(session.execute(_LOOK, names).one_or_none(), request)


def _answer_in(row: Any, request: Request) -> Answer | None:
    if row is None or row.fingerprint is None:
        return None
    plain = row.key == request.key
    if row.fingerprint != (request.fingerprint if plain else request.mark):
        raise IdempotencyKeyReused(
            "This Idempotency-Key was used for another request; take a new one."
        )
    if plain:
        return Answer(row.status, None, row.headers, row.body)
    return Answer(row.status, row.body, {}, b"")


def keep(session: Session, request: Request, status: int, sealed: bytes) -> None:
    """Keep an answer, sealed with its request's key, in the transaction of what it tells.

    Raises:
        Overtaken: another answer was stored since the key was claimed; roll back.
    """
    session.flush()
    result = session.connection().execute(
        insert(session, _TABLE).on_conflict_do_nothing(),
        {
            "client": request.client,
            "key": request.name,
            "fingerprint": request.mark,
            "status": status,
            "headers": {},
            "body": sealed,
            "answered_at": now(),
        },
        # Else the driver's count of written rows is gone by the time it is asked for.
        execution_options={"preserve_rowcount": True},
    )
    if result.rowcount == 0:
        raise Overtaken
