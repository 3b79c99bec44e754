"""Whatever is delivered, repeated, mixed, cut off, failing and mended: once, and in order."""

import itertools
import tempfile
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import event as sql_event
from sqlalchemy import select, update

from shared.events import OrderPaid
from shared.messaging.envelope import Envelope, decode, encode, fact_of
from shared.messaging.processing import Processor
from shared.messaging.tables import Inbox, Parked
from shared.runtime import clock
from shared.runtime.database import Database
from shared.runtime.ids import new_id
from tests.support import probe
from tests.support.chance import examples

SUBJECTS = 3


class Died(BaseException):
    """What a killed worker looks like from inside: nothing after it runs."""


def never_unavailable(seconds: float) -> None:
    raise AssertionError("the database is away")


class Delivery(RuleBasedStateMachine):
    """A service, and a broker that keeps the order of each subject and may repeat itself.

    `sent[subject]` are its events, `acknowledged[subject]` how many of them need not come again.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.database = Database(f"sqlite:///{Path(self.folder.name)}/probe.db")
        probe.create_tables(self.database)
        probe.MENDED.clear()
        self.processor = Processor(probe.SERVICE, self.database)
        self.orders: list[UUID] = []
        self.sent: list[list[Envelope]] = [[] for _ in range(SUBJECTS)]
        self.acknowledged = [0] * SUBJECTS

    def teardown(self) -> None:
        self.everything_takes_effect_in_the_end()
        self.database.close()
        self.folder.cleanup()

    @initialize()
    def begin(self) -> None:
        self.orders = [uuid4() for _ in range(SUBJECTS)]

    @rule(subject=st.integers(0, SUBJECTS - 1), fails=st.sampled_from([False, False, False, True]))
    def publish(self, subject: int, fails: bool) -> None:
        facts = {
            "order_id": self.orders[subject],
            "order_ref": "ORD-1",
            "amount_fen": probe.FAILS if fails else 1,
            "method": "prepaid",
        }
        body = encode(
            fact_of(OrderPaid, facts),
            event_id=new_id(),
            sequence=len(self.sent[subject]) + 1,
            time=clock.now(),
            correlation_id="story",
            causation_id=None,
            traceparent=None,
        )
        self.sent[subject].append(decode(body))

    def batch(self, order: list[int], repeats: int, size: int) -> list[Envelope]:
        """Return the next events of each subject, from some that had come before, mixed."""
        lanes = [
            self.sent[s][max(0, self.acknowledged[s] - repeats) : self.acknowledged[s] + size]
            for s in order
        ]
        return [e for row in itertools.zip_longest(*lanes) for e in row if e is not None]

    mixed = st.permutations(range(SUBJECTS))

    @rule(order=mixed, repeats=st.integers(0, 2), size=st.integers(1, 4), suspect=st.booleans())
    def deliver(self, order: list[int], repeats: int, size: int, suspect: bool) -> None:
        process = self.processor.process_suspects if suspect else self.processor.process
        process(self.batch(order, repeats, size), never_unavailable)
        for subject, events in enumerate(self.sent):
            self.acknowledged[subject] = min(len(events), self.acknowledged[subject] + size)

    @rule(
        order=mixed,
        size=st.integers(1, 4),
        statement=st.integers(1, 12),
        suspect=st.booleans(),
        retrying=st.booleans(),
    )
    def die(
        self, order: list[int], size: int, statement: int, suspect: bool, retrying: bool
    ) -> None:
        """The worker dies at some statement; whatever it had in hand will come again."""
        left = statement

        def count(*_: object) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise Died

        sql_event.listen(self.database.engine, "before_cursor_execute", count)
        try:
            if retrying:
                self.make_due()
                self.processor.retry_parked()
            elif suspect:
                self.processor.process_suspects(self.batch(order, 0, size), never_unavailable)
            else:
                self.processor.process(self.batch(order, 0, size), never_unavailable)
        except Died:
            pass
        finally:
            sql_event.remove(self.database.engine, "before_cursor_execute", count)
        self.processor = Processor(probe.SERVICE, self.database)

    @rule(mended=st.booleans())
    def mend_or_break(self, mended: bool) -> None:
        probe.MENDED.clear()
        if mended:
            probe.MENDED.add("now")

    @rule()
    def retry(self) -> None:
        self.make_due()
        self.processor.retry_parked()

    def make_due(self) -> None:
        """Let all pauses be over, and an operator look at what is dead."""
        due = clock.now() - timedelta(seconds=1)
        with self.database.sessions.begin() as session:
            session.execute(
                update(Parked)
                .where(Parked.next_attempt_at.is_not(None))
                .values(next_attempt_at=due)
            )
            session.execute(
                update(Parked)
                .where(Parked.state == "dead")
                .values(state="waiting", attempts=1, next_attempt_at=due)
            )

    @invariant()
    def effects_are_a_prefix_of_each_subject_s_events(self) -> None:
        seen: dict[str, list[UUID]] = {}
        for effect in probe.effects(self.database):
            seen.setdefault(effect.subject, []).append(effect.event_id)
        for events in self.sent:
            if events:
                done = seen.get(events[0].subject, [])
                assert done == [event.event_id for event in events][: len(done)]

    @invariant()
    def nothing_acknowledged_is_forgotten(self) -> None:
        with self.database.readers() as session:
            known = set(session.scalars(select(Inbox.event_id)))
        for events, count in zip(self.sent, self.acknowledged, strict=True):
            assert {event.event_id for event in events[:count]} <= known

    @invariant()
    def only_the_first_of_a_subject_is_due(self) -> None:
        with self.database.readers() as session:
            rows = session.scalars(select(Parked).order_by(Parked.arrival)).all()
        waited_for: set[str] = set()
        for row in rows:
            assert (row.state == "behind") == (row.subject in waited_for)
            waited_for.add(row.subject)

    def everything_takes_effect_in_the_end(self) -> None:
        probe.MENDED.add("now")
        self.deliver(list(range(SUBJECTS)), 0, 1000, False)
        self.make_due()
        while self.processor.retry_parked():
            self.make_due()
        self.effects_are_a_prefix_of_each_subject_s_events()
        assert len(probe.effects(self.database)) == sum(map(len, self.sent))


TestDelivery = Delivery.TestCase
TestDelivery.settings = settings(
    max_examples=examples(40),
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
