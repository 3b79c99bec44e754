"""Station sales, voids and returns as they were recorded; loaded once for a batch of events."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import or_, select

from services.catalog.batch import CatalogBatch
from services.catalog.models import StationSale
from services.catalog.rules import RecordedSale, SaleStatus, Sold


def load_sales(batch: CatalogBatch, sale_ids: Iterable[UUID]) -> None:
    """Load the sales with these ids, and their voids and returns, in one statement.

    No lock is needed: only the consumer records sales, and there is one.
    """
    missing = {sale_id for sale_id in sale_ids if sale_id not in batch.station_sales}
    if not missing:
        return
    batch.station_sales.update(dict.fromkeys(missing))
    batch.reversals.update({sale_id: [] for sale_id in missing})
    statement = select(StationSale).where(
        or_(StationSale.sale_id.in_(missing), StationSale.of_sale_id.in_(missing))
    )
    for row in batch.session.execute(statement.with_only_columns(*StationSale.__table__.columns)):
        _keep(
            batch,
            RecordedSale(
                row.sale_id,
                row.kind,
                row.device_id,
                row.epoch,
                row.number,
                row.site_id,
                row.of_sale_id,
                SaleStatus(row.status),
                tuple(Sold.from_json(line) for line in row.lines),
                row.at,
            ),
        )


def _keep(batch: CatalogBatch, sale: RecordedSale) -> None:
    batch.station_sales[sale.sale_id] = sale
    if sale.of_sale_id is not None:
        batch.reversals.setdefault(sale.of_sale_id, []).append(sale)


def find_sale(batch: CatalogBatch, sale_id: UUID) -> RecordedSale | None:
    """Return the sale, void or return with this id; None: catalog has not recorded it."""
    load_sales(batch, (sale_id,))
    return batch.station_sales[sale_id]


def lines_undone(batch: CatalogBatch, sale_id: UUID) -> list[Sold]:
    """Return the lines that came back of a sale so far."""
    load_sales(batch, (sale_id,))
    return [line for each in batch.reversals[sale_id] for line in each.lines]


def add_sale(batch: CatalogBatch, sale: RecordedSale) -> None:
    """Record a sale, void or return."""
    _keep(batch, sale)
    batch.append(
        StationSale,
        sale_id=sale.sale_id,
        kind=sale.kind,
        device_id=sale.device_id,
        epoch=sale.epoch,
        number=sale.number,
        site_id=sale.site_id,
        of_sale_id=sale.of_sale_id,
        status=sale.status.value,
        lines=[line.to_json() for line in sale.lines],
        at=sale.at,
    )
