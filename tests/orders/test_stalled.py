"""Orders that wait too long are told of, once each, until they move on."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text, update

from services.orders.models import Order
from services.orders.use_cases.stalled import LATE
from shared import clock, stalled
from shared.config import Settings
from shared.database import Database
from shared.events import OrdersRelayStalled, OrderStalled, ShipmentPlanned, ShipmentRecalled
from shared.ids import new_id
from shared.tables import Outbox, StalledCase

LONG_AGO = clock.now() - timedelta(hours=1)


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def look(database: Database, app_settings: Settings) -> Callable[[], bool]:
    """What the timer does when it is due."""
    return lambda: stalled.find(OrdersRelayStalled, LATE, database, app_settings)


@pytest.fixture
def told(
    recorded_events: Callable[[], list[tuple[str, dict[str, Any]]]],
) -> Callable[[], list[Any]]:
    """The kinds of the events that say an order is stalled."""
    return lambda: [
        facts["kind"] for type_, facts in recorded_events() if type_ == OrderStalled.routing_key
    ]


@pytest.fixture
def age(database: Database) -> Callable[..., None]:
    """Let an order have waited since a moment, in its state."""

    def make(order_id: UUID | str, since: datetime = LONG_AGO, **values: Any) -> None:
        with database.sessions.begin() as session:
            session.execute(
                update(Order)
                .where(Order.id == UUID(str(order_id)))
                .values({"changed_at": since} | values)
            )

    return make


def test_an_order_without_an_answer_is_told_once_and_again_when_it_is_stuck_anew(
    place: Any, reserve: Any, look: Any, told: Any, age: Any, database: Database
) -> None:
    order = place()
    order_id = order["order_id"]
    look()
    assert told() == []

    age(order_id)
    look()
    look()
    assert told() == ["undecided"]

    reserve(order)
    look()
    with database.readers() as session:
        assert stalled.counts(session) == {}
    age(order_id)
    look()
    look()
    assert told() == ["undecided", "unplanned"]


def test_an_order_that_has_its_shipment_waits_for_nobody_here(
    place: Any, reserve: Any, look: Any, told: Any, age: Any, deliver: Any, site_id: UUID
) -> None:
    order_id = reserve(place())
    deliver(
        ShipmentPlanned,
        shipment_id=new_id(),
        shipment_ref="SHP-1",
        order_id=order_id,
        site_id=site_id,
        promised_on=clock.today(),
    )
    age(order_id)

    look()

    assert told() == []


def test_an_order_that_asked_again_and_got_no_answer_is_told_although_it_has_a_shipment(
    place: Any,
    reserve: Any,
    read_order: Any,
    look: Any,
    told: Any,
    age: Any,
    deliver: Any,
    site_id: UUID,
) -> None:
    order_id, shipment_id = reserve(place()), new_id()
    deliver(
        ShipmentPlanned,
        shipment_id=shipment_id,
        shipment_ref="SHP-1",
        order_id=order_id,
        site_id=site_id,
        promised_on=clock.today(),
    )
    (lot,) = read_order(order_id).lines[0].lots
    ids = {name: UUID(lot[name]) for name in ("lot_id", "location_id", "producer_id")}
    deliver(
        ShipmentRecalled,
        shipment_id=shipment_id,
        order_id=order_id,
        where="here",
        lots=[lot | ids],
    )
    age(order_id)

    look()

    assert told() == ["undecided"]


def test_an_order_that_no_operator_looks_at_is_told_as_that_and_not_as_catalogs_fault(
    place: Any,
    look: Any,
    told: Any,
    age: Any,
    database: Database,
    recorded_events: Callable[[], list[tuple[str, dict[str, Any]]]],
) -> None:
    order = place()
    age(order["order_id"], LONG_AGO - timedelta(hours=4), approval_reason="open_value")

    look()
    look()

    stalled_ = [
        facts for type_, facts in recorded_events() if type_ == "orders.approval_stalled.v1"
    ]
    assert [facts["order_id"] for facts in stalled_] == [order["order_id"]]
    assert told() == []
    with database.readers() as session:
        assert stalled.counts(session) == {"unapproved": 1}


def test_killed_before_the_commit_it_is_told_once_by_the_next(
    place: Any, look: Any, told: Any, age: Any, database: Database
) -> None:
    age(place()["order_id"])
    with pytest.raises(Killed), database.sessions.begin() as session:
        assert len(stalled.look(session, LATE[0], clock.now())) == 1
        raise Killed

    assert told() == []
    look()
    look()
    assert told() == ["undecided"]


def test_a_clock_set_back_makes_no_case_anew(
    place: Any, look: Any, told: Any, age: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    age(place()["order_id"])
    look()
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: real() - timedelta(hours=2))
    look()
    monkeypatch.undo()
    look()

    assert told() == ["undecided"]


def test_a_relay_that_stands_still_is_told_once_and_again_when_it_stands_still_anew(
    place: Any, look: Any, database: Database
) -> None:
    def publish() -> None:
        with database.sessions.begin() as session:
            for row in session.scalars(select(Outbox).where(Outbox.position.is_(None))):
                row.position, row.published_at = row.id, clock.now()

    def events() -> int:
        with database.readers() as session:
            wanted = Outbox.type == OrdersRelayStalled.routing_key
            return len(session.scalars(select(Outbox.id).where(wanted)).all())

    def wait_for_long() -> None:
        with database.sessions.begin() as session:
            session.execute(
                update(Outbox).where(Outbox.position.is_(None)).values(recorded_at=LONG_AGO)
            )

    place()
    look()
    assert events() == 0
    wait_for_long()
    look()
    look()
    assert events() == 1
    publish()
    look()
    with database.readers() as session:
        assert session.scalars(select(StalledCase)).all() == []
    place()
    wait_for_long()
    look()
    assert events() == 2


@pytest.fixture
def plan(database: Database) -> Iterator[Callable[[str], str]]:
    """How the database goes about a statement, with tables too large to read through."""

    def explain(statement: str) -> str:
        with database.engine.connect() as connection:
            if database.is_sqlite:
                rows = connection.execute(text(f"EXPLAIN QUERY PLAN {statement}"))
            else:
                connection.execute(text("SET LOCAL enable_seqscan = off"))
                rows = connection.execute(text(f"EXPLAIN {statement}"))
            return "\n".join(str(row) for row in rows)

    yield explain


@pytest.mark.parametrize(
    ("kind", "index"),
    [
        (0, "ix_orders_unplanned"),
        (1, "ix_orders_expires_at"),
        (2, "ix_orders_unplanned"),
        (3, "ix_orders_unstopped"),
        (4, "ix_orders_unplanned"),
    ],
)
def test_the_late_are_found_by_an_index(
    plan: Callable[[str], str], database: Database, kind: int, index: str
) -> None:
    late = LATE[kind]
    statement = select(late.rows.id).where(late.is_late(LONG_AGO)).order_by(late.since).limit(200)
    literal = statement.compile(database.engine, compile_kwargs={"literal_binds": True})

    assert index in plan(str(literal).replace("%%", "%"))
