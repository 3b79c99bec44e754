"""Transactions of routes; with an Idempotency-Key, one transaction for the work and its answer.

Requests of a `@grouped` route that wait at the same moment share a transaction: a commit costs as
much for twenty as for one, and so does each statement.

No transaction is open while a request is parsed: on SQLite it would block all other writers.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Generic, TypeVar

from flask import Response, g, make_response, request
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from shared.messaging.batch import Batch
from shared.messaging.batch import transaction as begin
from shared.runtime import errors
from shared.runtime.database import DatabaseError, classify
from shared.runtime.sealing import seal, unseal
from shared.web import idempotency
from shared.web.access import IDEMPOTENT, caller, declare
from shared.web.grouping import Grouping
from shared.web.problems import answer_of, status_of
from shared.web.requests import ValidationFailed
from shared.web.state import database, state

B = TypeVar("B", bound=Batch)
Value = TypeVar("Value")
View = TypeVar("View", bound=Callable[..., Any])

REPLAYED = "Idempotency-Replayed"
#: The client of keys on public routes.
PUBLIC = "public"
#: Attempts before a deadlock is answered with an error.
ATTEMPTS = 3
#: Requests of one group at most: the first of them waits for the last.
LARGEST_GROUP = 20
#: Refusals that are not stored. Either the request did not reach its use case, so the client may
#: correct it and send it again with the same key; or the refusal is about the key itself.
NOT_STORED = (
    errors.BadRequest,
    errors.Unauthorized,
    errors.Forbidden,
    errors.Unavailable,
    ValidationFailed,
    idempotency.KeyRefused,
)


class _AnsweredBefore(Exception):
    """Raised when a repeated request opens its transaction; it carries the stored answer."""

    def __init__(self, stored: idempotency.Answer) -> None:
        self.stored = stored


class _Work:
    """The transaction of a request with an Idempotency-Key; it begins when the view opens it."""

    def __init__(self, keyed: idempotency.Request, until: ExitStack) -> None:
        self.keyed = keyed
        self.session: Session | None = None
        self.batch: Batch | None = None
        #: Whether the transaction is that of a group, which stores the answer.
        self.grouped = False
        self._until = until

    def begin(self) -> Session:
        """Return the session whose transaction holds the key; the first call opens it.

        Raises:
            _AnsweredBefore: an answer to the request is stored.
        """
        if self.session is None:
            here = database()
            self._until.enter_context(here.limit("request", g.get("seconds")))
            self.session = self._until.enter_context(here.sessions())
            stored = idempotency.claim(self.session, self.keyed)
            if stored is not None:
                raise _AnsweredBefore(stored)
        return self.session


def transaction(kind: type[B]) -> AbstractContextManager[B]:
    """Open a transaction that commits at the end; under `@idempotent`, join that of the request.

    Yields a batch of `kind`. Parse the request before, because the transaction may block others. An
    error rolls the whole transaction back.
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
    assert isinstance(work.batch, kind), "a request has one batch"
    try:
        yield work.batch
    except BaseException:
        # The view may catch the error and answer: rows and events must not be committed then.
        session.rollback()
        work.batch = None
        raise


@contextmanager
def reading() -> Iterator[Session]:
    """Open a session for reading; its objects stay usable afterwards."""
    here = database()
    with here.limit("request", g.get("seconds")), here.readers() as session:
        yield session


def idempotent(view: View) -> View:
    """Answer a repeated POST with the stored answer instead of doing its work again.

    The work, its answer and the key are committed together, so a client without an answer can
    repeat the request. A refusal by a use case rolls the work back and is stored, too. The view's
    `transaction` claims the key; the code before it runs again for each repetition.
    """

    @wraps(view)
    def once(*args: Any, **kwargs: Any) -> Response:
        keyed = idempotency.Request(
            client=caller().subject or PUBLIC,
            key=idempotency.read_key(request.headers.get("Idempotency-Key")),
            fingerprint=idempotency.fingerprint_of(
                request.method, request.path, request.query_string, request.get_data()
            ),
        )
        with _exclusive(keyed):
            attempts_left = ATTEMPTS
            while True:
                attempts_left -= 1
                try:
                    return _answer(keyed, lambda: make_response(view(*args, **kwargs)))
                except (SQLAlchemyError, idempotency.LostRace) as error:
                    retry = (
                        isinstance(error, idempotency.LostRace)
                        or classify(error) is DatabaseError.DEADLOCK
                    )
                    if not retry or not attempts_left:
                        raise

    return declare(once, IDEMPOTENT, True)  # type: ignore[return-value]


@contextmanager
def _exclusive(keyed: idempotency.Request) -> Iterator[None]:
    """Refuse a second request with the same key in this process, so that it blocks no thread."""
    here, name = state(), (keyed.client, keyed.key)
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


