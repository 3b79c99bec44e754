"""What a service does with events that reached it: the consumer's, the bus's and the tests' door.

A batch is one transaction: inbox, handlers, outbox, one commit. Only when it fails is it redone
one event at a time, to find the culprit and park it; everything else of the batch takes effect.
While the database is away nothing is given up: the batch waits.
"""

import threading
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from marshmallow import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from shared import inbox, parked, tracing
from shared.clock import now
from shared.database import Database, Trouble, trouble_of
from shared.envelope import Envelope, contract_of, decode, is_newer_version, load_data
from shared.logs import get
from shared.rows import take_turns
from shared.service import Handler, Service
from shared.tables import Inbox, Parked

log = get(__name__)

#: How often a batch is tried again after a deadlock before it is taken apart.
DEADLOCK_TRIES = 3
#: An event with this many starts on record that all ended in a dead worker is not started again.
SUSPECT_TRIES = 2
#: Seconds between attempts while the database is away.
AWAY_PAUSE = 1.0


class WhileAway(Protocol):
    """Called between attempts while the database is away, with seconds to spend.

    It keeps what must be kept alive, and raises to give up (the batch was not committed).
    """

    def __call__(self, seconds: float) -> None: ...


@dataclass(frozen=True)
class Step:
    """An event and what to do with it: a handler, nothing (`handler` None), or park it."""

    event: Envelope
    handler: Handler | None = None
    problem: str | None = None
    error: str | None = None


