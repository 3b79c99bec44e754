"""Shipments that do not go on in time are found at each place where they stay too long."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, update

from services.logistics.batch import LogisticsBatch
from services.logistics.models import Shipment
from services.logistics.use_cases import travelling
from services.logistics.use_cases.late import LATE
from shared.messaging.batch import transaction
from shared.runtime import clock
from shared.runtime.database import Database
from shared.runtime.late import find, limits_of


@pytest.fixture
def late(database: Database) -> Callable[[], dict[str, list[UUID]]]:
    """Ask for the orders whose shipments are late, by kind; kinds without any are left out."""

    def look() -> dict[str, list[UUID]]:
        with database.readers() as session:
            found = find(session, LATE, limits_of(LATE, {}))
        return {kind: [case.traced_by for case in cases] for kind, cases in found.items() if cases}

    return look


@pytest.fixture
def change(database: Database) -> Callable[..., None]:
    """Change a shipment behind the service's back, so that time has passed."""

    def do(shipment_id: UUID, **values: Any) -> None:
        with database.sessions.begin() as session:
            session.execute(update(Shipment).where(Shipment.id == shipment_id).values(values))

    return do


def test_a_shipment_is_late_at_each_place_where_it_stays_too_long(
    planned: Any, late: Any, change: Any, database: Database, sites: dict[str, UUID]
) -> None:
    shipment_id = planned()
    with database.readers() as session:
        order = [session.scalars(select(Shipment.order_id)).one()]
    long_ago = clock.now() - timedelta(days=8)

    def step(work: Callable[..., Any], *what: Any) -> None:
        with transaction(database, LogisticsBatch) as batch:
            work(batch, shipment_id, *what)

    assert late() == {}
    change(shipment_id, planned_at=long_ago)
    assert late() == {"undispatched": order}
    step(travelling.pack)
    assert late() == {"undispatched": order}
    step(travelling.dispatch)
    change(shipment_id, promised_on=clock.today())
    assert late() == {}
    change(shipment_id, promised_on=clock.today() - timedelta(days=3))
    assert late() == {"unarrived": order}
    step(travelling.arrive, sites["T"])
    assert late() == {}
    change(shipment_id, arrived_at=long_ago)
    assert late() == {"untaken": order}
    step(travelling.fail, "absent")
    assert late() == {}
    change(shipment_id, refused_at=long_ago)
    assert late() == {"unreturned": order}
