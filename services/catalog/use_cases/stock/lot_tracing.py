"""Trace a lot: the orders that ever had a part of it, and the station sales.

The ledger tells: a reservation no longer has the lots that its order exchanged after a recall.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Select, String, and_, case, cast, func, or_, select
from sqlalchemy.orm import Session

from services.catalog.models import Reservation, StationSale, StockMovement
from services.catalog.rules import BUCKET_OF, Account, SaleStatus, Sold
from services.catalog.use_cases.stock.lots import get_lot
from shared.runtime.paging import Page, page

#: Buckets in which goods are set aside for an order.
_SET_ASIDE = tuple(bucket.value for bucket in BUCKET_OF.values())


@dataclass(frozen=True)
class OrderOfLot:
    """What one order has, or had, of a lot."""

    order_id: UUID
    #: Of its reservation.
    status: str
    #: Set aside for it now.
    set_aside: int
    #: The quantity that left the stock for it and did not come back.
    handed_out: int


@dataclass(frozen=True)
class SaleOfLot:
    """What one station sale took of a lot, or what a void or return brought back of it."""

    sale_id: UUID
    kind: str
    status: str
    site_id: UUID
    device_id: UUID
    epoch: int
    number: int
    quantity: int


def orders_of_lot(
    session: Session, lot_id: UUID, *, limit: int, cursor: str | None = None
) -> Page[OrderOfLot]:
    """Return the orders that ever had a part of a lot, by their ids.

    Raises:
        LotNotFound: there is none with this id.
    """
    get_lot(session, lot_id)
    had = select(StockMovement.order_id).where(StockMovement.lot_id == lot_id)
    statement = select(Reservation).where(Reservation.order_id.in_(had))
    found = page(session, statement, Reservation.order_id, limit=limit, cursor=cursor)
    sums = _sums(session, lot_id, [each.order_id for each in found.items])
    items = [
        OrderOfLot(each.order_id, each.status, *sums.get(each.order_id, (0, 0)))
        for each in found.items
    ]
    return Page(items, found.next)


def sales_of_lot(
    session: Session, lot_id: UUID, *, limit: int, cursor: str | None = None
) -> Page[SaleOfLot]:
    """Return the station sales, voids and returns of a lot, by their ids; also disputed ones.

    Raises:
        LotNotFound: there is none with this id.
    """
    get_lot(session, lot_id)
    moved = select(StockMovement.sale_id).where(StockMovement.lot_id == lot_id)
    # A sale that is not booked has no movements; its lines name the lot as text.
    unbooked = and_(
        StationSale.status != SaleStatus.BOOKED.value,
        cast(StationSale.lines, String).contains(str(lot_id), autoescape=True),
    )
    statement = select(StationSale).where(or_(StationSale.sale_id.in_(moved), unbooked))
    found = page(session, statement, StationSale.sale_id, limit=limit, cursor=cursor)
    return Page([_sale(each, lot_id) for each in found.items], found.next)


def _sums(session: Session, lot_id: UUID, order_ids: Sequence[UUID]) -> dict[UUID, tuple[int, int]]:
    rows = session.execute(_net(lot_id, order_ids))
    return {row.order_id: (int(row.set_aside), int(row.handed_out)) for row in rows}


def _net(lot_id: UUID, order_ids: Sequence[UUID]) -> Select[Any]:
    def net(into: Iterable[str], out_of: Iterable[str]) -> Any:
        came = case((StockMovement.to_bucket.in_(into), StockMovement.quantity), else_=0)
        went = case((StockMovement.from_bucket.in_(out_of), StockMovement.quantity), else_=0)
        return func.sum(came - went)

    return (
        select(
            StockMovement.order_id,
            net(_SET_ASIDE, _SET_ASIDE).label("set_aside"),
            net([Account.CONSUMED.value], [Account.RESTOCKED.value]).label("handed_out"),
        )
        .where(StockMovement.lot_id == lot_id, StockMovement.order_id.in_(order_ids))
        .group_by(StockMovement.order_id)
    )


def _sale(sale: StationSale, lot_id: UUID) -> SaleOfLot:
    return SaleOfLot(
        sale.sale_id,
        sale.kind,
        sale.status,
        sale.site_id,
        sale.device_id,
        sale.epoch,
        sale.number,
        sum(line.quantity for line in map(Sold.from_json, sale.lines) if line.lot_id == lot_id),
    )
