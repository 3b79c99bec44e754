"""How much each site sells of each variant, day by day, and so how fast.

Standing rules and proposals of return are computed from it.
"""

from collections.abc import Iterable
from datetime import date, timedelta
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from services.catalog.batch import CatalogBatch
from services.catalog.models import Allotment, DailySales
from services.catalog.rules import SALES_DAYS, Rate, rate_of
from shared.runtime import clock


def add_to_today(batch: CatalogBatch, site_id: UUID, variant_id: UUID, quantity: int) -> None:
    """Add to the quantity that a site sold of a variant today; below 0 if goods came back.

    Today is the day on which catalog hears of the sale: a device's clock proves nothing.
    """
    key = (site_id, variant_id, clock.today())
    batch.unwritten_sales[key] = batch.unwritten_sales.get(key, 0) + quantity


def delete_days(batch: CatalogBatch, before: date) -> None:
    """Delete the sums of the days before a day."""
    statement = delete(DailySales).where(DailySales.day < before)
    batch.session.execute(statement, execution_options={"synchronize_session": False})


def rates(session: Session, variant_id: UUID, site_ids: Iterable[UUID]) -> dict[UUID, Rate | None]:
    """Return the rate at which each of these sites sells a variant; None: it has no history."""
    wanted, today = set(site_ids), clock.today()
    sold_rows = session.execute(
        select(DailySales.site_id, func.sum(DailySales.quantity).label("quantity"))
        .where(
            DailySales.variant_id == variant_id,
            DailySales.site_id.in_(wanted),
            DailySales.day > today - timedelta(days=SALES_DAYS),
        )
        .group_by(DailySales.site_id)
    )
    sold = {row.site_id: int(row.quantity) for row in sold_rows}
    first_rows = session.execute(
        select(Allotment.site_id, func.min(Allotment.granted_at).label("at"))
        .where(Allotment.variant_id == variant_id, Allotment.site_id.in_(wanted))
        .group_by(Allotment.site_id)
    )
    first = {row.site_id: row.at.astimezone(clock.LOCAL).date() for row in first_rows}
    return {site_id: rate_of(sold.get(site_id, 0), first.get(site_id), today) for site_id in wanted}
