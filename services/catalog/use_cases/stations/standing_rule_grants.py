"""Grant sites what they lack by their standing rules, while the centre has stock."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from uuid import UUID

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from services.catalog.batch import CatalogBatch
from services.catalog.models import (
    Allotment,
    Device,
    Location,
    Lot,
    Product,
    StandingRule,
    StockLevel,
    Variant,
)
from services.catalog.rules import (
    RUNNING,
    AllotmentStatus,
    DeviceStatus,
    LotStatus,
    Need,
    last_sale_day,
    share,
)
from services.catalog.use_cases.stations.allotment_grants import grant_from_level
from services.catalog.use_cases.stations.allotments import lock_allotments
from services.catalog.use_cases.stations.daily_sales import rates
from services.catalog.use_cases.stations.devices import epoch_of
from services.catalog.use_cases.stock.picking import load_pickable, pickable_levels
from shared.runtime import clock

#: The actor of these grants.
ACTOR = "standing-rule"
_RUNNING = [status.value for status in RUNNING]


def short_variants(session: Session) -> Sequence[UUID]:
    """Return the variants of which a site may lack a pack that could be granted.

    It reads without locks, since most times no site lacks anything.
    """
    there = (
        select(
            Allotment.site_id,
            Allotment.variant_id,
            func.sum(Allotment.remaining).label("quantity"),
        )
        .where(Allotment.status.in_(_RUNNING))
        .group_by(Allotment.site_id, Allotment.variant_id)
        .subquery()
    )
    has_stock = exists().where(
        Lot.variant_id == StandingRule.variant_id,
        Lot.status == LotStatus.RELEASED.value,
        StockLevel.lot_id == Lot.id,
        StockLevel.available > 0,
    )
    has_device = exists().where(
        Device.site_id == StandingRule.site_id, Device.status == DeviceStatus.ACTIVE.value
    )
    missing = StandingRule.keep - func.coalesce(there.c.quantity, 0)
    return session.scalars(
        select(StandingRule.variant_id)
        .distinct()
        .join(Variant, Variant.id == StandingRule.variant_id)
        .join(Product, Product.id == Variant.product_id)
        .outerjoin(
            there,
            (there.c.site_id == StandingRule.site_id)
            & (there.c.variant_id == StandingRule.variant_id),
        )
        .where(Product.status == "listed", missing >= Variant.pack_quantity, has_stock, has_device)
        .order_by(StandingRule.variant_id)
    ).all()


def apply_rules(batch: CatalogBatch, variant_id: UUID) -> int:
    """Grant what sites lack of a variant by their rules; return the number of grants.

    Of a site's devices the one with the least left gets it. A device whose lease is over, or that
    never made contact, gets nothing: its goods might stay out of reach for long.
    """
    keeps = {
        rule.site_id: rule.keep
        for rule in batch.session.scalars(
            select(StandingRule)
            .join(Location, Location.id == StandingRule.site_id)
            .where(StandingRule.variant_id == variant_id, Location.is_open)
        )
    }
    variant = batch.session.get_one(Variant, variant_id)
    load_pickable(batch, {variant_id})
    receivers = _receivers(batch, keeps.keys(), variant)
    today = clock.today()
    sells = rates(batch.session, variant_id, receivers)
    needs = [
        Need(
            site_id,
            keeps[site_id],
            sells[site_id],
            receiver.stock,
            receiver.refused,
        )
        for site_id, receiver in receivers.items()
    ]
    pickable = {site_id: pickable_levels(batch, variant_id, site_id) for site_id in receivers}
    lot_of = {
        id(level): (level.lot_id, last_sale_day(level.lot.best_before, variant.min_life_days))
        for levels in pickable.values()
        for level in levels
    }
    grants = share(needs, pickable, lot_of, variant.pack_quantity, today)
    for granted in grants:
        device = receivers[granted.site_id].device
        grant_from_level(batch, device, granted.source, granted.quantity, ACTOR)
    return len(grants)


@dataclass(frozen=True)
class _Receiver:
    """The device that receives the grants of its site, and the stock of the site."""

    device: Device
    #: As `Need.stock` and `Need.refused`.
    stock: list[tuple[date | None, int]]
    refused: frozenset[UUID]


def _receivers(
    batch: CatalogBatch, site_ids: Iterable[UUID], variant: Variant
) -> dict[UUID, _Receiver]:
    """Lock the devices at these sites and their allotments; return the receiver of each site."""
    ids = batch.session.scalars(
        select(Device.id).where(
            Device.site_id.in_(list(site_ids)), Device.status == DeviceStatus.ACTIVE.value
        )
    ).all()
    batch.load_for_update(Device.id, ids)
    devices: list[Device] = [
        device
        for device_id in ids
        if (device := batch.get_for_update(Device.id, device_id)) is not None
        and device.status == DeviceStatus.ACTIVE
    ]
    allotments = [
        allotment
        for allotment in lock_allotments(
            batch, Allotment.variant_id == variant.id, Allotment.device_id.in_(ids)
        )
        if (allotment.device_id, allotment.epoch) in {(d.id, d.epoch) for d in devices}
    ]
    sell_by = _sell_by(batch.session, {allotment.lot_id for allotment in allotments}, variant)
    today = clock.today()
    running = [
        allotment
        for allotment in allotments
        if allotment.status in RUNNING
        and ((day := sell_by[allotment.lot_id]) is None or day >= today)
    ]
    found = {}
    for site_id, at_site in groupby(sorted(devices, key=_site), key=_site):
        able = [device for device in at_site if _has_lease(device)]
        if not able:
            continue
        left = {device.id: 0 for device in able}
        for allotment in running:
            if allotment.device_id in left:
                left[allotment.device_id] += allotment.remaining
        device = min(able, key=lambda each: (left[each.id], each.code))
        found[site_id] = _Receiver(
            device,
            [(sell_by[a.lot_id], a.remaining) for a in running if a.site_id == site_id],
            frozenset(a.lot_id for a in allotments if a.site_id == site_id and _is_refused(a)),
        )
    return found


def _site(device: Device) -> UUID:
    return device.site_id


def _has_lease(device: Device) -> bool:
    epoch = epoch_of(device, device.epoch)
    return epoch is not None and epoch.lease_until is not None and epoch.lease_until > clock.now()


def _is_refused(allotment: Allotment) -> bool:
    # Without this, goods that were given back would be granted again at once.
    stopped = (AllotmentStatus.SUSPENDED, AllotmentStatus.RETURNING)
    return allotment.returned > 0 or allotment.status in stopped


def _sell_by(session: Session, lot_ids: set[UUID], variant: Variant) -> dict[UUID, date | None]:
    rows = session.execute(select(Lot.id, Lot.best_before).where(Lot.id.in_(lot_ids)))
    return {row.id: last_sale_day(row.best_before, variant.min_life_days) for row in rows}
