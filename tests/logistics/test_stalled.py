"""Shipments that do not go on in time are told of, once each."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from services.logistics.models import Shipment
from services.logistics.use_cases import travelling
from services.logistics.use_cases.stalled import LATE
from shared import clock, stalled
from shared.config import Settings
from shared.database import Database
from shared.events import LogisticsRelayStalled, ShipmentStalled


@pytest.fixture
def told(
    database: Database,
    app_settings: Settings,
    recorded_events: Callable[[], list[tuple[str, dict[str, Any]]]],
) -> Callable[[], list[str]]:
    """Run the timer twice; return all that was told so far."""

    def look() -> list[str]:
        for _ in range(2):
            stalled.find(LogisticsRelayStalled, LATE, database, app_settings)
        wanted = ShipmentStalled.routing_key
        return [facts["kind"] for type_, facts in recorded_events() if type_ == wanted]

    return look


@pytest.fixture
def change(database: Database) -> Callable[..., None]:
    """Change a shipment behind the service's back, so that time has passed."""

    def do(shipment_id: UUID, **values: Any) -> None:
        with database.sessions.begin() as session:
            session.execute(update(Shipment).where(Shipment.id == shipment_id).values(values))

    return do


def test_a_shipment_is_told_of_once_at_each_place_where_it_stays_too_long(
    planned: Any, told: Any, change: Any, database: Database, sites: dict[str, UUID]
) -> None:
    shipment_id = planned()
    long_ago = clock.now() - timedelta(days=8)

    def step(work: Callable[..., Any], *what: Any) -> None:
        with database.sessions.begin() as session:
            work(session, shipment_id, *what)

    assert told() == []
    change(shipment_id, planned_at=long_ago)
    assert told() == ["undispatched"]
    step(travelling.pack)
    assert told() == ["undispatched"]
    step(travelling.dispatch)
    change(shipment_id, promised_on=clock.today())
    assert told() == ["undispatched"]
    change(shipment_id, promised_on=clock.today() - timedelta(days=3))
    assert told() == ["undispatched", "unarrived"]
    step(travelling.arrive, sites["T"])
    assert told() == ["undispatched", "unarrived"]
    change(shipment_id, arrived_at=long_ago)
    assert told() == ["undispatched", "unarrived", "untaken"]
    step(travelling.fail, "absent")
    change(shipment_id, refused_at=long_ago)
    assert told() == ["undispatched", "unarrived", "untaken", "unreturned"]
