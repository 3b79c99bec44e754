"""What each order has set aside, line by line and lot by lot; loaded once for a batch of orders."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from sqlalchemy import delete, select

from services.catalog.batch import CatalogBatch
from services.catalog.models import ReservationLine
from services.catalog.rules import ReservedLot
from shared.runtime.bulk import among


def load_reserved(batch: CatalogBatch, order_ids: Iterable[UUID]) -> None:
    """Load the reserved lots of these orders in one statement; their reservations are locked."""
    # Not `set - keys`, which goes through all that is loaded, once for each order of a batch.
    missing = {order_id for order_id in order_ids if order_id not in batch.reserved}
    if not missing:
        return
    batch.reserved.update({order_id: [] for order_id in missing})
    rows = batch.session.execute(
        select(
            ReservationLine.order_id,
            ReservationLine.line_no,
            ReservationLine.variant_id,
            ReservationLine.lot_id,
            ReservationLine.location_id,
            ReservationLine.quantity,
        )
        .where(among(ReservationLine.order_id, missing))
        .order_by(ReservationLine.order_id, ReservationLine.line_no)
    )
    for row in rows:
        batch.reserved[row.order_id].append(
            ReservedLot(row.line_no, row.variant_id, row.lot_id, row.location_id, row.quantity)
        )


def reserved_for(batch: CatalogBatch, order_id: UUID) -> Sequence[ReservedLot]:
    """Return the reserved lots of an order, by line."""
    load_reserved(batch, (order_id,))
    return batch.reserved[order_id]


def add_reserved(batch: CatalogBatch, order_id: UUID, lots: list[ReservedLot]) -> None:
    """Set lots aside for an order that has none."""
    batch.reserved[order_id] = lots
    for lot in lots:
        batch.append(ReservationLine, order_id=order_id, **lot._asdict())


def replace_reserved(batch: CatalogBatch, order_id: UUID, lots: list[ReservedLot]) -> None:
    """Set lots aside for an order instead of those it had."""
    # What an event of the same batch has set aside must be in the table to be deleted.
    batch.flush()
    batch.session.execute(delete(ReservationLine).where(ReservationLine.order_id == order_id))
    add_reserved(batch, order_id, lots)
