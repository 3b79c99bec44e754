"""Propose that stations return goods which they will not sell before these spoil."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, timedelta
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from services.catalog.batch import CatalogBatch
from services.catalog.models import Allotment, Device, Lot, Variant
from services.catalog.rules import (
    RETURN_DAYS,
    RUNNING,
    AllotmentStatus,
    Perishing,
    allotment_step,
    asked_back,
    last_sale_day,
)
from services.catalog.use_cases.stations.allotments import assign_revision, lock_allotments
from services.catalog.use_cases.stations.daily_sales import rates
from services.catalog.use_cases.stations.devices import lock_device
from shared.runtime import clock

_RUNNING = [status.value for status in RUNNING]


def perishing_variants(session: Session) -> Sequence[UUID]:
    """Return the variants of which a lot at a station comes near its last sale day.

    It reads without locks, so it may return one too many.
    """
    # SQLite and PostgreSQL add days to a date in different ways.
    rows = session.execute(
        select(Allotment.variant_id, Variant.min_life_days, Lot.best_before)
        .distinct()
        .join(Lot, Lot.id == Allotment.lot_id)
        .join(Variant, Variant.id == Allotment.variant_id)
        .where(
            Allotment.status.in_(_RUNNING),
            or_(Allotment.remaining > 0, Allotment.proposed_return > 0),
            Lot.best_before.is_not(None),
        )
    )
    soon = clock.today() + timedelta(days=RETURN_DAYS)
    near = {
        row.variant_id
        for row in rows
        if (day := last_sale_day(row.best_before, row.min_life_days)) is not None and day <= soon
    }
    return sorted(near, key=str)


def propose_returns(batch: CatalogBatch, variant_id: UUID) -> int:
    """Propose returns of a variant's allotments; return how many allotments were changed.

    Its device is told when more is asked back, and when the lot's last sale day is over: then the
    allotment is `returning`, and nothing of it may be sold.
    """
    variant = batch.session.get_one(Variant, variant_id)
    which = (
        Allotment.variant_id == variant_id,
        Allotment.status.in_(_RUNNING),
        or_(Allotment.remaining > 0, Allotment.proposed_return > 0),
    )
    batch.load_for_update(
        Device.id, batch.session.scalars(select(Allotment.device_id).where(*which))
    )
    allotments = lock_allotments(batch, *which)
    sell_by = {
        lot_id: day
        for lot_id, best_before in batch.session.execute(
            select(Lot.id, Lot.best_before).where(Lot.id.in_({each.lot_id for each in allotments}))
        )
        if (day := last_sale_day(best_before, variant.min_life_days)) is not None
    }
    by_site: defaultdict[UUID, list[Perishing]] = defaultdict(list)
    for each in allotments:
        if each.lot_id in sell_by:
            by_site[each.site_id].append(Perishing(each.id, sell_by[each.lot_id], each.remaining))
    sells = rates(batch.session, variant_id, by_site)
    today = clock.today()
    wanted: dict[UUID, int] = {}
    for site_id, perishing in by_site.items():
        wanted |= asked_back(perishing, sells[site_id], today)
    return sum(
        _note(batch, each, wanted[each.id], sell_by[each.lot_id], today)
        for each in allotments
        if each.id in wanted
    )


def _note(
    batch: CatalogBatch, allotment: Allotment, wanted: int, sell_by: date, today: date
) -> bool:
    is_over = sell_by < today
    if wanted == allotment.proposed_return and not is_over:
        return False
    more = wanted > allotment.proposed_return
    allotment.proposed_return = wanted
    if is_over:
        allotment.status = allotment_step(allotment.status, AllotmentStatus.RETURNING).value
    if more or is_over:
        assign_revision(lock_device(batch, allotment.device_id), allotment)
    return True