class Handling:
    """One service's way with events. Threads take turns; so do processes, by the database."""

    def __init__(self, service: Service, database: Database) -> None:
        self.service = service
        self.database = database
        self.outcomes: Callable[[Counter[str]], None] = lambda counts: None
        self._handlers = {c.routing_key: (c, h) for c, h in service.subscriptions.items()}
        self._prepare = {c.routing_key: p for c, p in service.prepare.items()}
        self._turn = threading.Lock()

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
            if steps and not self._survives(lambda: self._apply(steps), while_away):
                for step in steps:
                    self._settle_one(step, while_away)

    def settle_suspects(self, events: Sequence[Envelope], while_away: WhileAway) -> None:
        """Settle events of which one may have killed the worker, noting each before it starts.

        An event with `SUSPECT_TRIES` starts on record and no end is parked as dead unseen.
        """
        for event in events:
            step = self._understand(event)
            with self._turn:
                admitted: list[bool] = []

                def admit(event: Envelope = event, answer: list[bool] = admitted) -> None:
                    answer[:] = [self._admit_suspect(event)]

                self._survives(admit, while_away)
                if admitted == [True]:
                    self._settle_one(step, while_away)

    def park_unreadable(self, event: Envelope, reason: str, while_away: WhileAway) -> None:
        """Keep bytes that are no event of ours in the list of parked ones, as dead."""

        def keep() -> None:
            with self.database.sessions.begin() as session:
                take_turns(session, "consumer")
                if inbox.take(session, [event]):
                    parked.park(session, event, "unreadable", reason, "dead")

        with self._turn:
            self._survives(keep, while_away)

    def _understand(self, event: Envelope) -> Step:
        known = self._handlers.get(event.type)
        if known is None:
            if contract_of(event.type) is not None:
                return Step(event)  # a binding from before the last deployment
            newer = is_newer_version(event.type)
            return Step(
                event,
                problem="newer_version" if newer else "unknown_type",
                error=f"{event.type} is not known to this version of {self.service.name}",
            )
        contract, handler = known
        try:
            return Step(load_data(event, contract), handler)
        except ValidationError as error:
            return Step(event, problem="invalid", error=str(error.messages))

    def _apply(self, steps: Sequence[Step]) -> None:
        counts: Counter[str] = Counter()
        with self.database.sessions.begin() as session:
            take_turns(session, "consumer")
            new = inbox.take(session, (step.event for step in steps))
            fresh = []
            for step in steps:
                if step.event.event_id in new:
                    new.discard(step.event.event_id)  # a batch may hold an event twice
                    fresh.append(step)
                else:
                    counts["repeated"] += 1
            held = parked.held_subjects(session, {step.event.subject for step in fresh})
            self._run_prepare(session, (s for s in fresh if s.event.subject not in held))
            for step in fresh:
                counts[self._apply_step(session, step, held)] += 1
        self.outcomes(counts)

    def _apply_step(self, session: Session, step: Step, held: set[str]) -> str:
        event = step.event
        if event.subject in held:
            parked.park(session, event, "behind", None, "behind")
            return "parked"
        if step.problem is not None:
            held.add(event.subject)
            parked.park(session, event, step.problem, step.error, "waiting")
            log.warning("event parked", event_type=event.type, reason=step.problem)
            return "parked"
        if step.handler is None:
            return "ignored"
        self._handle(session, event, step.handler)
        return "handled"

    def _handle(self, session: Session, event: Envelope, handler: Handler) -> None:
        cause = tracing.Cause(event.correlation_id, str(event.event_id), event.traceparent)
        with tracing.caused_by(cause):
            handler(session, event)

    def _run_prepare(self, session: Session, steps: Iterable[Step]) -> None:
        by_type: defaultdict[str, list[Envelope]] = defaultdict(list)
        for step in steps:
            if step.handler is not None and step.event.type in self._prepare:
                by_type[step.event.type].append(step.event)
        for type_, events in by_type.items():
            self._prepare[type_](session, events)

    def _settle_one(self, step: Step, while_away: WhileAway) -> None:
        event = step.event

        def alone() -> None:
            with self.database.sessions.begin() as session:
                take_turns(session, "consumer")
                if not inbox.take(session, [event]):
                    return
                suspect = session.get(Parked, event.event_id)
                if suspect is not None:
                    session.delete(suspect)
                    session.flush()
                held = parked.held_subjects(session, {event.subject})
                outcome = self._apply_step(session, step, held)
            self.outcomes(Counter({outcome: 1}))

        errors: list[Exception] = []
        if self._survives(alone, while_away, errors):
            return
        reason, error = "handler_failed", _describe(errors[-1])
        log.error("event parked", event_type=event.type, subject=event.subject, error=error)

        def park_it() -> None:
            with self.database.sessions.begin() as session:
                take_turns(session, "consumer")
                if inbox.take(session, [event]):
                    suspect = session.get(Parked, event.event_id)
                    if suspect is not None:
                        session.delete(suspect)
                        session.flush()
                    parked.park(session, event, reason, error, "waiting")
            self.outcomes(Counter(parked=1))

        if not self._survives(park_it, while_away, errors):
            raise errors[-1]

    def _admit_suspect(self, event: Envelope) -> bool:
        """Note the start of a suspect; return whether it may be started."""
        with self.database.sessions.begin() as session:
            take_turns(session, "consumer")
            if session.get(Inbox, event.event_id) is not None:
                return False
            row = session.get(Parked, event.event_id)
            if row is None:
                if parked.held_subjects(session, {event.subject}):
                    return True  # it will be parked behind
                parked.park(session, event, "killed_worker", None, "suspect")
                return True
            if row.attempts >= SUSPECT_TRIES:
                inbox.take(session, [event])
                row.state, row.error = "dead", f"the worker died {row.attempts} times handling it"
                log.error("event parked as killer", event_type=event.type, subject=event.subject)
                return False
            row.attempts += 1
            return True

    def _survives(
        self,
        work: Callable[[], None],
        while_away: WhileAway,
        errors: list[Exception] | None = None,
    ) -> bool:
        """Do `work`, again after a deadlock or while the database is away; False: it fails."""
        deadlocks = 0
        while True:
            try:
                work()
                return True
            except Exception as error:
                trouble = trouble_of(error)
                if trouble is Trouble.AWAY:
                    log.warning("database away", error=_describe(error))
                    while_away(AWAY_PAUSE)
                elif trouble is Trouble.DEADLOCK and deadlocks < DEADLOCK_TRIES:
                    deadlocks += 1
                else:
                    if errors is not None:
                        errors.append(error)
                    return False

    # --- Events that are parked -----------------------------------------------------------

    def retry_parked(self) -> bool:
        """Try the next parked event that is due; return False when none is.

        The attempt is counted before it starts, so that an event that kills the worker
        each time still ends as dead.
        """
        with self._turn:
            with self.database.sessions.begin() as session:
                take_turns(session, "consumer")
                row = parked.next_due(session)
                if row is None:
                    return False
                was_behind = row.state == "behind"
                parked.failed_again(row, row.reason, row.error or "")
                event_id, event = row.event_id, _reopen(row)
            step = self._understand(event)
            try:
                with self.database.sessions.begin() as session:
                    take_turns(session, "consumer")
                    row = session.get(Parked, event_id, with_for_update=True)
                    if row is None:
                        return True
                    session.delete(row)
                    session.flush()
                    if step.problem is not None:
                        raise RuntimeError(f"{step.problem}: {step.error}")
                    self._run_prepare(session, [step])
                    if step.handler is not None:
                        self._handle(session, step.event, step.handler)
                log.info("parked event handled", event_type=event.type, subject=event.subject)
                self.outcomes(Counter(handled=1))
            except Exception as error:
                if trouble_of(error) is not Trouble.OTHER:
                    raise
                with self.database.sessions.begin() as session:
                    row = session.get(Parked, event_id, with_for_update=True)
                    if row is not None:
                        row.error = _describe(error)[: parked.ERROR_LENGTH]
                        row.reason = step.problem or "handler_failed"
                        if was_behind:
                            row.first_failed_at = now()
            return True


def parked_of(session: Session, subject: str) -> Sequence[Parked]:
    """Return the parked events of a subject, oldest first."""
    return session.scalars(
        select(Parked).where(Parked.subject == subject).order_by(Parked.arrival)
    ).all()


def _reopen(row: Parked) -> Envelope:
    return decode(row.body)


def _describe(error: Exception) -> str:
    """Return the error with the place it came from, without the values of a statement."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else "?"
    text = str(getattr(error, "orig", None) or error)
    return f"{type(error).__name__} at {place}: {text}"
