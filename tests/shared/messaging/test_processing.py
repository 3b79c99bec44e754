"""Events take effect once, in order, in batches; a bad one stops nothing but its own subject."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import event as sql_event
from sqlalchemy import func, insert, select, text, update
from sqlalchemy.exc import OperationalError

from shared.events import Fact, OrderPaid
from shared.messaging import parked
from shared.messaging.batch import Batch
from shared.messaging.envelope import Envelope, Event, decode, encode, fact_of
from shared.messaging.processing import Processor
from shared.messaging.service import Service
from shared.messaging.tables import Inbox, Outbox, Parked
from shared.runtime import clock
from shared.runtime.database import Database
from shared.runtime.ids import new_id
from tests.support import probe


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/probe.db"
    else:
        url = request.getfixturevalue("postgres")("probe")
    opened = Database(url)
    probe.create_tables(opened)
    probe.MENDED.clear()
    yield opened
    opened.close()


@pytest.fixture
def processor(database: Database) -> Processor:
    return Processor(probe.SERVICE, database)


def paid(order_id: UUID, sequence: int = 1, amount_fen: int = 1) -> Envelope:
    return made(OrderPaid, order_id, sequence, amount_fen)


def made(contract: type[Fact], order_id: UUID, sequence: int, amount_fen: int) -> Envelope:
    body = encode(
        fact_of(
            contract,
            {
                "order_id": order_id,
                "order_ref": "ORD-1",
                "amount_fen": amount_fen,
                "method": "prepaid",
            },
        ),
        event_id=new_id(),
        sequence=sequence,
        time=clock.now(),
        correlation_id="story",
        causation_id=None,
        traceparent=None,
    )
    return decode(body)


def changed(event: Envelope, **attributes: object) -> Envelope:
    return decode(json.dumps(json.loads(event.body) | attributes).encode())


def never_unavailable(seconds: float) -> None:
    raise AssertionError("the database is away")


class Died(BaseException):
    """What a killed worker looks like from inside: nothing after it runs."""


def dying(database: Database) -> Processor:
    """Return a worker that every event kills."""

    def die(session: object, event: Envelope) -> None:
        raise Died

    return Processor(Service("notifications", {OrderPaid: die}), database)


class ServerError(Exception):
    """An error as the driver raises it."""

    def __init__(self, sqlstate: str) -> None:
        self.sqlstate = sqlstate


@contextmanager
def failing(database: Database, words: str, *sqlstates: str) -> Iterator[None]:
    """Let the first statements that contain `words` fail, each with one of these errors."""
    left = list(sqlstates)

    def fail(connection: object, cursor: object, statement: str, *rest: object) -> None:
        if left and words in statement:
            raise OperationalError(words, {}, ServerError(left.pop(0)))

    sql_event.listen(database.engine, "before_cursor_execute", fail)
    yield
    sql_event.remove(database.engine, "before_cursor_execute", fail)
    assert not left


def parked_rows(database: Database) -> list[Parked]:
    with database.readers() as session:
        return list(session.scalars(select(Parked).order_by(Parked.arrival)))


def make_due(database: Database) -> None:
    """Let the pause of every parked event that will be tried be over."""
    with database.sessions.begin() as session:
        session.execute(
            update(Parked)
            .where(Parked.next_attempt_at.is_not(None))
            .values(next_attempt_at=clock.now() - timedelta(seconds=1))
        )


def test_a_batch_takes_effect_in_order_and_each_effect_records_its_event(
    database: Database, processor: Processor
) -> None:
    orders = [uuid4() for _ in range(3)]
    batch = [paid(order, sequence) for sequence in (1, 2, 3) for order in orders]

    processor.process(batch, never_unavailable)

    assert [e.event_id for e in probe.effects(database)] == [e.event_id for e in batch]
    with database.readers() as session:
        causes = [json.loads(b) for b in session.scalars(select(Outbox.body).order_by(Outbox.id))]
    assert [c["causationid"] for c in causes] == [str(e.event_id) for e in batch]
    assert {c["correlationid"] for c in causes} == {"story"}


def test_a_repeated_delivery_changes_nothing(database: Database, processor: Processor) -> None:
    event = paid(uuid4())

    processor.process([event, event], never_unavailable)
    for _ in range(20):
        processor.process([event], never_unavailable)

    assert len(probe.effects(database)) == 1


def test_the_statements_of_a_batch_do_not_grow_with_it(
    database: Database, processor: Processor
) -> None:
    def count(size: int) -> int:
        seen: list[str] = []

        def note(connection: object, cursor: object, statement: str, *rest: object) -> None:
            seen.append(statement)

        sql_event.listen(database.engine, "before_cursor_execute", note)
        processor.process([paid(uuid4()) for _ in range(size)], never_unavailable)
        sql_event.remove(database.engine, "before_cursor_execute", note)
        return len(seen)

    assert count(10) == count(500)


def test_a_failing_event_is_parked_with_what_follows_on_its_subject_and_all_others_go_on(
    database: Database, processor: Processor
) -> None:
    """dotnet-architecture/eShopOnContainers#542, #612; medusajs/medusa#7850, #11633, #14357."""
    bad, good = uuid4(), uuid4()
    batch = [
        paid(good, 1),
        paid(bad, 1, probe.FAILS),
        paid(good, 2),
        paid(bad, 2),
        paid(good, 3),
        paid(bad, 3),
    ]

    processor.process(batch, never_unavailable)
    processor.process([paid(bad, 4)], never_unavailable)

    assert [e.sequence for e in probe.effects(database)] == [1, 2, 3]
    rows = parked_rows(database)
    assert [row.state for row in rows] == ["waiting", "behind", "behind", "behind"]
    assert rows[0].reason == "handler_failed"
    assert "Broken" in str(rows[0].error)
    with database.readers() as session:
        assert session.scalar(select(func.count()).select_from(Inbox)) == 7


