"""Where HTTP opens transactions; with an Idempotency-Key, one for the work and its answer.

No transaction is open while a request is read: on SQLite it would keep all other writers waiting.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import wraps
from typing import Any, TypeVar

from flask import Response, g, make_response, request
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from shared.messaging.batch import Batch
from shared.messaging.batch import transaction as begin
from shared.runtime import errors
from shared.runtime.database import DatabaseError, classify
from shared.runtime.sealing import seal, unseal
from shared.web import idempotency
from shared.web.access import IDEMPOTENT, caller, note
from shared.web.problems import answer_of, status_of
from shared.web.requests import ValidationFailed
from shared.web.state import database, state

B = TypeVar("B", bound=Batch)
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


class _AnsweredBefore(Exception):
    """Raised where a repeated request would begin its work; it has the stored answer."""

    def __init__(self, stored: idempotency.Answer) -> None:
        self.stored = stored


class _Work:
    """The work of a request with an Idempotency-Key: one transaction, which begins when asked."""

    def __init__(self, asked: idempotency.Request, until: ExitStack) -> None:
        self.asked = asked
        self.session: Session | None = None
        self.batch: Batch | None = None
        self._until = until

    def begin(self) -> Session:
        """Return the transaction that holds the key; the first call opens it.

        Raises:
            _AnsweredBefore: the request was answered before; nothing is to be done.
        """
        if self.session is None:
            here = database()
            self._until.enter_context(here.limit("request", g.get("seconds")))
            self.session = self._until.enter_context(here.sessions())
            stored = idempotency.claim(self.session, self.asked)
            if stored is not None:
                raise _AnsweredBefore(stored)
        return self.session


def transaction(kind: type[B]) -> AbstractContextManager[B]:
    """Open a transaction that commits at the end; under `@idempotent`, join the request's one.

    Yields a batch of `kind`. Read and check the request before: its body must not be parsed in
    here. An error rolls the transaction back, and with it all that the request has done.
    """
    work: _Work | None = g.get("work")
    return _own(kind) if work is None else _joined(work, kind)


@contextmanager
def _own(kind: type[B]) -> Iterator[B]:
    here = database()
    with here.limit("request", g.get("seconds")), begin(here, kind) as batch:
        yield batch


@contextmanager
def _joined(work: "_Work", kind: type[B]) -> Iterator[B]:
    session = work.begin()
    if work.batch is None:
        work.batch = kind(session)
    assert isinstance(work.batch, kind), "all of a request works on one batch"
    try:
        yield work.batch
    except BaseException:
        # Also if the view catches the error and answers something: then nothing of it is left,
        # neither rows nor the events that would have told of them.
        session.rollback()
        work.batch = None
        raise


@contextmanager
def reading() -> Iterator[Session]:
    """Open a session that reads; what it loads stays usable afterwards."""
    here = database()
    with here.limit("request", g.get("seconds")), here.readers() as session:
        yield session


def idempotent(view: View) -> View:
    """Answer a repeated POST with the stored answer instead of doing its work again.

    The work, its answer and the key commit together, so a client that heard nothing learns by
    repeating what became of it. A refusal by a use case undoes the work and is kept as well.
    The key is claimed where the view opens its transaction; what the view does before, it does
    again for each repetition.
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
                        or classify(error) is DatabaseError.DEADLOCK
                    )
                    if not again or not tries_left:
                        raise

    return note(once, IDEMPOTENT, True)  # type: ignore[return-value]


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


def _answer(asked: idempotency.Request, view: Callable[[], Response]) -> Response:
    with ExitStack() as until:
        work = g.work = _Work(asked, until)
        until.callback(g.pop, "work", None)
        try:
            answer = view()
            session = work.begin()  # also for a view that had nothing to do
            if answer.status_code < 500:
                _keep(session, asked, answer)
                recorded = work.batch is not None and work.batch.write()
                session.commit()
                if recorded:
                    database().recorded.set()
            return answer
        except _AnsweredBefore as before:
            return _again(asked, before.stored)
        except errors.FarmgateError as error:
            if isinstance(error, NOT_KEPT) or status_of(error) >= 500:
                stored = None if work.session else _stored_before(asked, error)
                if stored is None:
                    raise
                return _again(asked, stored)
            refusal = answer_of(error)
    here = database()
    with here.limit("request", g.get("seconds")), here.sessions.begin() as session:
        stored = idempotency.claim(session, asked)
        if stored is not None:  # another process was quicker, and its answer is the one that counts
            return _again(asked, stored)
        _keep(session, asked, refusal)
    return refusal


def _stored_before(
    asked: idempotency.Request, refusal: errors.FarmgateError
) -> idempotency.Answer | None:
    """Return the answer to a request that would not be taken today, but was when it first came.

    Raises:
        IdempotencyKeyReused: the stored answer belongs to another request.
    """
    if isinstance(refusal, errors.Unavailable):
        return None
    with reading() as session:
        return idempotency.look(session, asked)


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
