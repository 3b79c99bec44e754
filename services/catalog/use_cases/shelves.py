"""What can be sold of each variant, in the order of picking, loaded once for a batch of events."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.catalog.models import Location, Lot, StockLevel, Variant
from services.catalog.rules import LotStatus, keeps, picking_key
from services.catalog.use_cases.ledger import lock_lots
from shared.messaging.rows import locked
from shared.runtime import clock

Shelf = list[StockLevel]


def stock_shelves(session: Session, variant_ids: set[UUID]) -> None:
    """Lock and load the lots that orders for these variants may take from.

    A lot whose stock is all claimed is loaded too: an event of the same batch may free it.
    """
    shelves: dict[UUID, Shelf] = session.info.setdefault("shelves", {})
    missing = variant_ids - shelves.keys()
    if not missing:
        return
    shelves.update({variant_id: [] for variant_id in missing})
    candidates = session.execute(
        select(Lot.id, Lot.best_before, Variant.min_life_days)
        .join(Variant, Variant.id == Lot.variant_id)
        .where(
            Lot.variant_id.in_(missing),
            Lot.status == LotStatus.RELEASED.value,
            Lot.levels.any(StockLevel.available + StockLevel.reserved + StockLevel.committed > 0),
        )
    ).all()
    today = clock.today()
    fresh = [row.id for row in candidates if keeps(row.best_before, row.min_life_days, today)]
    lock_lots(session, fresh)
    lots = [lot for lot_id in fresh if (lot := locked(session, Lot.id, lot_id)) is not None]
    lots.sort(key=lambda lot: picking_key(lot.best_before, lot.harvest_date, lot.code))
    for lot in lots:
        # Held since the candidates were listed: the lock was waited for.
        if lot.status == LotStatus.RELEASED:
            shelves[lot.variant_id].extend(lot.levels)


def shelf(session: Session, variant_id: UUID, site_id: UUID | None) -> Shelf:
    """Return a variant's shelf: at the centre, which serves all channels.

    An order at a station (`site_id`) takes what lies there first.
    """
    known: dict[tuple[UUID, UUID | None], Shelf]
    known = session.info.setdefault("shelves by site", {})
    if (variant_id, site_id) not in known:
        serving = centres(session)
        levels: Shelf = session.info["shelves"][variant_id]
        at_site = [level for level in levels if level.location_id == site_id]
        known[variant_id, site_id] = at_site + [
            level
            for level in levels
            if level.location_id in serving and level.location_id != site_id
        ]
    return known[variant_id, site_id]


def centres(session: Session) -> frozenset[UUID]:
    """Return the open centres, which serve all channels."""
    if "centres" not in session.info:
        session.info["centres"] = frozenset(
            session.scalars(select(Location.id).where(Location.level == "centre", Location.is_open))
        )
    known: frozenset[UUID] = session.info["centres"]
    return known


def forget_shelf(session: Session, variant_id: UUID) -> None:
    """Let the next order of this batch look again for what lies on a variant's shelf."""
    session.info.get("shelves", {}).pop(variant_id, None)
    by_site = session.info.get("shelves by site", {})
    for key in [key for key in by_site if key[0] == variant_id]:
        del by_site[key]
