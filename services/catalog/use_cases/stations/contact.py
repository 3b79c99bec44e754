"""A device reports its state, and gets its allotments, prices and lease."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.catalog.batch import CatalogBatch
from services.catalog.models import Allotment, Device, Lot, Variant
from services.catalog.rules import (
    AllotmentStatus,
    DeviceStatus,
    allotment_step,
    last_sale_day,
    lease_end,
)
from services.catalog.use_cases.goods.price_list import counter_prices
from services.catalog.use_cases.stations.devices import epoch_of, lock_device
from shared.runtime import clock
from shared.runtime import devices as keys
from shared.runtime.errors import Forbidden


class DeviceReplaced(Forbidden):
    """Raised when the machine was replaced by another, or its device was revoked."""


@dataclass(frozen=True)
class DeviceReport:
    """What a device reports of itself; `device_time` is its own clock, which may be wrong."""

    seen_revision: int
    unsynced: int
    oldest_unsynced_at: datetime | None
    last_number: int
    device_time: datetime
    app_version: str
    remaining: Mapping[UUID, int] | None = None


@dataclass(frozen=True)
class Contact:
    """The answer to a device: what it may sell, until when, and at which prices."""

    server_time: datetime
    device: Device
    epoch: int
    key_id: UUID
    revision: int
    lease_until: datetime
    lease_seconds: int
    allotments: list[dict[str, Any]]
    variants: list[dict[str, Any]]


def contact(
    batch: CatalogBatch, caller: keys.Device, said: DeviceReport, lease_seconds: int
) -> Contact:
    """Store what a device reports, renew its lease, and return what it may sell.

    Its granted allotments become active. The answer has the open allotments of its own epoch. No
    report changes what it sold or has left.

    Raises:
        DeviceReplaced: the machine was replaced by another, or its device was revoked.
    """
    moment = clock.now()
    device = lock_device(batch, caller.device_id)
    epoch = epoch_of(device, caller.epoch)
    if epoch is None or device.epoch != epoch.epoch or device.status != DeviceStatus.ACTIVE:
        raise DeviceReplaced("Another machine stands for this device now, or it was revoked.")
    epoch.last_contact_at = moment
    epoch.lease_until = moment + timedelta(seconds=lease_seconds)
    # Not the highest ever reported: a machine restored from a backup has an older state.
    epoch.seen_revision = min(said.seen_revision, device.revision)
    epoch.unsynced = said.unsynced
    epoch.oldest_unsynced_at = said.oldest_unsynced_at
    epoch.last_number = said.last_number
    epoch.app_version = said.app_version
    epoch.clock_offset_seconds = round((said.device_time - moment).total_seconds())
    if said.remaining is not None:
        epoch.remaining = {str(lot_id): left for lot_id, left in said.remaining.items()}
    told = _told(batch.session, device, epoch.lease_until)
    held = {each["variant_id"] for each in told}
    return Contact(
        server_time=moment,
        device=device,
        epoch=epoch.epoch,
        key_id=epoch.key_id,
        revision=device.revision,
        lease_until=epoch.lease_until,
        lease_seconds=lease_seconds,
        allotments=told,
        variants=counter_prices(batch.session, moment, held),
    )


def _told(session: Session, device: Device, lease_until: datetime) -> list[dict[str, Any]]:
    rows = session.execute(
        select(Allotment, Lot.code, Lot.best_before, Variant.min_life_days)
        .join(Lot, Lot.id == Allotment.lot_id)
        .join(Variant, Variant.id == Allotment.variant_id)
        .where(
            Allotment.device_id == device.id,
            Allotment.epoch == device.epoch,
            Allotment.status != AllotmentStatus.CLOSED.value,
        )
        .order_by(Allotment.id)
    )
    told = []
    for allotment, lot_code, best_before, min_life_days in rows:
        if allotment.status == AllotmentStatus.GRANTED:
            allotment.status = allotment_step(allotment.status, AllotmentStatus.ACTIVE).value
        sell_by = last_sale_day(best_before, min_life_days)
        told.append(
            {
                "allotment_id": allotment.id,
                "lot_id": allotment.lot_id,
                "lot_code": lot_code,
                "variant_id": allotment.variant_id,
                "best_before": best_before,
                "sell_by": sell_by,
                "granted": allotment.granted,
                "sold": allotment.sold,
                "returned": allotment.returned,
                "written_off": allotment.written_off,
                "status": allotment.status,
                "reason": allotment.reason,
                "lease_until": lease_end(lease_until, sell_by),
                "proposed_return": min(allotment.proposed_return, allotment.remaining),
            }
        )
    return told
