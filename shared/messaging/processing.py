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
class Incoming:
    """One event that came in, with its handler.

    An event with a `problem` is parked. An event without either is ignored.
    """

    event: Event[Any]
    handler: Handler | None = None
    problem: str | None = None
    error: str | None = None


class NotUnderstood(Exception):
    """Raised for a parked event that still has a `problem`; the message says which."""


class Processor:
    """Processes one service's events, one batch at a time.

    Threads of the process take turns by a lock, processes by an advisory lock of the database.
    """

    def __init__(self, service: Service, database: Database) -> None:
        self.service = service
        self.database = database
        #: Called after each commit with the number of events by outcome, for the metrics.
        self.count_outcomes: Callable[[Counter[str]], None] = lambda counts: None
        #: Wraps each transaction: a statement that never returns must not hang the worker.
        self.limit: Limit = unlimited
        self._subscriptions = {
            contract.routing_key: (contract, handler)
            for contract, handler in service.subscriptions.items()
        }
        self._lock = threading.Lock()
        self._made_supported_due = False

    @property
    def types(self) -> frozenset[str]:
        """The event types to which this service subscribes."""
        return frozenset(self._subscriptions)

    # --- Events that arrive ---------------------------------------------------------------

    def process(self, events: Sequence[Envelope], on_unavailable: OnUnavailable) -> None:
        """Process a batch; on return each event has taken effect, is ignored or parked, committed.

        Events of one subject must be in their order. Processing an event again changes nothing.

        Raises:
            Exception: any error of `on_unavailable`.
        """
        incoming = [self._match(event) for event in events]
        if not incoming:
            return
        with self._lock:
            if self._attempt(lambda: self._apply(incoming), on_unavailable) is not None:
                for item in incoming:
                    self._process_one(item, on_unavailable)

    def process_suspects(self, events: Sequence[Envelope], on_unavailable: OnUnavailable) -> None:
        """Process events that may include one that killed the worker; record each start first.

        An event that killed the worker `parked.DEADLY_STARTS` times is parked as dead instead.
        """
        for event in events:
            item = self._match(event)
            with self._lock:
                if self._admit(event, on_unavailable):
                    self._process_one(item, on_unavailable)

    def park_unreadable(self, event: Envelope, error: str, on_unavailable: OnUnavailable) -> None:
        """Park bytes that are no event, as dead."""
        log.warning("message parked", event_id=event.event_id, error=error)
        with self._lock:
            self._park(event, "unreadable", error, "dead", on_unavailable)

    def park_given_up(self, event: Envelope, error: str, on_unavailable: OnUnavailable) -> None:
        """Park an event that the broker dead-lettered, as dead, unless it has taken effect."""
        with self._lock:
            self._park(event, "given_up", error, "dead", on_unavailable)

    def _match(self, event: Envelope) -> Incoming:
        subscription = self._subscriptions.get(event.type)
        if subscription is None:
            # A subscriber needs every event of a fact. An event of another contract version waits
            # until a version of the service can handle it.
            other = other_version(event.type, self._subscriptions)
            if other is None and contract_of(event.type) is not None:
                return Incoming(event)  # a binding of the previous deployment
            return Incoming(
                event,
                problem=other or other_version(event.type, BY_TYPE) or "unknown_type",
                error=f"{event.type} is not known to this version of {self.service.name}",
            )
        contract, handler = subscription
        try:
            return Incoming(load_data(event, contract), handler)
        except Invalid as error:
            return Incoming(event, problem="invalid", error=str(error))
        except Exception as error:
            # The check itself failed: no content of an event may end the consumer.
            return Incoming(event, problem="invalid", error=_describe(error))

    def _apply(self, incoming: Sequence[Incoming]) -> None:
        """Handle, park or ignore all of these events in one transaction."""
        counts: Counter[str] = Counter()
        with transaction(self.database, self.service.batch) as batch:
            session = batch.session
            new = inbox.take(session, (item.event for item in incoming))
            fresh = []
            for item in incoming:
                if item.event.event_id in new:
                    new.discard(item.event.event_id)  # a batch may contain an event twice
                    fresh.append(item)
                else:
                    counts["repeated"] += 1
            first_parked = parked.firsts_of(session, {item.event.subject for item in fresh})
            self._load(batch, [item for item in fresh if item.event.subject not in first_parked])
            for item in fresh:
                counts[self._apply_one(batch, item, first_parked)] += 1
        self.count_outcomes(counts)

    def _apply_one(self, batch: Batch, item: Incoming, first_parked: dict[str, UUID]) -> str:
        """Handle, park or ignore one new event; return its outcome, as the metrics count it.

        `first_parked` has the id of the first parked event by subject, and is kept up to date.
        """
        session, event = batch.session, item.event
        first = first_parked.get(event.subject)
        if first is not None and first != event.event_id:
            first_parked[event.subject] = parked.wait(session, event, first)
            return "parked"
        if item.problem is not None:
            first_parked[event.subject] = event.event_id
            parked.park(session, event, item.problem, item.error, "waiting")
            log.warning("event parked", event_type=event.type, reason=item.problem)
            return "parked"
        if item.handler is not None:
            self._handle(batch, event, item.handler)
        if first is not None:  # it is parked itself, as a suspect or for this retry
            following = parked.leave(session, event)
            del first_parked[event.subject]
            if following is not None:
                first_parked[event.subject] = following
        return "ignored" if item.handler is None else "handled"

    def _handle(self, batch: Batch, event: Event[Any], handler: Handler) -> None:
        cause = tracing.Cause(event.correlation_id, str(event.event_id), event.traceparent)
        attributes = {"messaging.message.id": str(event.event_id)}
        attributes["farmgate.subject"] = event.subject
        span = tracing.span(self.service.name, f"handle {event.type}", "consumer", attributes)
        with tracing.caused_by(cause), span:
            handler(batch, event)

    def _load(self, batch: Batch, incoming: Sequence[Incoming]) -> None:
        if self.service.load is not None:
            self.service.load(batch, [item.event for item in incoming if item.handler is not None])

    def _process_one(self, item: Incoming, on_unavailable: OnUnavailable) -> None:
        error = self._attempt(lambda: self._apply([item]), on_unavailable)
        if error is not None:
            event, text = item.event, _describe(error)
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
                new = inbox.take(session, [event])
                if new:
                    parked.park(session, event, reason, error, state)
            self.count_outcomes(Counter(parked=len(new)))

        self._attempt_until_done(park, on_unavailable)

    def _admit(self, event: Envelope, on_unavailable: OnUnavailable) -> bool:
        """Record the start of a suspect; return whether it may be started."""
        admitted = False

        def admit() -> None:
            nonlocal admitted
            with self.database.sessions.begin() as session:
                advisory_lock(session, inbox.CONSUMER)
                admitted = self._record_start(session, event)

        self._attempt_until_done(admit, on_unavailable)
        return admitted

    def _record_start(self, session: Session, event: Envelope) -> bool:
        """Record the start; return False for an event that took effect or is parked as dead."""
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
        tries_left = DEADLOCK_TRIES
        while True:
            try:
                with self.limit("handling"):
                    work()
                return None
            except Exception as error:
                kind = classify(error)
                if kind is DatabaseError.OTHER:
                    return error
                if kind is DatabaseError.DEADLOCK and tries_left:
                    tries_left -= 1
                    continue
                log.warning("database unavailable", reason=kind.value, error=_describe(error))
            tries_left = DEADLOCK_TRIES
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
            if not self._made_supported_due:
                self._make_supported_due()
            # Called every second, mostly with nothing due: a read needs no write lock.
            with self.database.readers() as session:
                if not parked.any_due(session):
                    return False
            with self.database.sessions.begin() as session:
                advisory_lock(session, inbox.CONSUMER)
                row = parked.next_due(session)
                if row is None:
                    return False
                if not parked.start(row):
                    log.error("event parked as killer", event_type=row.type, subject=row.subject)
                    return True
                event_id, body = row.event_id, row.body
            reason = "handler_failed"
            try:
                item = self._match(decode(body))
                if item.problem is not None:
                    reason = item.problem
                    raise NotUnderstood(item.error)
                with self.limit("handling"):
                    self._apply_parked(item)
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
            advisory_lock(session, inbox.CONSUMER)
            count = parked.try_again(session, NOT_UNDERSTOOD, self.types)
        self._made_supported_due = True
        if count:
            log.info("parked events of a version supported now are due", count=count)

    def _apply_parked(self, item: Incoming) -> None:
        event = item.event
        with transaction(self.database, self.service.batch) as batch:
            session = batch.session
            advisory_lock(session, inbox.CONSUMER)
            if session.get(Parked, event.event_id) is None:
                return  # the broker delivered it again meanwhile, and it was processed
            inbox.take(session, [event])
            self._load(batch, [item])
            counts = Counter([self._apply_one(batch, item, {event.subject: event.event_id})])
        log.info("parked event handled", event_type=event.type, subject=event.subject)
        self.count_outcomes(counts)


def _describe(error: Exception) -> str:
    """Return the error with its file and line, without the values of a statement.

    Of an event that is not understood only the message: the line would be one of this file.
    """
    if isinstance(error, NotUnderstood):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else "?"
    text = str(getattr(error, "orig", None) or error)
    return f"{type(error).__name__} at {place}: {text}"
