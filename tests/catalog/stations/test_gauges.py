"""Allotted stock as a figure for dashboards."""

from typing import Any

from prometheus_client import REGISTRY

from services.catalog.gauges import add_up_allotments
from services.catalog.models import Location
from shared.runtime.config import Settings
from shared.runtime.database import Database


def test_what_stations_may_still_sell_is_added_up_by_site(
    shop: Any, enrol: Any, grant: Any, operate: Any, database: Database, app_settings: Settings
) -> None:
    with database.readers() as session:
        site = session.get_one(Location, shop.station).code
    labels = {"service": "catalog", "site": site, "unit": "g"}

    def allotted() -> float | None:
        add_up_allotments(database, app_settings)
        return REGISTRY.get_sample_value("farmgate_allotted_stock", labels)

    lot, other = shop.add_lot("L-1", 1000), shop.add_lot("L-2", 1000)
    allotment = grant(enrol(), lot, 200)
    last = grant(enrol(), other, 300)
    assert allotted() == 500

    for each in (allotment, last):
        path = f"/allotments/{each['allotment_id']}/return"
        operate(path, {"quantity": each["remaining"]})

    assert allotted() == 0
