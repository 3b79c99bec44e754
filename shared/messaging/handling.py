"""What a service does with events that reached it: the consumer's, the bus's and the tests' door.

A batch is one transaction: inbox, handlers, outbox, one commit. Only when it fails is it redone
one event at a time, to find the culprit and park it; everything else of the batch takes effect.
While the database is away nothing is given up: the batch waits. So it does while an event can
be neither handled nor parked: to return would let it be acknowledged, and so lost.
"""

import threading
import traceback
from collections import Counter, defaultdict
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
from shared.runtime.database import Database, Trouble, trouble_of
from shared.runtime.locks import advisory_lock
from shared.runtime.logs import get
from shared.runtime.watchdog import Limit, unlimited

log = get(__name__)

#: How often a batch is tried again at once after a deadlock; then only after a pause.
DEADLOCK_TRIES = 3
#: Seconds between attempts while the database is away.
AWAY_PAUSE = 1.0
#: Reasons that an upgrade of this service ends.
NOT_UNDERSTOOD = ("newer_version", "older_version", "unknown_type")


class WhileAway(Protocol):
    """Called between attempts while the database is away, with seconds to spend.

    It keeps what must be kept alive, and raises to give up (the batch was not committed).
    """

    def __call__(self, seconds: float) -> None: ...


@dataclass(frozen=True)
class Step:
    """An event and what to do with it: a handler, nothing (`handler` None), or park it."""

    event: Event[Any]
    handler: Handler | None = None
    problem: str | None = None
    error: str | None = None


