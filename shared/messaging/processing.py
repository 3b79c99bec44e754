"""Processes the events that a service receives; the consumer, the embedded bus and tests call it.

A batch is one transaction: inbox, handlers, outbox, one commit. If the transaction fails, the
processor repeats the events one by one and parks the failing one; all others take effect. While the
database is unavailable, the batch waits. It also waits while an event can be neither processed nor
parked: the consumer acknowledges the messages on return, and the event would be lost.
"""

import threading
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy.orm import Session

from shared.events import BY_TYPE
from shared.messaging import inbox, parked
from shared.messaging.batch import Batch, transaction
from shared.messaging.envelope import (
    Envelope,
    Event,
    Invalid,
    Unreadable,
    contract_of,
    decode,
    load_data,
    other_version,
)
from shared.messaging.service import Handler, Service
from shared.messaging.tables import Inbox, Parked
from shared.runtime import tracing
from shared.runtime.database import Database, DatabaseError, classify
from shared.runtime.locks import advisory_lock
from shared.runtime.logs import get
from shared.runtime.watchdog import Limit, unlimited

log = get(__name__)

#: How often a batch is retried at once after a deadlock; after that, only after a pause.
DEADLOCK_TRIES = 3
#: Seconds between attempts while the database is unavailable.
UNAVAILABLE_PAUSE = 1.0
#: Reasons for parking that an upgrade of this service removes.
NOT_UNDERSTOOD = ("newer_version", "older_version", "unknown_type")


class OnUnavailable(Protocol):
    """Called between attempts while the database is unavailable, with the seconds to wait.

    It keeps the broker's connection alive, and raises to give up: the batch was not committed.
    """

    def __call__(self, seconds: float) -> None: ...


@dataclass(frozen=True)
class Step:
    """One event and its handler. Without a handler it is ignored; with a `problem` it is parked."""

    event: Event[Any]
    handler: Handler | None = None
    problem: str | None = None
    error: str | None = None


