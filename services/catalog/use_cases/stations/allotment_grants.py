"""Grant devices stock to sell: at once, nobody else can reach it."""

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
    announce,
    lock_by_key,
    track_allotment,
)
from services.catalog.use_cases.stations.devices import (
    DeviceNotActive,
    existing_device,
    lock_device,
)
from services.catalog.use_cases.stock.ledger import OutOfStock, lock_lot, move
from services.catalog.use_cases.stock.levels import bring
from services.catalog.use_cases.stock.locations import open_location_of
from services.catalog.use_cases.stock.picking import load_pickable, open_centres, pickable_levels
from shared.events import AllotmentGranted
from shared.runtime import clock


def grant_lot(
    batch: CatalogBatch, device_id: UUID, lot_id: UUID, quantity: int, actor: str
) -> list[Allotment]:
    """Grant a device a quantity of one lot.

    It is taken from the free stock of the device's own site first, then from an open centre's.

    Raises:
        DeviceNotFound, LotNotFound: there is none with this id.
        DeviceNotActive: the device has no machine.
        WrongLotState: the lot must not be sold, or not any more.
        WrongAllotmentState: an operator has suspended the device's allotment of the lot.
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
    device = _receiving(batch, device_id)
    allotment = allotment_of(batch, device.id, device.epoch, lot_id)
    if allotment is not None:
        _check_not_stopped(allotment)
    return _grant(batch, device, lot.variant_id, quantity, [*at_site, *at_centres], actor)


def grant_variant(
    batch: CatalogBatch, device_id: UUID, variant_id: UUID, quantity: int, actor: str
) -> list[Allotment]:
    """Grant a device a quantity of a variant, from the lots that expire first.

    It is taken from the free stock of the device's own site first, then from an open centre's.

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
    device = _receiving(batch, device_id)
    return _grant(batch, device, variant_id, quantity, not_suspended(batch, device, levels), actor)


def _receiving(batch: CatalogBatch, device_id: UUID) -> Device:
    """Lock a device that may receive a grant, and return it.

    Raises:
        DeviceNotActive: it has no machine.
        LocationClosed: its site is closed.
    """
    device = lock_device(batch, device_id)
    if device.status != DeviceStatus.ACTIVE:
        raise DeviceNotActive(f"Device {device.code} is {device.status}; enrol a machine first.")
    open_location_of(batch.session, device.site_id)
    return device


def not_suspended(
    batch: CatalogBatch, device: Device, levels: Sequence[StockLevel]
) -> list[StockLevel]:
    """Return the levels of those lots whose allotment to a locked device is not suspended."""
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
            f"The device's allotment of this lot is {allotment.status}, so it gets no more of it.",
            state=allotment.status,
        )


def _check_sellable(session: Session, lot: Lot) -> None:
    if lot.status != LotStatus.RELEASED:
        raise WrongLotState(f"The lot is {lot.status} and must not be sold.", state=lot.status)
    variant = session.get_one(Variant, lot.variant_id)
    if not keeps(lot.best_before, variant.min_life_days, clock.today()):
        raise WrongLotState(
            f"The lot keeps until {lot.best_before}, which is too short to sell it.",
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
        allotment = give(batch, device, take.source, take.quantity, actor)
        granted[allotment.id] = allotment
    return list(granted.values())


def give(
    batch: CatalogBatch, device: Device, level: StockLevel, quantity: int, actor: str
) -> Allotment:
    """Grant a locked device free stock of one level, whose lot is locked, and publish it.

    Goods that lie elsewhere are brought to the device's site first.

    Raises:
        OutOfStock: less is free there.
    """
    lot = level.lot
    if level.location_id != device.site_id:
        _, level = bring(batch, lot, level.location_id, device.site_id, quantity, actor)
    allotment = allotment_of(batch, device.id, device.epoch, lot.id) or _new(batch, device, lot)
    allot(batch, device, allotment, level, quantity, actor)
    return allotment


def _new(batch: CatalogBatch, device: Device, lot: Lot) -> Allotment:
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


def allot(
    batch: CatalogBatch,
    device: Device,
    allotment: Allotment,
    level: StockLevel,
    quantity: int,
    actor: str,
    sale_id: UUID | None = None,
) -> None:
    """Put free stock at the site into a locked allotment of a locked device, and publish it.

    Raises:
        OutOfStock: less is free there.
        WrongAllotmentState: it is suspended or returning.
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
    announce(device, allotment)
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