class Handling:
    """One service's way with events. Threads take turns; so do processes, by the database."""

    def __init__(self, service: Service, database: Database) -> None:
        self.service = service
        self.database = database
        self.outcomes: Callable[[Counter[str]], None] = lambda counts: None
        #: Around each transaction: what hangs in it must not hang for ever.
        self.limit: Limit = unlimited
        self._handlers = {c.routing_key: (c, h) for c, h in service.subscriptions.items()}
        self._prepare = {c.routing_key: p for c, p in service.prepare.items()}
        self._turn = threading.Lock()
        self._upgraded = False

    @property
    def types(self) -> frozenset[str]:
        """The event types this service listens to."""
        return frozenset(self._handlers)

    # --- Events that arrive ---------------------------------------------------------------

    def settle(self, events: Sequence[Envelope], while_away: WhileAway) -> None:
        """Return when each event has taken effect, was ignored, or is parked; all committed.

        Events of one subject must be given in their order. Safe to repeat with the same events.

        Raises:
            whatever `while_away` raises.
        """
        steps = [self._understand(event) for event in events]
        with self._turn:
            if steps and self._attempt(lambda: self._apply(steps), while_away) is not None:
                for step in steps:
                    self._settle_one(step, while_away)

    def settle_suspects(self, events: Sequence[Envelope], while_away: WhileAway) -> None:
        """Settle events of which one may have killed the worker, noting each before it starts.

        One that killed it `parked.DEADLY_STARTS` times on record is parked as dead, unseen.
        """
        for event in events:
            step = self._understand(event)
            with self._turn:
                if self._admit(event, while_away):
                    self._settle_one(step, while_away)

    def park_unreadable(self, event: Envelope, reason: str, while_away: WhileAway) -> None:
        """Keep bytes that are no event of ours in the list of parked ones, as dead."""
        log.warning("message parked", event_id=event.event_id, error=reason)
        with self._turn:
            self._park(event, "unreadable", reason, "dead", while_away)

    def park_given_up(self, event: Envelope, why: str, while_away: WhileAway) -> None:
        """Keep an event that the broker gave up, as dead, unless it took effect after all."""
        with self._turn:
            self._park(event, "given_up", why, "dead", while_away)

    def _understand(self, event: Envelope) -> Step:
        known = self._handlers.get(event.type)
        if known is None:
            # Who listens to a fact wants each of it: what this version cannot handle must wait
            # for one that can, even when the contract is known already, or still.
            other = other_version(event.type, self._handlers)
            if other is None and contract_of(event.type) is not None:
                return Step(event)  # a binding from before the last deployment
            return Step(
                event,
                problem=other or other_version(event.type, BY_TYPE) or "unknown_type",
                error=f"{event.type} is not known to this version of {self.service.name}",
            )
        contract, handler = known
        try:
            return Step(load_data(event, contract), handler)
        except Invalid as error:
            return Step(event, problem="invalid", error=str(error))
        except Exception as error:
            # A check that fails itself: whatever an event says, it must not end the consumer.
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
                    new.discard(step.event.event_id)  # a batch may hold an event twice
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
        facts = {"messaging.message.id": str(event.event_id), "farmgate.subject": event.subject}
        name = f"handle {event.type}"
        with tracing.caused_by(cause), tracing.span(self.service.name, name, "consumer", facts):
            handler(batch.session if self.service.load is None else batch, event)

    def _load(self, batch: Batch, steps: Sequence[Step]) -> None:
        """Load what the handlers will need, in a few statements for all events."""
        events = [step.event for step in steps if step.handler is not None]
        if self.service.load is not None:
            self.service.load(batch, events)
            return
        by_type: defaultdict[str, list[Event[Any]]] = defaultdict(list)
        for event in events:
            if event.type in self._prepare:
                by_type[event.type].append(event)
        for type_, of_type in by_type.items():
            self._prepare[type_](batch.session, of_type)

    def _settle_one(self, step: Step, while_away: WhileAway) -> None:
        error = self._attempt(lambda: self._apply([step]), while_away)
        if error is not None:
            event, text = step.event, _describe(error)
            log.error("event parked", event_type=event.type, subject=event.subject, error=text)
            self._park(event, "handler_failed", text, "waiting", while_away)

    def _park(
        self, event: Envelope, reason: str, error: str, state: str, while_away: WhileAway
    ) -> None:
        """Park an event that is not in the inbox yet, whatever it takes."""

        def park() -> None:
            with self.database.sessions.begin() as session:
                advisory_lock(session, "consumer")
                new = inbox.take(session, [event])
                if new:
                    parked.park(session, event, reason, error, state)
            self.outcomes(Counter(parked=len(new)))

        self._insist(park, while_away)

    def _admit(self, event: Envelope, while_away: WhileAway) -> bool:
        """Note the start of a suspect; return whether it may be started."""
        admitted = False

        def admit() -> None:
            nonlocal admitted
            with self.database.sessions.begin() as session:
                advisory_lock(session, "consumer")
                admitted = self._start(session, event)

        self._insist(admit, while_away)
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

    def _attempt(self, work: Callable[[], None], while_away: WhileAway) -> Exception | None:
        """Do `work`, again after a deadlock and while the database is away.

        Returns why it failed, if that is for another reason.
        """
        at_once = DEADLOCK_TRIES
        while True:
            try:
                with self.limit("handling"):
                    work()
                return None
            except Exception as error:
                trouble = trouble_of(error)
                if trouble is Trouble.OTHER:
                    return error
                if trouble is Trouble.DEADLOCK and at_once:
                    at_once -= 1
                    continue
                log.warning("database away", reason=trouble.value, error=_describe(error))
            at_once = DEADLOCK_TRIES
            while_away(AWAY_PAUSE)

    def _insist(self, work: Callable[[], None], while_away: WhileAway) -> None:
        """Do bookkeeping of our own; if it fails (no such table?), again until it does not."""
        while (error := self._attempt(work, while_away)) is not None:
            log.error("cannot note what became of an event", error=_describe(error))
            while_away(AWAY_PAUSE)

    # --- Events that are parked -----------------------------------------------------------

    def retry_parked(self) -> bool:
        """Try the next parked event that is due; return False when none is.

        Its start is committed first, so that an event that kills the worker ends as dead.
        """
        with self._turn:
            if not self._upgraded:
                self._try_what_is_understood_now()
            # Asked every second for ever, and nearly always for nothing.
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
                step = self._understand(decode(body))
                if step.problem is not None:
                    reason = step.problem
                    raise RuntimeError(step.error)
                with self.limit("handling"):
                    self._apply_parked(step)
            except Exception as error:
                trouble = trouble_of(error)
                with self.database.sessions.begin() as session:
                    row = session.get(Parked, event_id, with_for_update=True)
                    if row is not None and trouble is Trouble.OTHER:
                        unreadable = isinstance(error, Unreadable)
                        parked.fail(row, "unreadable" if unreadable else reason, _describe(error))
                    elif row is not None:
                        parked.put_back(row)
                if trouble is Trouble.AWAY:
                    raise
            return True

    def _try_what_is_understood_now(self) -> None:
        """Let events be due that waited for this version of the code, however long they waited.

        Once per process, when it first has the timers: the version before it has stopped then.
        """
        with self.database.sessions.begin() as session:
            advisory_lock(session, "consumer")
            count = parked.try_again(session, NOT_UNDERSTOOD, self.types)
        self._upgraded = True
        if count:
            log.info("parked events of a version known now are due", count=count)

    def _apply_parked(self, step: Step) -> None:
        event = step.event
        with transaction(self.database, self.service.batch) as batch:
            session = batch.session
            advisory_lock(session, "consumer")
            if session.get(Parked, event.event_id) is None:
                return  # its message came back meanwhile and was settled
            inbox.take(session, [event])
            self._load(batch, [step])
            counts = Counter([self._apply_step(batch, step, {event.subject: event.event_id})])
        log.info("parked event handled", event_type=event.type, subject=event.subject)
        self.outcomes(counts)


def _describe(error: Exception) -> str:
    """Return the error with the place it came from, without the values of a statement."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else "?"
    text = str(getattr(error, "orig", None) or error)
    return f"{type(error).__name__} at {place}: {text}"