class Processor:
    """Processes one service's events, one batch at a time.

    Threads of the process take turns by a lock, processes by an advisory lock of the database.
    """

    def __init__(self, service: Service, database: Database) -> None:
        self.service = service
        self.database = database
        self.outcomes: Callable[[Counter[str]], None] = lambda counts: None
        #: Wraps each transaction: a statement that never returns must not hang the worker.
        self.limit: Limit = unlimited
        self._handlers = {c.routing_key: (c, h) for c, h in service.subscriptions.items()}
        self._lock = threading.Lock()
        self._upgraded = False

    @property
    def types(self) -> frozenset[str]:
        """The event types to which this service subscribes."""
        return frozenset(self._handlers)

    # --- Events that arrive ---------------------------------------------------------------

    def process(self, events: Sequence[Envelope], on_unavailable: OnUnavailable) -> None:
        """Process a batch; on return each event has taken effect, is ignored or parked, committed.

        Events of one subject must be in their order. Processing an event again changes nothing.

        Raises:
            Exception: any error of `on_unavailable`.
        """
        steps = [self._step_of(event) for event in events]
        with self._lock:
            if steps and self._attempt(lambda: self._apply(steps), on_unavailable) is not None:
                for step in steps:
                    self._process_one(step, on_unavailable)

    def process_suspects(self, events: Sequence[Envelope], on_unavailable: OnUnavailable) -> None:
        """Process events that may include one that killed the worker; record each start first.

        An event that killed the worker `parked.DEADLY_STARTS` times is parked as dead instead.
        """
        for event in events:
            step = self._step_of(event)
            with self._lock:
                if self._admit(event, on_unavailable):
                    self._process_one(step, on_unavailable)

    def park_unreadable(self, event: Envelope, reason: str, on_unavailable: OnUnavailable) -> None:
        """Park bytes that are no event, as dead."""
        log.warning("message parked", event_id=event.event_id, error=reason)
        with self._lock:
            self._park(event, "unreadable", reason, "dead", on_unavailable)

    def park_given_up(self, event: Envelope, why: str, on_unavailable: OnUnavailable) -> None:
        """Park an event that the broker dead-lettered, as dead, unless it has taken effect."""
        with self._lock:
            self._park(event, "given_up", why, "dead", on_unavailable)

    def _step_of(self, event: Envelope) -> Step:
        subscription = self._handlers.get(event.type)
        if subscription is None:
            # A subscriber needs every event of a fact. An event of another contract version waits
            # until a version of the service can handle it.
            other = other_version(event.type, self._handlers)
            if other is None and contract_of(event.type) is not None:
                return Step(event)  # a binding of the previous deployment
            return Step(
                event,
                problem=other or other_version(event.type, BY_TYPE) or "unknown_type",
                error=f"{event.type} is not known to this version of {self.service.name}",
            )
        contract, handler = subscription
        try:
            return Step(load_data(event, contract), handler)
        except Invalid as error:
            return Step(event, problem="invalid", error=str(error))
        except Exception as error:
            # The check itself failed: no content of an event may end the consumer.
            return Step(event, problem="invalid", error=_describe(error))

    def _apply(self, steps: Sequence[Step]) -> None:
        counts: Counter[str] = Counter()
        with transaction(self.database, self.service.batch) as batch:
            session = batch.session
            advisory_lock(session, "consumer")
            new = inbox.take(session, (step.event for step in steps))
            fresh = []
            for step in steps:
                if step.event.event_id in new:
                    new.discard(step.event.event_id)  # a batch may contain an event twice
                    fresh.append(step)
                else:
                    counts["repeated"] += 1
            firsts = parked.firsts_of(session, {step.event.subject for step in fresh})
            self._load(batch, [step for step in fresh if step.event.subject not in firsts])
            for step in fresh:
                counts[self._apply_step(batch, step, firsts)] += 1
        self.outcomes(counts)

    def _apply_step(self, batch: Batch, step: Step, firsts: dict[str, UUID]) -> str:
        session, event = batch.session, step.event
        first = firsts.get(event.subject)
        if first is not None and first != event.event_id:
            firsts[event.subject] = parked.wait(session, event, first)
            return "parked"
        if step.problem is not None:
            firsts[event.subject] = event.event_id
            parked.park(session, event, step.problem, step.error, "waiting")
            log.warning("event parked", event_type=event.type, reason=step.problem)
            return "parked"
        if step.handler is not None:
            self._handle(batch, event, step.handler)
        if first is not None:  # it was a suspect
            following = parked.leave(session, event)
            del firsts[event.subject]
            if following is not None:
                firsts[event.subject] = following
        return "ignored" if step.handler is None else "handled"

    def _handle(self, batch: Batch, event: Event[Any], handler: Handler) -> None:
        cause = tracing.Cause(event.correlation_id, str(event.event_id), event.traceparent)
        attributes = {"messaging.message.id": str(event.event_id)}
        attributes["farmgate.subject"] = event.subject
        span = tracing.span(self.service.name, f"handle {event.type}", "consumer", attributes)
        with tracing.caused_by(cause), span:
            handler(batch, event)

    def _load(self, batch: Batch, steps: Sequence[Step]) -> None:
        if self.service.load is not None:
            self.service.load(batch, [step.event for step in steps if step.handler is not None])

    def _process_one(self, step: Step, on_unavailable: OnUnavailable) -> None:
        error = self._attempt(lambda: self._apply([step]), on_unavailable)
        if error is not None:
            event, text = step.event, _describe(error)
            log.error("event parked", event_type=event.type, subject=event.subject, error=text)
            self._park(event, "handler_failed", text, "waiting", on_unavailable)

    def _park(
        self,
        event: Envelope,
        reason: str,
        error: str,
        state: str,
        on_unavailable: OnUnavailable,
    ) -> None:
        """Park an event that is not in the inbox yet; retry until that succeeds."""

        def park() -> None:
            with self.database.sessions.begin() as session:
                advisory_lock(session, "consumer")
                new = inbox.take(session, [event])
                if new:
                    parked.park(session, event, reason, error, state)
            self.outcomes(Counter(parked=len(new)))

        self._attempt_until_done(park, on_unavailable)

    def _admit(self, event: Envelope, on_unavailable: OnUnavailable) -> bool:
        """Record the start of a suspect; return whether it may be started."""
        admitted = False

        def admit() -> None:
            nonlocal admitted
            with self.database.sessions.begin() as session:
                advisory_lock(session, "consumer")
                admitted = self._start(session, event)

        self._attempt_until_done(admit, on_unavailable)
        return admitted

    def _start(self, session: Session, event: Envelope) -> bool:
        if session.get(Inbox, event.event_id) is not None:
            return False
        row = session.get(Parked, event.event_id)
        if row is None:
            if not parked.firsts_of(session, {event.subject}):
                parked.park(session, event, parked.KILLED, None, "suspect")
            return True
        if parked.start(row):
            return True
        inbox.take(session, [event])
        log.error("event parked as killer", event_type=event.type, subject=event.subject)
        return False

    def _attempt(self, work: Callable[[], None], on_unavailable: OnUnavailable) -> Exception | None:
        """Do `work`; retry it after a deadlock and while the database is unavailable.

        Returns the error if it failed for another reason.
        """
        at_once = DEADLOCK_TRIES
        while True:
            try:
                with self.limit("handling"):
                    work()
                return None
            except Exception as error:
                kind = classify(error)
                if kind is DatabaseError.OTHER:
                    return error
                if kind is DatabaseError.DEADLOCK and at_once:
                    at_once -= 1
                    continue
                log.warning("database unavailable", reason=kind.value, error=_describe(error))
            at_once = DEADLOCK_TRIES
            on_unavailable(UNAVAILABLE_PAUSE)

    def _attempt_until_done(self, work: Callable[[], None], on_unavailable: OnUnavailable) -> None:
        """Do bookkeeping that must not be skipped; retry it after any error."""
        while (error := self._attempt(work, on_unavailable)) is not None:
            log.error("an event's outcome cannot be recorded", error=_describe(error))
            on_unavailable(UNAVAILABLE_PAUSE)

    # --- Events that are parked -----------------------------------------------------------

    def retry_parked(self) -> bool:
        """Retry the next parked event that is due; return False when none is.

        Its start is committed first, so that an event that kills the worker ends as dead.
        """
        with self._lock:
            if not self._upgraded:
                self._make_supported_due()
            # Called every second, mostly with nothing due: a read needs no write lock.
            with self.database.readers() as session:
                if not parked.any_due(session):
                    return False
            with self.database.sessions.begin() as session:
                advisory_lock(session, "consumer")
                row = parked.next_due(session)
                if row is None:
                    return False
                if not parked.start(row):
                    log.error("event parked as killer", event_type=row.type, subject=row.subject)
                    return True
                event_id, body = row.event_id, row.body
            reason = "handler_failed"
            try:
                step = self._step_of(decode(body))
                if step.problem is not None:
                    reason = step.problem
                    raise RuntimeError(step.error)
                with self.limit("handling"):
                    self._apply_parked(step)
            except Exception as error:
                kind = classify(error)
                with self.database.sessions.begin() as session:
                    row = session.get(Parked, event_id, with_for_update=True)
                    if row is not None and kind is DatabaseError.OTHER:
                        unreadable = isinstance(error, Unreadable)
                        parked.fail(row, "unreadable" if unreadable else reason, _describe(error))
                    elif row is not None:
                        parked.put_back(row)
                if kind is DatabaseError.UNAVAILABLE:
                    raise
            return True

    def _make_supported_due(self) -> None:
        """Make parked events due whose types this version of the service supports.

        Once per process, when it gets the timers: the previous version has stopped by then.
        """
        with self.database.sessions.begin() as session:
            advisory_lock(session, "consumer")
            count = parked.try_again(session, NOT_UNDERSTOOD, self.types)
        self._upgraded = True
        if count:
            log.info("parked events of a version supported now are due", count=count)

    def _apply_parked(self, step: Step) -> None:
        event = step.event
        with transaction(self.database, self.service.batch) as batch:
            session = batch.session
            advisory_lock(session, "consumer")
            if session.get(Parked, event.event_id) is None:
                return  # the broker delivered it again meanwhile, and it was processed
            inbox.take(session, [event])
            self._load(batch, [step])
            counts = Counter([self._apply_step(batch, step, {event.subject: event.event_id})])
        log.info("parked event handled", event_type=event.type, subject=event.subject)
        self.outcomes(counts)


def _describe(error: Exception) -> str:
    """Return the error with its file and line, without the values of a statement."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else "?"
    text = str(getattr(error, "orig", None) or error)
    return f"{type(error).__name__} at {place}: {text}"
