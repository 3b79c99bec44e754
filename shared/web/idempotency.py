"""Stored answers to POSTs by their `Idempotency-Key`, so that a client can repeat a POST safely.

Source: IETF draft-ietf-httpapi-idempotency-key-header-07. A missing key is a 400, a key with
another request a 422, a key whose first request still runs a 409. A repeated request gets the
stored answer.

An answer can contain a one-time secret or an address, so neither answers nor keys are stored in
plain text. The name and the encryption key of a stored answer are derived from the Idempotency-Key
and the request (docs/decisions/0014). A reader of the table or of a backup has neither.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

from sqlalchemy import Table, and_, bindparam, select, text
from sqlalchemy.orm import Session

from shared.runtime.bulk import among, insert_rows
from shared.runtime.clock import now
from shared.runtime.errors import BadRequest, Conflict, FarmgateError, Unprocessable
from shared.runtime.tables import IdempotencyKey

#: Bare, or an RFC 8941 string (quoted) without escapes; 1 to 255 characters.
KEY_PATTERN = r'^(?:[!#-~]{1,255}|"[ !#-\[\]-~]{1,255}")$'


_TABLE = cast(Table, IdempotencyKey.__table__)
_COLUMNS = _TABLE.c["client", "key", "fingerprint", "status", "body"]
_SELECT = select(*_COLUMNS).where(
    and_(_TABLE.c.client == bindparam("client"), _TABLE.c.key == bindparam("key"))
)
# Finds other clients' answers under an equal key, too; nobody asks for them.
_SELECT_ALL = select(*_COLUMNS).where(
    among(_TABLE.c.client, bindparam("clients")), among(_TABLE.c.key, bindparam("keys"))
)
# One statement saves a round trip. Its snapshot may be a moment older than its locks; `store_all`
# detects an answer that was stored in that moment.
_LOCK_AND_SELECT = text(
    "SELECT client, key, fingerprint, status, body, "
    "pg_try_advisory_xact_lock(hashtextextended(client || chr(10) || key, 0)) AS locked "
    "FROM unnest(CAST(:clients AS text[]), CAST(:keys AS text[])) AS asked (client, key) "
    "LEFT JOIN idempotency_keys USING (client, key)"
)


class KeyRefused(FarmgateError):
    """Raised when a request is refused because of its Idempotency-Key; no answer is stored."""


class IdempotencyKeyMissing(KeyRefused, BadRequest):
    """Raised when a POST needs an Idempotency-Key and has none, or a malformed one."""


class IdempotencyKeyReused(KeyRefused, Unprocessable):
    """Raised when a key was used before for another request."""


class RequestInProgress(KeyRefused, Conflict):
    """Raised while the first request with this key is still running."""


class LostRace(Exception):
    """Raised when another process stored an answer just before this one claimed the key."""


@dataclass(frozen=True)
class Request:
    """The identity of a request: its client, its key and its fingerprint."""

    client: str
    key: str
    fingerprint: str

    @cached_property
    def name(self) -> str:
        """The name of the stored answer, 64 hexadecimal digits."""
        return self._derive("name", "").hex()

    @property
    def stored_fingerprint(self) -> str:
        """The fingerprint to store; it depends on the key: a short request could be guessed."""
        return self._derive("fingerprint", self.fingerprint).hex()

    @property
    def sealing_key(self) -> bytes:
        """The encryption key of the answer, 32 bytes."""
        return self._derive("answer", self.fingerprint)

    def _derive(self, purpose: str, text: str) -> bytes:
        # HKDF-Expand of RFC 5869 with one block: the derived values are independent.
        return hmac.digest(self.key.encode(), f"{purpose}\n{text}".encode(), "sha256")


@dataclass(frozen=True)
class Answer:
    """A stored answer; `sealed` holds headers and body, encrypted with `sealing_key`."""

    status: int
    sealed: bytes


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
    """Return a digest of the whole request: SHA-256, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for part in (method.encode(), path.encode(), query, body):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def claim(session: Session, request: Request) -> Answer | None:
    """Lock a request's key until the transaction ends; return the stored answer, if there is one.

    On SQLite a writing transaction excludes all others, so nothing is locked.

    Raises:
        RequestInProgress: another process is answering a request with this key.
        IdempotencyKeyReused: the stored answer belongs to another request.
    """
    (found,) = claim_all(session, [request])
    return _or_raise(found)


def claim_all(session: Session, requests: Sequence[Request]) -> list[Answer | KeyRefused | None]:
    """Claim the keys of several requests in one statement.

    Returns for each request what `claim` would return or raise.
    """
    names = [(each.client, each.name) for each in requests]
    clients, keys = zip(*names, strict=True)
    connection, asked = session.connection(), {"clients": [*clients], "keys": [*keys]}
    if connection.dialect.name == "postgresql":
        rows = connection.execute(_LOCK_AND_SELECT, asked).all()
        locked = {(row.client, row.key) for row in rows if row.locked}
    else:
        rows, locked = connection.execute(_SELECT_ALL, asked).all(), set(names)
    known = {(row.client, row.key): row for row in rows}
    return [
        _answer_in(known.get(name), request)
        if name in locked
        else RequestInProgress("The first request with this key is still running; repeat it later.")
        for name, request in zip(names, requests, strict=True)
    ]


def find(session: Session, request: Request) -> Answer | None:
    """Return the stored answer to a request, if there is one, without locking its key.

    Raises:
        IdempotencyKeyReused: the stored answer belongs to another request.
    """
    names = {"client": request.client, "key": request.name}
    return _or_raise(_answer_in(session.execute(_SELECT, names).one_or_none(), request))


def _answer_in(row: Any, request: Request) -> Answer | KeyRefused | None:
    if row is None or row.fingerprint is None:
        return None
    if row.fingerprint != request.stored_fingerprint:
        return IdempotencyKeyReused(
            "This Idempotency-Key was used for another request; use a new one."
        )
    return Answer(row.status, row.body)


def _or_raise(found: Answer | KeyRefused | None) -> Answer | None:
    if isinstance(found, KeyRefused):
        raise found
    return found


def store_all(session: Session, answers: Iterable[tuple[Request, Answer]]) -> None:
    """Store sealed answers in the transaction of their requests' work.

    Raises:
        LostRace: another answer was stored since its key was claimed; roll back.
    """
    moment = now()
    rows = [
        {
            "client": request.client,
            "key": request.name,
            "fingerprint": request.stored_fingerprint,
            "status": answer.status,
            "body": answer.sealed,
            "answered_at": moment,
        }
        for request, answer in answers
    ]
    if insert_rows(session.connection(), _TABLE, rows, ignore_conflicts=True) < len(rows):
        raise LostRace
