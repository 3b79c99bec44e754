"""How much each site sells of each variant, day by day: what standing rules go by."""

from datetime import date
from uuid import UUID

from sqlalchemy import delete

from services.catalog.batch import CatalogBatch
from services.catalog.models import DailySales
from shared.runtime import clock


def add_to_today(batch: CatalogBatch, site_id: UUID, variant_id: UUID, quantity: int) -> None:
    """Add to what a site sold of a variant today; less than 0 when goods came back.

    Today is the day on which catalog hears of the sale: a device's clock proves nothing.
    """
    key = (site_id, variant_id, clock.today())
    batch.sold[key] = batch.sold.get(key, 0) + quantity


def delete_days(batch: CatalogBatch, before: date) -> None:
    """Delete the sums of the days before a day."""
    statement = delete(DailySales).where(DailySales.day < before)
    batch.session.execute(statement, execution_options={"synchronize_session": False})