def grouped(
    kind: type[B],
    prepare: Callable[..., Value],
    load: Callable[[B, Sequence[Value]], None],
) -> Callable[[Callable[[B, Value], Any]], Callable[..., Response]]:
    """Run a view in one transaction with those requests of its route that wait at the same moment.

    For a view under `@idempotent`. `prepare` makes a plain value of the view's arguments, before
    the transaction. `load` loads and locks the rows for the values of all requests. The view gets
    the batch and its own value, and executes no statements. A request that is refused leaves the
    group as it was. If anything else fails, or if a request is refused after it changed something,
    the group is rolled back, and each request is done in a transaction of its own.
    """

    def decorate(view: Callable[[B, Value], Any]) -> Callable[..., Response]:
        def do_together(members: Sequence[_Member[B, Value]]) -> None:
            outcomes: Mapping[_Member[B, Value], Response | Exception] = {}
            try:
                outcomes = _commit(kind, load, members)
            except Exception as error:
                # Without a database, attempts one by one would only take longer.
                if len(members) == 1 or classify(error) is DatabaseError.UNAVAILABLE:
                    outcomes = dict.fromkeys(members, error)
            for member in members:
                member.outcome = outcomes.get(member)

        @wraps(view)
        def together(*args: Any, **kwargs: Any) -> Response:
            work: _Work = g.work
            value = prepare(*args, **kwargs)
            member = _Member[B, Value](
                work.keyed, value, lambda batch: make_response(view(batch, value))
            )
            work.grouped = True
            groups = state().groups
            if view not in groups:
                groups.setdefault(view, Grouping(do_together, LARGEST_GROUP))
            groups[view].do(member)
            if member.outcome is None:
                do_together([member])
            if isinstance(member.outcome, Exception):
                raise member.outcome
            assert member.outcome is not None, "a request by itself has an answer or an error"
            return member.outcome

        return together

    return decorate


@dataclass(eq=False)
class _Member(Generic[B, Value]):
    """A request of a group."""

    keyed: idempotency.Request
    value: Value
    view: Callable[[B], Response]
    #: The request's own context, in which another request's thread runs the view.
    context: Context = field(default_factory=copy_context)
    #: The committed answer, or the error to raise; None: the group failed, and changed nothing.
    outcome: Response | Exception | None = None

    def run(self, batch: B) -> Response | Exception:
        """Run the view; return the answer to store, or an error that is not stored.

        Raises:
            Exception: the transaction must be rolled back.
        """
        before = batch.unwritten
        try:
            answer = self.view(batch)
        except errors.FarmgateError as error:
            if batch.unwritten != before:
                raise
            return answer_of(error) if _is_stored(error) else error
        assert answer.status_code < 500, "a grouped view raises its errors"
        return answer


def _commit(
    kind: type[B],
    load: Callable[[B, Sequence[Value]], None],
    members: Sequence[_Member[B, Value]],
) -> dict[_Member[B, Value], Response | Exception]:
    """Do the work of all members and store their answers, in one transaction."""
    here = database()
    with here.limit("request", g.get("seconds")), here.sessions() as session:
        outcomes: dict[_Member[B, Value], Response | Exception] = {}
        claims = idempotency.claim_all(session, [member.keyed for member in members])
        for member, found in zip(members, claims, strict=True):
            if isinstance(found, idempotency.Answer):
                outcomes[member] = _replay(member.keyed, found)
            elif found is not None:
                outcomes[member] = found
        new = [member for member in members if member not in outcomes]
        if not new:
            return outcomes
        batch = kind(session)
        load(batch, [member.value for member in new])
        # A view whose query flushed the rows of the views before it would write them one by one.
        with session.no_autoflush:
            ran = {member: member.context.run(member.run, batch) for member in new}
        recorded = batch.write()
        stored = ((each.keyed, ran[each]) for each in new)
        _store(session, [(keyed, each) for keyed, each in stored if isinstance(each, Response)])
        session.commit()
    if recorded:
        here.recorded.set()
    return outcomes | ran


def _answer(keyed: idempotency.Request, view: Callable[[], Response]) -> Response:
    with ExitStack() as until:
        work = g.work = _Work(keyed, until)
        until.callback(g.pop, "work", None)
        try:
            answer = view()
            if work.grouped:
                return answer  # stored by its group
            session = work.begin()  # also for a view without a transaction
            if answer.status_code < 500:
                recorded = work.batch is not None and work.batch.write()
                _store(session, [(keyed, answer)])
                session.commit()
                if recorded:
                    database().recorded.set()
            return answer
        except _AnsweredBefore as before:
            return _replay(keyed, before.stored)
        except errors.FarmgateError as error:
            if not _is_stored(error):
                claimed = work.session is not None or work.grouped
                stored = None if claimed else _stored_before(keyed, error)
                if stored is None:
                    raise
                return _replay(keyed, stored)
            refusal = answer_of(error)
    here = database()
    with here.limit("request", g.get("seconds")), here.sessions.begin() as session:
        stored = idempotency.claim(session, keyed)
        if stored is not None:  # another process stored its answer first
            return _replay(keyed, stored)
        _store(session, [(keyed, refusal)])
    return refusal


def _is_stored(refusal: errors.FarmgateError) -> bool:
    return not isinstance(refusal, NOT_STORED) and status_of(refusal) < 500


def _stored_before(
    keyed: idempotency.Request, refusal: errors.FarmgateError
) -> idempotency.Answer | None:
    """Return the stored answer to a request that was accepted before and is refused now.

    Raises:
        IdempotencyKeyReused: the stored answer belongs to another request.
    """
    if isinstance(refusal, errors.Unavailable):
        return None
    with reading() as session:
        return idempotency.find(session, keyed)


def _store(session: Session, answers: Iterable[tuple[idempotency.Request, Response]]) -> None:
    idempotency.store_all(session, [(keyed, _sealed(keyed, answer)) for keyed, answer in answers])


def _sealed(keyed: idempotency.Request, answer: Response) -> idempotency.Answer:
    headers = {name: value for name, value in answer.headers.items() if name != "Content-Length"}
    plain = json.dumps(headers).encode() + b"\n" + answer.get_data()
    return idempotency.Answer(answer.status_code, seal(keyed.sealing_key, plain))


def _replay(keyed: idempotency.Request, stored: idempotency.Answer) -> Response:
    headers, _, body = unseal(keyed.sealing_key, stored.sealed).partition(b"\n")
    return Response(body, stored.status, {**json.loads(headers), REPLAYED: "true"})
