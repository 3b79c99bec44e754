"""Grant devices stock to sell. From the grant on, only the device can sell it."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.orm import Session

from services.catalog.batch import CatalogBatch
from services.catalog.models import Allotment, Device, Lot, StockLevel, Variant
from services.catalog.rules import (
    AllotmentStatus,
    Bucket,
    DeviceStatus,
    LotStatus,
    Reason,
    WantedLine,
    WrongAllotmentState,
    WrongLotState,
    allotment_step,
    keeps,
    plan,
)
from services.catalog.use_cases.goods.prices import VariantNotFound
from services.catalog.use_cases.stations.allotments import (
    allotment_of,
    assign_revision,
    lock_by_key,
    track_allotment,
)
from services.catalog.use_cases.stations.devices import (
    DeviceNotActive,
    existing_device,
    lock_device,
)
from services.catalog.use_cases.stock.ledger import OutOfStock, lock_lot, move
from services.catalog.use_cases.stock.levels import transfer
from services.catalog.use_cases.stock.locations import open_location_of
from services.catalog.use_cases.stock.picking import load_pickable, open_centres, pickable_levels
from shared.events import AllotmentGranted
from shared.runtime import clock


def grant_lot(
    batch: CatalogBatch, device_id: UUID, lot_id: UUID, quantity: int, actor: str
) -> list[Allotment]:
    """Grant a device `quantity` of one lot, in addition to earlier grants.

    The stock comes from the device's own site first, then from the open centres.

    Raises:
        DeviceNotFound, LotNotFound: there is none with this id.
        DeviceNotActive: the device has no machine.
        WrongLotState: the lot is not released, or keeps too short to be sold.
        WrongAllotmentState: the device's allotment of the lot is suspended or returning.
        LocationClosed: the device's site is closed.
        OutOfStock: less is free. Nothing is granted in part.
    """
    device = existing_device(batch.session, device_id)
    lot = lock_lot(batch, lot_id)
    _check_sellable(batch.session, lot)
    at_site = [level for level in lot.levels if level.location_id == device.site_id]
    at_centres = [
        level
        for level in lot.levels
        if level.location_id in open_centres(batch) and level.location_id != device.site_id
    ]
    device = _lock_active_device(batch, device_id)
    allotment = allotment_of(batch, device.id, device.epoch, lot_id)
    if allotment is not None:
        _check_not_stopped(allotment)
    return _grant(batch, device, lot.variant_id, quantity, [*at_site, *at_centres], actor)


def grant_variant(
    batch: CatalogBatch, device_id: UUID, variant_id: UUID, quantity: int, actor: str
) -> list[Allotment]:
    """Grant a device `quantity` of a variant, in addition to earlier grants.

    The lots that expire first are granted first. The stock comes from the device's own site first,
    then from the open centres.

    Raises:
        DeviceNotFound, VariantNotFound: there is none with this id.
        DeviceNotActive: the device has no machine.
        LocationClosed: the device's site is closed.
        OutOfStock: less is free. Nothing is granted in part.
    """
    device = existing_device(batch.session, device_id)
    if batch.session.get(Variant, variant_id) is None:
        raise VariantNotFound(f"There is no variant {variant_id}.")
    load_pickable(batch, {variant_id})
    levels = pickable_levels(batch, variant_id, device.site_id)
    device = _lock_active_device(batch, device_id)
    return _grant(batch, device, variant_id, quantity, not_suspended(batch, device, levels), actor)


def _lock_active_device(batch: CatalogBatch, device_id: UUID) -> Device:
    """Lock a device and return it.

    Raises:
        DeviceNotActive: the device has no machine.
        LocationClosed: the device's site is closed.
    """
    device = lock_device(batch, device_id)
    if device.status != DeviceStatus.ACTIVE:
        raise DeviceNotActive(
            f"Device {device.code} is {device.status}: no machine is enrolled as it. Type its "
            "one-time code at /till on the machine first."
        )
    open_location_of(batch.session, device.site_id)
    return device


def not_suspended(
    batch: CatalogBatch, device: Device, levels: Sequence[StockLevel]
) -> list[StockLevel]:
    """Return `levels` without the lots of which a locked device has a suspended allotment."""
    lock_by_key(batch, [(device.id, device.epoch, level.lot_id) for level in levels])
    return [
        level
        for level in levels
        if (known := allotment_of(batch, device.id, device.epoch, level.lot_id)) is None
        or known.status != AllotmentStatus.SUSPENDED
    ]


def _check_not_stopped(allotment: Allotment) -> None:
    if allotment.status in (AllotmentStatus.SUSPENDED, AllotmentStatus.RETURNING):
        raise WrongAllotmentState(
            f"The device's allotment of this lot is {allotment.status}; no more can be granted.",
            state=allotment.status,
        )


def _check_sellable(session: Session, lot: Lot) -> None:
    if lot.status != LotStatus.RELEASED:
        raise WrongLotState(f"The lot is {lot.status} and must not be sold.", state=lot.status)
    variant = session.get_one(Variant, lot.variant_id)
    if not keeps(lot.best_before, variant.min_life_days, clock.today()):
        raise WrongLotState(
            f"The lot's best-before date, {lot.best_before}, is too near to sell it.",
            state=lot.status,
        )


def _grant(
    batch: CatalogBatch,
    device: Device,
    variant_id: UUID,
    quantity: int,
    levels: Sequence[StockLevel],
    actor: str,
) -> list[Allotment]:
    taken, shortfalls = plan([WantedLine(1, variant_id, quantity)], {variant_id: levels})
    if shortfalls:
        free = shortfalls[0].available
        raise OutOfStock(
            f"{quantity} asked for, {free} free at the station and at the centre.",
            requested=quantity,
            present=free,
        )
    granted: dict[UUID, Allotment] = {}
    for take in taken:
        allotment = grant_from_level(batch, device, take.source, take.quantity, actor)
        granted[allotment.id] = allotment
    return list(granted.values())


def grant_from_level(
    batch: CatalogBatch, device: Device, level: StockLevel, quantity: int, actor: str
) -> Allotment:
    """Grant a locked device free stock of one level, and publish the grant.

    The level's lot is locked. Stock at another location is transferred to the device's site first.

    Raises:
        OutOfStock: less is free at the level's location.
    """
    lot = level.lot
    if level.location_id != device.site_id:
        _, level = transfer(batch, lot, level.location_id, device.site_id, quantity, actor)
    allotment = allotment_of(batch, device.id, device.epoch, lot.id) or _create_allotment(
        batch, device, lot
    )
    add_to_allotment(batch, device, allotment, level, quantity, actor)
    return allotment


def _create_allotment(batch: CatalogBatch, device: Device, lot: Lot) -> Allotment:
    moment = clock.now()
    allotment = Allotment(
        device_id=device.id,
        epoch=device.epoch,
        lot_id=lot.id,
        variant_id=lot.variant_id,
        site_id=device.site_id,
        granted=0,
        sold=0,
        returned=0,
        remaining=0,
        written_off=0,
        status=AllotmentStatus.GRANTED.value,
        proposed_return=0,
        revision=0,
        granted_at=moment,
        changed_at=moment,
    )
    batch.session.add(allotment)
    batch.session.flush()
    track_allotment(batch, allotment)
    return allotment


def add_to_allotment(
    batch: CatalogBatch,
    device: Device,
    allotment: Allotment,
    level: StockLevel,
    quantity: int,
    actor: str,
    sale_id: UUID | None = None,
) -> None:
    """Add free stock at a site to a locked allotment of a locked device, and publish the grant.

    Raises:
        OutOfStock: less is free at the site.
        WrongAllotmentState: the allotment is suspended or returning.
    """
    _check_not_stopped(allotment)
    allotment.status = allotment_step(allotment.status, AllotmentStatus.GRANTED).value
    allotment.quota = allotment.quota.grant(quantity)
    move(
        batch,
        level,
        Bucket.AVAILABLE,
        Bucket.ALLOTTED,
        quantity,
        Reason.ALLOTTED,
        actor=actor,
        allotment_id=allotment.id,
        sale_id=sale_id,
    )
    assign_revision(device, allotment)
    batch.record(
        allotment,
        AllotmentGranted(
            allotment_id=allotment.id,
            device_id=device.id,
            epoch=allotment.epoch,
            site_id=allotment.site_id,
            lot_id=allotment.lot_id,
            quantity=quantity,
            granted=allotment.granted,
        ),
    )
