"""Where HTTP opens transactions; with an Idempotency-Key, one around the whole answer."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import wraps
from typing import Any, TypeVar

from flask import Response, current_app, g, make_response, request
from sqlalchemy.orm import Session

from shared import idempotency
from shared.clock import now
from shared.errors import FarmgateError, Forbidden, Unauthorized, Unavailable
from shared.tables import IdempotencyKey
from shared.web.access import caller
from shared.web.problems import answer_of
from shared.web.state import database

View = TypeVar("View", bound=Callable[..., Any])

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
#: Headers of an answer that are given again with it.
KEPT_HEADERS = ("Content-Type", "Location", "Preference-Applied")

_PARAMETER = {
    "in": "header",
    "name": HEADER,
    "required": True,
    "description": "New for each request, the same when the request is repeated. Kept 24 hours.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!#-~]+$"},
}


@contextmanager
def transaction() -> Iterator[Session]:
    """Open the request's transaction; inside `idempotent`, join the one that is open."""
    joined: Session | None = g.get("session")
    if joined is not None:
        yield joined
        return
    with database().sessions.begin() as session:
        yield session


@contextmanager
def reading() -> Iterator[Session]:
    """Open a session that only reads."""
    with database().readers() as session:
        yield session


def idempotent(view: View) -> View:
    """Answer a repeated POST with the stored answer instead of doing its work again.

    The work, and the answer under its key, commit together. A refusal by a use case undoes the
    work and is stored as well; what never reached a use case (malformed, not allowed) is not.
    """

    @wraps(view)
    def once(*args: Any, **kwargs: Any) -> Response:
        key = idempotency.read_key(request.headers.get(HEADER))
        client = caller().subject or "public"
        fingerprint = idempotency.fingerprint_of(
            request.method, request.path, request.query_string, request.get_data()
        )
        with idempotency.running(client, key):
            try:
                with database().sessions.begin() as session:
                    stored = idempotency.claim(session, client, key, fingerprint)
                    if stored is not None:
                        return _again(stored)
                    g.session = session
                    answer = make_response(current_app.ensure_sync(view)(*args, **kwargs))
                    session.flush()
                    session.add(_keep(client, key, fingerprint, answer))
            except FarmgateError as error:
                if isinstance(
                    error,
                    Unauthorized
                    | Forbidden
                    | Unavailable
                    | idempotency.RequestInProgress
                    | idempotency.IdempotencyKeyReused,
                ):
                    raise
                answer = answer_of(error)
                with database().sessions.begin() as session:
                    if idempotency.claim(session, client, key, fingerprint) is None:
                        session.add(_keep(client, key, fingerprint, answer))
            finally:
                g.pop("session", None)
        return answer

    apidoc = deepcopy(getattr(once, "_apidoc", {}))
    parameters = apidoc.setdefault("arguments", {}).setdefault("parameters", [])
    parameters.append(dict(_PARAMETER))
    once._apidoc = apidoc  # type: ignore[attr-defined]
    return once  # type: ignore[return-value]


def _keep(client: str, key: str, fingerprint: str, answer: Response) -> IdempotencyKey:
    return IdempotencyKey(
        client=client,
        key=key,
        fingerprint=fingerprint,
        status=answer.status_code,
        headers={name: answer.headers[name] for name in KEPT_HEADERS if name in answer.headers},
        body=answer.get_data(),
        answered_at=now(),
    )


def _again(stored: IdempotencyKey) -> Response:
    headers = {**stored.headers, REPLAYED: "true"}
    return Response(stored.body, stored.status, headers)
