"""A database of an earlier version is upgraded, and its orders go on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from alembic import command

from services.orders.batch import OrdersBatch
from services.orders.models import Order
from services.orders.use_cases import decide
from shared.events import StockReserved
from shared.messaging.batch import transaction
from shared.messaging.envelope import decode
from shared.messaging.tables import Outbox
from shared.runtime import clock, migrations
from shared.runtime.database import Database
from shared.runtime.tables import UtcDateTime


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'orders.db'}"
    create: Callable[[str], str] = request.getfixturevalue("postgres")
    return create("upgraded_orders")


def place_before(url: str) -> UUID:
    """Make the tables of the first version, with one order; return its id."""
    engine = sa.create_engine(url)
    order_id = uuid4()
    with engine.begin() as connection:
        command.upgrade(migrations.config_of("orders", connection), "orders_0001")
        row: dict[str, Any] = {
            "id": order_id,
            "arrival": uuid4(),
            "order_ref": "ORD-7KQ2M9XH",
            "channel": "online",
            "buyer_id": "shop:dolma",
            "placed_by": "shop",
            "site_id": uuid4(),
            "collect": True,
            "masked_phone": "+86138******00",
            "payment_method": "cash_on_delivery",
            "state": "placed",
            "payment_state": "cod_due",
            "total_fen": 0,
            "paid_fen": 0,
            "refunded_fen": 0,
            "hold_seconds": 900,
            "placed_at": clock.now(),
            "changed_at": clock.now(),
            "version": 2,
        }
        types = {UUID: sa.Uuid(), bool: sa.Boolean(), type(clock.now()): UtcDateTime()}
        table = sa.table("orders", *(sa.column(n, types.get(type(v))) for n, v in row.items()))
        connection.execute(sa.insert(table), row)
    engine.dispose()
    return order_id


def test_an_order_of_the_version_before_has_no_partner_and_goes_on(url: str) -> None:
    order_id = place_before(url)

    migrations.upgrade("orders", url)

    database = Database(url)
    with transaction(database, OrdersBatch) as batch:
        decide.apply_stock_reserved(batch, StockReserved(order_id=order_id, lines=[]))
    with database.readers() as reader:
        order = reader.get_one(Order, order_id)
        (body,) = reader.scalars(sa.select(Outbox.body))
    database.close()
    assert (order.state, order.partner, order.external_ref) == ("confirmed", None, None)
    assert not decode(body).data.keys() & {"partner", "external_ref"}