def test_what_is_kept_and_logged_of_an_error_holds_no_values_of_the_row_it_was_about(
    database: Database,
    processor: Processor,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def insert_twice(batch: Batch, event: Event[OrderPaid]) -> None:
        # The name is in PostgreSQL's DETAIL, the phone in an error of our own.
        row = {**dict.fromkeys(("effect_id", "event_id"), event.event_id), "subject": "Tashi Dolma"}
        row |= {"sequence": 1, "amount_fen": 1, "version": 0}
        if event.data.amount_fen == 1:
            batch.session.execute(insert(probe.Effect), row | {"sequence": None})
        raise ValueError("13889041234 is no quantity")

    service = Service("notifications", {OrderPaid: insert_twice})
    other = Processor(service, database)

    other.process([paid(uuid4(), 1, 1), paid(uuid4(), 1, 2)], never_unavailable)

    errors = " ".join(str(row.error) for row in parked_rows(database))
    assert "IntegrityError" in errors
    assert "is no quantity" in errors
    for planted in ("Tashi", "13889041234", "DETAIL"):
        assert planted not in errors + capsys.readouterr().err


def test_after_the_fix_a_parked_subject_takes_effect_in_order(
    database: Database, processor: Processor
) -> None:
    bad = uuid4()
    processor.process([paid(bad, 1, probe.FAILS), paid(bad, 2), paid(bad, 3)], never_unavailable)
    assert not processor.retry_parked()  # its pause is not over

    probe.MENDED.add("now")
    make_due(database)
    while processor.retry_parked():
        pass

    assert [e.sequence for e in probe.effects(database)] == [1, 2, 3]
    assert parked_rows(database) == []


def only_in_order(batch: Batch, event: Event[OrderPaid]) -> None:
    """Handle an event as the probe does, if the one before it has taken effect."""
    before = select(probe.Effect).filter_by(subject=event.subject, sequence=event.sequence - 1)
    if event.sequence > 1 and batch.session.scalars(before).first() is None:
        raise probe.Broken(f"{event.sequence - 1} is missing")
    probe.on_order_paid(batch, event)


@pytest.mark.parametrize(
    "said", [[3, 2, 1], [2, 1, 3], [3, 1, 2], [2, 4, 3, 1], [4, 2, 1, 3], [5, 3, 4, 1, 2]]
)
@pytest.mark.parametrize("at_once", [True, False])
def test_what_was_lost_and_is_said_again_goes_before_what_waits_without_it(
    database: Database, said: list[int], at_once: bool
) -> None:
    processor = Processor(Service("notifications", {OrderPaid: only_in_order}), database)
    order, other = uuid4(), uuid4()
    events = [paid(order, sequence) for sequence in said]

    for batch in [events] if at_once else [[event] for event in events]:
        processor.process(batch, never_unavailable)
    processor.process([paid(other)], never_unavailable)
    waiting = [row.next_attempt_at for row in parked_rows(database) if row.next_attempt_at]
    make_due(database)
    while processor.retry_parked():
        pass

    assert len(waiting) == 1 and waiting[0] <= clock.now()
    effects = [e.sequence for e in probe.effects(database) if e.subject == f"order/{order}"]
    assert effects == sorted(said)
    assert parked_rows(database) == []


def test_what_is_said_again_leaves_an_event_that_was_given_up_to_its_operator(
    database: Database,
) -> None:
    processor = Processor(Service("notifications", {OrderPaid: only_in_order}), database)
    order = uuid4()
    first, second = paid(order, 1), paid(order, 2)
    processor.park_given_up(second, "returned twenty times", never_unavailable)

    processor.process([first], never_unavailable)
    while processor.retry_parked():
        pass

    assert [e.sequence for e in probe.effects(database)] == [1]
    assert [(row.event_id, row.state) for row in parked_rows(database)] == [
        (second.event_id, "dead")
    ]


def test_a_parked_event_pauses_longer_each_time_and_is_dead_after_its_attempts(
    database: Database, processor: Processor
) -> None:
    processor.process([paid(uuid4(), 1, probe.FAILS)], never_unavailable)
    pauses = []
    while parked_rows(database)[0].state == "waiting":
        make_due(database)
        assert processor.retry_parked()
        row = parked_rows(database)[0]
        if row.next_attempt_at is not None:
            pauses.append((row.next_attempt_at - clock.now()).total_seconds())

    assert parked_rows(database)[0].attempts == parked.ATTEMPTS
    assert pauses == sorted(pauses)
    assert probe.effects(database) == []


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"type": "orders.order_teleported.v1"}, "unknown_type"),
        ({"type": "orders.order_paid.v2"}, "newer_version"),
        ({"data": {"order_id": "no uuid"}}, "invalid"),
        ({"data": {}}, "invalid"),
    ],
)
def test_an_event_that_cannot_be_understood_is_parked_with_its_reason(
    database: Database, processor: Processor, attributes: dict[str, object], reason: str
) -> None:
    order, other = uuid4(), uuid4()

    processor.process(
        [changed(paid(order), **attributes), paid(order, 2), paid(other)], never_unavailable
    )

    assert [(row.reason, row.state) for row in parked_rows(database)] == [
        (reason, "waiting"),
        ("behind", "behind"),
    ]
    assert [e.subject for e in probe.effects(database)] == [f"order/{other}"]

    first = parked_rows(database)[0].error
    make_due(database)
    assert processor.retry_parked()
    assert parked_rows(database)[0].error == first  # the operator sees one group of this error


