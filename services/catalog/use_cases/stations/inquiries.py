"""What an operator sees of devices and their allotments."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import or_, select, tuple_
from sqlalchemy.orm import Session

from services.catalog.models import Allotment, AllotmentCount, Device, DeviceEpoch, Lot, Variant
from services.catalog.rules import AllotmentStatus, last_sale_day, lease_end
from services.catalog.use_cases.stations.allotments import select_allotments
from services.catalog.use_cases.stations.devices import epoch_of, existing_device
from services.catalog.use_cases.stations.overdrafts import count_open
from services.catalog.use_cases.stock.lots import get_lot
from shared.runtime import clock

#: Closed allotments that are shown with a device; all of them are in the list of allotments.
CLOSED_SHOWN = 100
#: Counts that are shown with a device, the last ones.
COUNTS_SHOWN = 100
#: What the present machine of a device last reported.
_SAID = (
    "last_contact_at",
    "lease_until",
    "unsynced",
    "oldest_unsynced_at",
    "last_number",
    "app_version",
    "clock_offset_seconds",
)


def describe_devices(session: Session, devices: Sequence[Device]) -> list[dict[str, Any]]:
    """Describe devices: their last reports, and the changes that they do not know yet."""
    ids = [device.id for device in devices]
    overdrafts = count_open(session, ids)
    unheard: dict[UUID, list[UUID]] = {}
    rows = session.execute(
        select(Allotment.device_id, Allotment.id)
        .join(
            DeviceEpoch,
            (DeviceEpoch.device_id == Allotment.device_id) & (DeviceEpoch.epoch == Allotment.epoch),
        )
        .join(Device, Device.id == Allotment.device_id)
        .where(
            Allotment.device_id.in_(ids),
            Allotment.revision > DeviceEpoch.seen_revision,
            # A replaced machine makes no contact any more, so its closed allotments are left out.
            or_(
                Allotment.epoch == Device.epoch,
                Allotment.status != AllotmentStatus.CLOSED.value,
            ),
        )
        .order_by(Allotment.id)
    )
    for device_id, allotment_id in rows:
        unheard.setdefault(device_id, []).append(allotment_id)
    moment = clock.now()
    described = []
    for device in devices:
        present = epoch_of(device, device.epoch)
        lease_until = None if present is None else present.lease_until
        described.append(
            {
                "device_id": device.id,
                "code": device.code,
                "name": device.name,
                "site_id": device.site_id,
                "site_code": device.site.code,
                "status": device.status,
                "epoch": device.epoch,
                **{name: getattr(present, name, None) for name in _SAID},
                "lease_over": lease_until is None or lease_until <= moment,
                "revision": device.revision,
                "seen_revision": present.seen_revision if present is not None else 0,
                "unheard": unheard.get(device.id, []),
                "open_overdrafts": overdrafts.get(device.id, 0),
                "revoked_by": device.revoked_by,
                "revoked_reason": device.revoked_reason,
                "revoked_at": device.revoked_at,
            }
        )
    return described


def describe_device(session: Session, device_id: UUID) -> dict[str, Any]:
    """Return all that is shown of one device, with its epochs and allotments.

    Of the closed allotments only those that changed last are there.

    Raises:
        DeviceNotFound: there is none with this id.
    """
    device = existing_device(session, device_id)
    (shown,) = describe_devices(session, [device])
    of_device, is_closed = select_allotments(device_id=device_id), AllotmentStatus.CLOSED.value
    newest = Allotment.epoch.desc(), Allotment.id
    allotments = [
        *session.scalars(of_device.where(Allotment.status != is_closed).order_by(*newest)),
        *session.scalars(
            of_device.where(Allotment.status == is_closed)
            .order_by(Allotment.changed_at.desc(), Allotment.id)
            .limit(CLOSED_SHOWN)
        ),
    ]
    return shown | {
        "epochs": device.epochs,
        "allotments": describe_allotments(session, allotments),
        "counts": session.scalars(
            select(AllotmentCount)
            .join(Allotment, Allotment.id == AllotmentCount.allotment_id)
            .where(Allotment.device_id == device_id)
            .order_by(AllotmentCount.id.desc())
            .limit(COUNTS_SHOWN)
        ).all(),
    }


def describe_allotments(session: Session, allotments: Iterable[Allotment]) -> list[dict[str, Any]]:
    """Describe allotments: each with its lease, and whether its device knows the last change."""
    rows = list(allotments)
    lots = {
        row.id: row
        for row in session.execute(
            select(Lot.id, Lot.code, Lot.best_before, Variant.min_life_days)
            .join(Variant, Variant.id == Lot.variant_id)
            .where(Lot.id.in_({row.lot_id for row in rows}))
        )
    }
    names = {(row.device_id, row.epoch) for row in rows}
    epochs = {
        (epoch.device_id, epoch.epoch): epoch
        for epoch in session.scalars(
            select(DeviceEpoch).where(
                tuple_(DeviceEpoch.device_id, DeviceEpoch.epoch).in_(sorted(names, key=str))
            )
        )
    }
    shown = []
    for row in rows:
        lot, epoch = lots[row.lot_id], epochs[row.device_id, row.epoch]
        sell_by = last_sale_day(lot.best_before, lot.min_life_days)
        reported = epoch.remaining or {}
        shown.append(
            {
                "allotment_id": row.id,
                "device_id": row.device_id,
                "epoch": row.epoch,
                "site_id": row.site_id,
                "lot_id": row.lot_id,
                "lot_code": lot.code,
                "variant_id": row.variant_id,
                "best_before": lot.best_before,
                "sell_by": sell_by,
                "granted": row.granted,
                "sold": row.sold,
                "returned": row.returned,
                "remaining": row.remaining,
                "written_off": row.written_off,
                "status": row.status,
                "reason": row.reason,
                "note": row.note,
                "actor": row.actor,
                "lease_until": lease_end(epoch.lease_until, sell_by),
                "proposed_return": min(row.proposed_return, row.remaining),
                "heard": row.revision <= epoch.seen_revision,
                "reported_remaining": reported.get(str(row.lot_id)),
                "changed_at": row.changed_at,
            }
        )
    return shown


def devices_with_lot(session: Session, lot_id: UUID) -> list[dict[str, Any]]:
    """Return the devices with an open allotment of a lot, and whether they know its last change.

    Raises:
        LotNotFound: there is none with this id.
    """
    get_lot(session, lot_id)
    rows = session.execute(
        select(Allotment, Device.code, DeviceEpoch.seen_revision, DeviceEpoch.last_contact_at)
        .join(Device, Device.id == Allotment.device_id)
        .join(
            DeviceEpoch,
            (DeviceEpoch.device_id == Allotment.device_id) & (DeviceEpoch.epoch == Allotment.epoch),
        )
        .where(Allotment.lot_id == lot_id, Allotment.status != AllotmentStatus.CLOSED.value)
        .order_by(Device.code, Allotment.epoch)
    )
    return [
        {
            "device_id": allotment.device_id,
            "device_code": code,
            "site_id": allotment.site_id,
            "epoch": allotment.epoch,
            "allotment_id": allotment.id,
            "status": allotment.status,
            "reason": allotment.reason,
            "remaining": allotment.remaining,
            "heard": allotment.revision <= seen,
            "last_contact_at": last_contact_at,
        }
        for allotment, code, seen, last_contact_at in rows
    ]
