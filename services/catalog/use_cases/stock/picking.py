"""What can be sold of each variant, in the order of picking; loaded once for a batch of events."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, select

from services.catalog.batch import CatalogBatch
from services.catalog.models import Location, Lot, StockLevel, Variant
from services.catalog.rules import LotStatus, keeps, picking_key
from services.catalog.use_cases.stock.ledger import lock_lots
from shared.runtime import clock
from shared.runtime.bulk import among

# Made once: making a statement takes longer than executing it.
_CANDIDATES = (
    select(
        *(Lot.id, Lot.variant_id, Lot.best_before, Lot.harvest_date, Lot.code),
        *(Variant.min_life_days, StockLevel.location_id, StockLevel.available),
    )
    .join(Variant, Variant.id == Lot.variant_id)
    .join(StockLevel, StockLevel.lot_id == Lot.id)
    .where(
        among(Lot.variant_id, bindparam("variant_ids")),
        Lot.status == LotStatus.RELEASED.value,
        StockLevel.available + StockLevel.reserved + StockLevel.committed > 0,
    )
)


def load_pickable(batch: CatalogBatch, variant_ids: Collection[UUID]) -> None:
    """Lock and load all lots that orders for these variants may take from.

    A lot whose stock is all claimed is loaded too: an event of the same batch may free it.
    """
    missing = {
        each for each in variant_ids if each not in batch.pickable or each in batch.partly_pickable
    }
    if missing:
        _lock(batch, missing, {row.id for row in _candidates(batch, missing)})


def load_first_pickable(
    batch: CatalogBatch, wanted: Mapping[UUID, int], stations: Collection[UUID]
) -> None:
    """Lock and load the first lots, in picking order, that cover the quantity of each variant.

    So a batch does not lock a variant's whole stock. At `stations` all lots are loaded. Another
    transaction may take from these lots before they are locked, and `load_pickable` then loads the
    rest.
    """
    missing = {variant_id: wanted[variant_id] for variant_id in wanted.keys() - batch.pickable}
    if not missing:
        return
    centres = open_centres(batch)
    first: set[UUID] = set()
    partly: set[UUID] = set()
    for row in _candidates(batch, missing):
        if missing[row.variant_id] > 0 or row.location_id in stations:
            first.add(row.id)
        else:
            partly.add(row.variant_id)
        if row.location_id in centres:
            missing[row.variant_id] -= row.available
    _lock(batch, missing, first)
    batch.partly_pickable |= partly


def _candidates(batch: CatalogBatch, variant_ids: Iterable[UUID]) -> list[Any]:
    """Return what may be sold, a row for each lot and location, in picking order, unlocked."""
    today = clock.today()
    rows = batch.session.execute(_CANDIDATES, {"variant_ids": [*variant_ids]})
    fresh = [row for row in rows if keeps(row.best_before, row.min_life_days, today)]
    return sorted(fresh, key=lambda row: picking_key(row.best_before, row.harvest_date, row.code))


def _lock(batch: CatalogBatch, variant_ids: Iterable[UUID], lot_ids: Collection[UUID]) -> None:
    """Lock the lots; their levels are then what is pickable of the variants."""
    for variant_id in variant_ids:
        forget_pickable(batch, variant_id)
        batch.pickable[variant_id] = []
    lock_lots(batch, lot_ids)
    lots: list[Lot] = [
        lot for lot_id in lot_ids if (lot := batch.get_for_update(Lot.id, lot_id)) is not None
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
    batch.partly_pickable.discard(variant_id)
    for key in [key for key in batch.pickable_at if key[0] == variant_id]:
        del batch.pickable_at[key]