def test_a_known_event_nobody_here_listens_to_is_ignored(
    database: Database, processor: Processor
) -> None:
    processor.process([changed(paid(uuid4()), type="orders.order_expired.v1")], never_unavailable)

    assert parked_rows(database) == []
    assert probe.effects(database) == []


def paid_v2(order_id: UUID, sequence: int) -> Envelope:
    return changed(paid(order_id, sequence), type="orders.order_paid.v2")


def test_a_version_of_a_fact_that_others_know_and_this_service_cannot_handle_is_not_ignored(
    database: Database, processor: Processor, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its contract came with the release in hand, its handler comes with the next.
    monkeypatch.setattr("shared.messaging.processing.contract_of", lambda type_: OrderPaid)
    order_id = uuid4()

    processor.process([paid_v2(order_id, 1), paid(order_id, 2)], never_unavailable)

    reasons = [(row.reason, row.state) for row in parked_rows(database)]
    assert reasons == [("newer_version", "waiting"), ("behind", "behind")]


def after_the_upgrade(database: Database) -> Processor:
    """Return a worker of the next release, which handles two versions of the fact."""
    upgraded = Processor(probe.SERVICE, database)
    upgraded._subscriptions["orders.order_paid.v2"] = (OrderPaid, probe.on_order_paid)
    return upgraded


def test_after_an_upgrade_what_waited_for_it_takes_effect_in_order_even_when_it_was_given_up(
    database: Database, processor: Processor
) -> None:
    order_id = uuid4()
    processor.process(
        [paid_v2(order_id, 1), paid(order_id, 2), paid_v2(order_id, 3)], never_unavailable
    )
    while parked_rows(database)[0].state == "waiting":
        make_due(database)
        assert processor.retry_parked()
    assert [row.state for row in parked_rows(database)] == ["dead", "behind", "behind"]

    upgraded = after_the_upgrade(database)
    while upgraded.retry_parked():
        pass

    assert [effect.sequence for effect in probe.effects(database)] == [1, 2, 3]
    assert parked_rows(database) == []


def test_an_upgrade_does_not_try_again_what_failed_for_another_reason(
    database: Database, processor: Processor
) -> None:
    processor.process([paid(uuid4(), 1, probe.FAILS)], never_unavailable)
    before = parked_rows(database)[0].next_attempt_at

    assert not after_the_upgrade(database).retry_parked()

    assert parked_rows(database)[0].next_attempt_at == before


def test_unknown_fields_of_a_known_event_are_ignored(
    database: Database, processor: Processor
) -> None:
    event = paid(uuid4())
    data = json.loads(event.body)["data"] | {"from_the_future": 1}

    processor.process([changed(event, data=data)], never_unavailable)

    assert len(probe.effects(database)) == 1


def test_while_the_database_is_away_the_batch_waits_and_nothing_is_parked(
    database: Database, processor: Processor
) -> None:
    paused: list[float] = []

    with failing(database, "INSERT INTO inbox", "57P01", "08006", "53300"):
        processor.process([paid(uuid4()), paid(uuid4())], paused.append)

    assert len(paused) == 3
    assert len(probe.effects(database)) == 2
    assert parked_rows(database) == []


def test_a_suspect_that_died_twice_is_parked_unseen_and_its_neighbours_are_handled(
    database: Database, processor: Processor
) -> None:
    killer, other = paid(uuid4()), paid(uuid4())

    deaths = 0
    for _ in range(4):
        try:
            dying(database).process_suspects([killer], never_unavailable)
        except Died:
            deaths += 1
    processor.process_suspects([other], never_unavailable)

    assert deaths == 2
    assert [(row.reason, row.state) for row in parked_rows(database)] == [("killed_worker", "dead")]
    assert [e.event_id for e in probe.effects(database)] == [other.event_id]


def test_two_consumers_with_the_same_batch_leave_each_effect_once(
    database: Database, processor: Processor, in_threads: Callable[..., list[object]]
) -> None:
    batch = [paid(uuid4()) for _ in range(50)]
    second = Processor(probe.SERVICE, database)

    in_threads(
        [
            lambda: processor.process(batch, never_unavailable),
            lambda: second.process(batch, never_unavailable),
        ]
    )

    assert len(probe.effects(database)) == 50


def test_a_storm_of_deadlocks_parks_nothing(database: Database, processor: Processor) -> None:
    paused: list[float] = []

    with failing(database, "INSERT INTO inbox", *["40P01"] * 9):
        processor.process([paid(uuid4()), paid(uuid4())], paused.append)

    assert len(probe.effects(database)) == 2
    assert parked_rows(database) == []
    assert paused != []


@pytest.mark.parametrize("process", [Processor.process, Processor.process_suspects])
def test_an_event_that_can_be_neither_handled_nor_parked_waits(
    database: Database, processor: Processor, process: Callable[..., None]
) -> None:
    paused: list[float] = []

    with failing(database, "INSERT INTO parked_events", "42P01", "42P01"):
        process(processor, [paid(uuid4(), 1, probe.FAILS)], paused.append)

    assert len(paused) == 2
    assert [row.reason for row in parked_rows(database)] == ["handler_failed"]


def test_bytes_that_are_no_event_wait_until_they_can_be_kept(
    database: Database, processor: Processor, capsys: pytest.CaptureFixture[str]
) -> None:
    paused: list[float] = []

    with failing(database, "INSERT INTO parked_events", "42P01"):
        processor.park_unreadable(paid(uuid4()), "no \0 \ud800 JSON", paused.append)

    assert len(paused) == 1
    assert "message parked" in capsys.readouterr().err
    assert [(row.reason, row.state) for row in parked_rows(database)] == [("unreadable", "dead")]


def test_a_parked_event_that_kills_the_worker_twice_is_dead(
    database: Database, processor: Processor
) -> None:
    subject = uuid4()
    processor.process([paid(subject, 1, probe.FAILS), paid(subject, 2)], never_unavailable)

    deaths = 0
    for _ in range(4):
        make_due(database)
        try:
            dying(database).retry_parked()
        except Died:
            deaths += 1

    assert deaths == 2
    assert [(row.reason, row.state) for row in parked_rows(database)] == [
        ("killed_worker", "dead"),
        ("behind", "behind"),
    ]
    assert probe.effects(database) == []


def test_a_suspect_whose_message_never_comes_back_is_tried_again(
    database: Database, processor: Processor
) -> None:
    event = paid(uuid4())
    with pytest.raises(Died):
        dying(database).process_suspects([event], never_unavailable)

    make_due(database)
    assert processor.retry_parked()
    processor.process([event], never_unavailable)

    assert [e.event_id for e in probe.effects(database)] == [event.event_id]
    assert parked_rows(database) == []


@pytest.mark.parametrize("amount_fen", [1, probe.FAILS])
def test_a_suspect_keeps_its_place_before_what_was_parked_behind_it(
    database: Database, processor: Processor, amount_fen: int
) -> None:
    subject = uuid4()
    first, second, third = (paid(subject, n, amount_fen if n == 1 else 1) for n in (1, 2, 3))
    with pytest.raises(Died):
        dying(database).process_suspects([first], never_unavailable)
    processor.process([second], never_unavailable)

    processor.process([first, third], never_unavailable)
    probe.MENDED.add("now")
    make_due(database)
    while processor.retry_parked():
        pass

    assert [e.sequence for e in probe.effects(database)] == [1, 2, 3]
    assert parked_rows(database) == []


def test_an_attempt_that_the_database_cut_short_does_not_count(
    database: Database, processor: Processor
) -> None:
    processor.process([paid(uuid4(), 1, probe.FAILS)], never_unavailable)
    before = parked_rows(database)[0]
    probe.MENDED.add("now")

    with failing(database, "INSERT INTO inbox", "40P01", "57P01"):
        make_due(database)
        assert processor.retry_parked()
        make_due(database)
        with pytest.raises(OperationalError):
            processor.retry_parked()
    after = parked_rows(database)[0]
    make_due(database)
    assert processor.retry_parked()

    assert (after.attempts, after.state, after.reason) == (
        before.attempts,
        "waiting",
        before.reason,
    )
    assert len(probe.effects(database)) == 1


def test_what_is_due_among_10_000_parked_events_is_found_by_an_index(
    database: Database, processor: Processor
) -> None:
    event = paid(uuid4())
    moment = clock.now()
    rows = [
        {
            "event_id": new_id(),
            "arrival": number,
            "subject": f"order/{number // 10}",
            "publisher": "orders",
            "type": event.type,
            "body": event.body,
            "reason": "behind",
            "attempts": 0,
            "first_failed_at": moment,
            "next_attempt_at": moment + timedelta(hours=1) if number % 10 == 0 else None,
            "state": "waiting" if number % 10 == 0 else "behind",
        }
        for number in range(10_000)
    ]
    with database.sessions.begin() as session:
        session.execute(insert(Parked), rows)
        if not database.is_sqlite:
            session.execute(text("ANALYZE parked_events"))
    processor.retry_parked()  # the first asks once what an upgrade has made known
    plans: list[str] = []
    explain = "EXPLAIN QUERY PLAN " if database.is_sqlite else "EXPLAIN "

    def plan(
        connection: object, cursor: object, statement: str, values: object, *_: object
    ) -> None:
        if "parked_events" in statement and not statement.startswith("EXPLAIN"):
            with database.engine.connect() as other:
                plans.append(str(other.exec_driver_sql(explain + statement, values).all()))

    sql_event.listen(database.read_engine, "before_cursor_execute", plan)
    assert not processor.retry_parked()
    sql_event.remove(database.read_engine, "before_cursor_execute", plan)

    assert len(plans) == 1
    assert "ix_parked_events_next_attempt_at" in plans[0]
