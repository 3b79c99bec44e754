"""Orders that wait too long for somebody else's next step are found, until they move on."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select, text, update

from services.orders.models import Order
from services.orders.use_cases.late import LATE
from shared.events import ShipmentPlanned, ShipmentRecalled
from shared.runtime import clock
from shared.runtime.database import Database
from shared.runtime.ids import new_id
from shared.runtime.late import find, limits_of

LONG_AGO = clock.now() - timedelta(hours=1)


@pytest.fixture
def late(database: Database) -> Callable[[], dict[str, list[UUID]]]:
    """Ask for the ids of the orders that are late, by kind; kinds without any are left out."""

    def look() -> dict[str, list[UUID]]:
        with database.readers() as session:
            found = find(session, LATE, limits_of(LATE, {}))
        return {kind: [case.traced_by for case in cases] for kind, cases in found.items() if cases}

    return look


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


def test_an_order_without_an_answer_is_late_until_it_moves_on_and_when_it_is_stuck_anew(
    place: Any, reserve: Any, late: Any, age: Any
) -> None:
    order = place()
    order_id = UUID(order["order_id"])
    assert late() == {}

    age(order_id)
    assert late() == {"undecided": [order_id]}

    reserve(order)
    assert late() == {}
    age(order_id)
    assert late() == {"unplanned": [order_id]}


def test_late_orders_are_counted_for_the_alarm_and_none_is_0(
    place: Any, age: Any, client: FlaskClient
) -> None:
    age(place()["order_id"])

    scraped = client.get("/metrics").text

    assert 'farmgate_late{kind="undecided",service="orders"} 1.0' in scraped
    assert 'farmgate_late{kind="unplanned",service="orders"} 0.0' in scraped


def test_an_order_that_has_its_shipment_waits_for_nobody_here(
    place: Any, reserve: Any, late: Any, age: Any, deliver: Any, site_id: UUID
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

    assert late() == {}


def test_an_order_that_asked_again_and_got_no_answer_is_late_although_it_has_a_shipment(
    place: Any,
    reserve: Any,
    read_order: Any,
    late: Any,
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

    assert late() == {"undecided": [UUID(str(order_id))]}


def test_an_order_that_no_operator_looks_at_is_late_as_that_and_not_as_catalogs_fault(
    place: Any, late: Any, age: Any
) -> None:
    order_id = place()["order_id"]
    age(order_id, LONG_AGO, approval_reason="open_value")
    assert late() == {}

    age(order_id, LONG_AGO - timedelta(hours=4), approval_reason="open_value")

    assert late() == {"unapproved": [UUID(order_id)]}


@pytest.fixture
def plan(database: Database) -> Callable[[str], str]:
    """How the database goes about a statement, with tables too large to read through."""

    def explain(statement: str) -> str:
        with database.engine.connect() as connection:
            if database.is_sqlite:
                rows = connection.execute(text(f"EXPLAIN QUERY PLAN {statement}"))
            else:
                connection.execute(text("SET LOCAL enable_seqscan = off"))
                # As of a new table that nobody has counted: of one that was counted while it was
                # empty all plans cost the same, and other tests leave some indexes larger.
                connection.execute(text("REINDEX TABLE orders"))
                orders = "'orders'::regclass"
                connection.execute(
                    text(f"UPDATE pg_class SET reltuples = -1, relpages = 0 WHERE oid = {orders}")
                )
                connection.execute(text(f"DELETE FROM pg_statistic WHERE starelid = {orders}"))
                rows = connection.execute(text(f"EXPLAIN {statement}"))
            return "\n".join(str(row) for row in rows)

    return explain


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
    statement = select(late.traced_by).where(late.is_late(LONG_AGO)).order_by(late.since).limit(200)
    literal = statement.compile(database.engine, compile_kwargs={"literal_binds": True})

    found = plan(str(literal).replace("%%", "%"))
    assert index in found, found
