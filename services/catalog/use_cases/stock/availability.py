"""How much of each variant an order could reserve: what was published, and what has changed since.

The published quantity is a row of its own, which the list shows. A timer compares it with the stock
itself. So nothing that changes stock has to tell, and whatever a killed process left unpublished,
or the calendar changed, is found the next time.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import date, datetime, timedelta
from uuid import UUID

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session, contains_eager

from services.catalog.batch import CatalogBatch
from services.catalog.models import Availability, Location, Lot, Product, StockLevel, Variant
from services.catalog.rules import LotStatus, Shown, sellable, shown
from shared.events import AvailabilityChanged
from shared.runtime import clock
from shared.runtime.bulk import among

#: The shortest time between two events of a variant.
SPACING = timedelta(seconds=1)


def find_changes(session: Session, most_packs: int | None) -> dict[UUID, Shown]:
    """Return what is to be published: the variants of which another quantity is available now.

    At most `most_packs` packs of a variant are shown (None: all there are). A variant that changed
    less than `SPACING` ago waits for the next time. It reads without locks, in two statements.
    """
    today, now = clock.today(), clock.now()
    stock = _free_stock(session, today)
    changed = {}
    for row in session.execute(
        select(
            Variant.id,
            Variant.min_life_days,
            Variant.pack_quantity,
            Product.status,
            Availability.quantity,
            Availability.capped,
            Availability.changed_at,
        )
        .join(Product, Product.id == Variant.product_id)
        .outerjoin(Availability, Availability.variant_id == Variant.id)
    ):
        on_sale = row.status == "listed"
        free = sellable(stock[row.id], row.min_life_days, today) if on_sale else 0
        present = shown(free, None if most_packs is None else most_packs * row.pack_quantity)
        if present != Shown(row.quantity, row.capped) and not _is_recent(row.changed_at, now):
            changed[row.id] = present
    return changed


def _free_stock(session: Session, today: date) -> defaultdict[UUID, list[tuple[date | None, int]]]:
    """Return what orders of all channels may take of each variant, by best-before date.

    It is what `picking.pickable_levels` gives an order that is not at a station.
    """
    rows = session.execute(
        select(Lot.variant_id, Lot.best_before, func.sum(StockLevel.available))
        .join(StockLevel, StockLevel.lot_id == Lot.id)
        .join(Location, Location.id == StockLevel.location_id)
        .where(
            Lot.status == LotStatus.RELEASED.value,
            # Each variant asks for more days than these; most lots of the past end here.
            or_(Lot.best_before.is_(None), Lot.best_before > today),
            StockLevel.available > 0,
            Location.level == "centre",
            Location.is_open,
        )
        .group_by(Lot.variant_id, Lot.best_before)
    )
    stock: defaultdict[UUID, list[tuple[date | None, int]]] = defaultdict(list)
    for variant_id, best_before, quantity in rows:
        stock[variant_id].append((best_before, int(quantity)))
    return stock


def _is_recent(changed_at: datetime | None, now: datetime) -> bool:
    # A moment in the future is no reason to wait: the clock was set back.
    return changed_at is not None and now - SPACING < changed_at <= now


def publish(batch: CatalogBatch, changes: Mapping[UUID, Shown]) -> None:
    """Publish the changes that `find_changes` returned.

    A variant whose row another transaction has locked, such as an import of prices, waits for the
    next time.
    """
    # Locked, since the events are numbered with the variant's other events. To wait for the locks
    # would stop the other variants, and could deadlock with an import.
    variants = batch.session.scalars(
        select(Variant)
        .where(among(Variant.id, changes))
        .order_by(Variant.id)
        .with_for_update(skip_locked=True, key_share=True)
        .execution_options(populate_existing=True)
    ).all()
    ids = [variant.id for variant in variants]
    batch.load_for_update(Availability.variant_id, ids)
    for variant in variants:
        present, now = changes[variant.id], clock.now()
        published: Availability | None = batch.get_for_update(Availability.variant_id, variant.id)
        if published is None:
            published = Availability(variant_id=variant.id)
            batch.track(Availability.variant_id, published)
        elif _is_recent(published.changed_at, now):
            continue  # another worker was faster
        batch.record(
            variant,
            AvailabilityChanged(
                variant_id=variant.id, quantity=present.quantity, capped=present.capped
            ),
        )
        published.quantity, published.capped = present.quantity, present.capped
        published.version, published.changed_at = variant.version, now


def select_availability(
    product_id: Collection[UUID] = (), variant_id: Collection[UUID] = ()
) -> Select[Availability]:
    """Return the query for what was published, with its variants; an empty filter is none."""
    statement = (
        select(Availability)
        .join(Availability.variant)
        .options(contains_eager(Availability.variant))
    )
    if product_id:
        statement = statement.where(Variant.product_id.in_(product_id))
    if variant_id:
        statement = statement.where(Availability.variant_id.in_(variant_id))
    return statement
