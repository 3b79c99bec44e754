"""How these tests place orders, and read what came of them."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import func, select

from services.orders.models import Order
from shared.runtime.database import Database

ORDERS = "/api/orders/v1/orders"
Place = Callable[..., dict[str, Any]]
Token = Callable[..., dict[str, str]]
Builder = Callable[..., dict[str, Any]]
Recorded = Callable[[], list[tuple[str, dict[str, Any]]]]


def types_of(events: list[tuple[str, dict[str, Any]]]) -> list[str]:
    """Return the facts' names, without service and version."""
    return [type_.split(".")[1] for type_, _ in events]


def count_of_orders(database: Database) -> int:
    """Return how many orders are stored."""
    with database.readers() as reader:
        return reader.scalar(select(func.count()).select_from(Order)) or 0
