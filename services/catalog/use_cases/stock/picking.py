"""What can be sold of each variant, in the order of picking; loaded once for a batch of events."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select

from services.catalog.batch import CatalogBatch
from services.catalog.models import Location, Lot, StockLevel, Variant
from services.catalog.rules import LotStatus, keeps, picking_key
from services.catalog.use_cases.stock.ledger import lock_lots
from shared.runtime import clock
from shared.runtime.bulk import among


def load_pickable(batch: CatalogBatch, variant_ids: set[UUID]) -> None:
    """Lock and load the lots that orders for these variants may take from.

    A lot whose stock is all claimed is loaded too: an event of the same batch may free it.
    """
    missing = variant_ids - batch.pickable.keys()
    if not missing:
        return
    batch.pickable.update({variant_id: [] for variant_id in missing})
    candidates = batch.session.execute(
        select(Lot.id, Lot.best_before, Variant.min_life_days)
        .join(Variant, Variant.id == Lot.variant_id)
        .where(
            among(Lot.variant_id, missing),
            Lot.status == LotStatus.RELEASED.value,
            Lot.levels.any(StockLevel.available + StockLevel.reserved + StockLevel.committed > 0),
        )
    ).all()
    today = clock.today()
    fresh = [row.id for row in candidates if keeps(row.best_before, row.min_life_days, today)]
    lock_lots(batch, fresh)
    lots: list[Lot] = [
        lot for lot_id in fresh if (lot := batch.get_for_update(Lot.id, lot_id)) is not None
    ]
    lots.sort(key=lambda lot: picking_key(lot.best_before, lot.harvest_date, lot.code))
    for lot in lots:
        # While this transaction waited for the lock, an operator may have held the lot.
        if lot.status == LotStatus.RELEASED:
            batch.pickable[lot.variant_id].extend(lot.levels)


def pickable_levels(
    batch: CatalogBatch, variant_id: UUID, site_id: UUID | None
) -> Sequence[StockLevel]:
    """Return the levels of a loaded variant at the open centres, which serve all channels.

    An order at a station (`site_id`) takes what lies there first.
    """
    if (variant_id, site_id) not in batch.pickable_at:
        serving = open_centres(batch)
        levels = batch.pickable[variant_id]
        at_site = [level for level in levels if level.location_id == site_id]
        batch.pickable_at[variant_id, site_id] = at_site + [
            level
            for level in levels
            if level.location_id in serving and level.location_id != site_id
        ]
    return batch.pickable_at[variant_id, site_id]


def open_centres(batch: CatalogBatch) -> frozenset[UUID]:
    """Return the open centres, which serve all channels."""
    if batch.open_centres is None:
        batch.open_centres = frozenset(
            batch.session.scalars(
                select(Location.id).where(Location.level == "centre", Location.is_open)
            )
        )
    return batch.open_centres


def forget_pickable(batch: CatalogBatch, variant_id: UUID) -> None:
    """Make the next order of this batch load the pickable levels of a variant again."""
    batch.pickable.pop(variant_id, None)
    for key in [key for key in batch.pickable_at if key[0] == variant_id]:
        del batch.pickable_at[key]
