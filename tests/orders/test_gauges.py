"""Orders' figures for dashboards."""

from typing import Any

from prometheus_client import REGISTRY

from services.orders.gauges import count_orders
from shared.runtime.config import Settings
from shared.runtime.database import Database


def _count(state: str) -> float | None:
    labels = {"service": "orders", "channel": "online", "state": state}
    return REGISTRY.get_sample_value("farmgate_orders_of_a_day", labels)


def test_an_order_is_counted_where_it_stands_and_no_more_where_it_stood(
    place: Any, reserve: Any, database: Database, app_settings: Settings
) -> None:
    order = place()
    count_orders(database, app_settings)
    assert _count("placed") == 1

    reserve(order)
    count_orders(database, app_settings)

    assert (_count("placed"), _count("confirmed")) == (0, 1)
