"""Where HTTP opens transactions; with an Idempotency-Key, one around the whole answer."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar

from flask import Response, g, make_response, request
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from shared import errors, idempotency
from shared.database import Trouble, trouble_of
from shared.sealing import seal, unseal
from shared.web.access import caller
from shared.web.problems import answer_of, status_of
from shared.web.requests import IDEMPOTENT, ValidationFailed
from shared.web.state import database, state

View = TypeVar("View", bound=Callable[..., Any])

REPLAYED = "Idempotency-Replayed"
#: Whose keys those of public routes are.
PUBLIC = "public"
#: How often a request is begun before a deadlock is told to the client.
TRIES = 3
#: Refusals that are not kept with a key: the request never reached its use case, so it may be
#: mended and sent again under the same key; or the refusal is about the key itself.
NOT_KEPT = (
    errors.BadRequest,
    errors.Unauthorized,
    errors.Forbidden,
    errors.Unavailable,
    ValidationFailed,
    idempotency.KeyRefused,
)


@contextmanager
def transaction() -> Iterator[Session]:
    """Open a transaction that commits at the end; under `@idempotent`, join the one that is open.

    An error rolls it back, and with it all that the request has done.
    """
    joined: Session | None = g.get("session")
    if joined is None:
        here = database()
        with here.limit("request"), here.sessions.begin() as session:
            yield session
        return
    try:
        yield joined
    except BaseException:
        # Also if the view catches the error and answers something: then nothing of it is left,
        # neither rows nor the events that would have told of them.
        joined.rollback()
        joined.info.clear()
        raise


@contextmanager
def reading() -> Iterator[Session]:
    """Open a session that reads; what it loads stays usable afterwards."""
    here = database()
    with here.limit("request"), here.readers() as session:
        yield session


def idempotent(view: View) -> View:
    """Answer a repeated POST with the stored answer instead of doing its work again.

    The work, its answer and the key commit together, so a client that heard nothing learns by
    repeating what became of it. A refusal by a use case undoes the work and is kept as well.
    """

    @wraps(view)
    def once(*args: Any, **kwargs: Any) -> Response:
        asked = idempotency.Request(
            client=caller().subject or PUBLIC,
            key=idempotency.read_key(request.headers.get("Idempotency-Key")),
            fingerprint=idempotency.fingerprint_of(
                request.method, request.path, request.query_string, request.get_data()
            ),
        )
        with _alone_in_process(asked):
            tries_left = TRIES
            while True:
                tries_left -= 1
                try:
                    return _answer(asked, lambda: make_response(view(*args, **kwargs)))
                except (SQLAlchemyError, idempotency.Overtaken) as error:
                    again = (
                        isinstance(error, idempotency.Overtaken)
                        or trouble_of(error) is Trouble.DEADLOCK
                    )
                    if not again or not tries_left:
                        raise

    notes = {**getattr(view, "_apidoc", {}), IDEMPOTENT: True}
    once._apidoc = notes  # type: ignore[attr-defined]
    return once  # type: ignore[return-value]


@contextmanager
def _alone_in_process(asked: idempotency.Request) -> Iterator[None]:
    """Refuse a second request with the same key at once, instead of letting it hold a thread."""
    here, name = state(), (asked.client, asked.key)
    with here.lock:
        if name in here.running:
            raise idempotency.RequestInProgress(
                "The first request with this key is still running; repeat it later."
            )
        here.running.add(name)
    try:
        yield
    finally:
        with here.lock:
            here.running.discard(name)


def _answer(asked: idempotency.Request, work: Callable[[], Response]) -> Response:
    here = database()
    try:
        with here.limit("request"), here.sessions() as session:
            stored = idempotency.claim(session, asked)
            if stored is not None:
                return _again(asked, stored)
            g.session = session
            answer = work()
            if answer.status_code < 500:
                _keep(session, asked, answer)
                session.commit()
            return answer
    except errors.FarmgateError as error:
        if isinstance(error, NOT_KEPT) or status_of(error) >= 500:
            raise
        refusal = answer_of(error)
    finally:
        g.pop("session", None)
    with here.limit("request"), here.sessions.begin() as session:
        stored = idempotency.claim(session, asked)
        if stored is not None:  # another process was quicker, and its answer is the one that counts
            return _again(asked, stored)
        _keep(session, asked, refusal)
    return refusal


def _keep(session: Session, asked: idempotency.Request, answer: Response) -> None:
    headers = {name: value for name, value in answer.headers.items() if name != "Content-Length"}
    plain = json.dumps(headers).encode() + b"\n" + answer.get_data()
    idempotency.keep(session, asked, answer.status_code, seal(asked.sealing_key, plain))


def _again(asked: idempotency.Request, stored: idempotency.Answer) -> Response:
    headers, body = stored.headers, stored.body
    if stored.sealed is not None:
        text, _, body = unseal(asked.sealing_key, stored.sealed).partition(b"\n")
        headers = json.loads(text)
    return Response(body, stored.status, {**headers, REPLAYED: "true"})
