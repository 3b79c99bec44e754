"""Register the devices of stations, invite machines to enrol for them, and revoke them.

A device is a place at a counter. Each machine that enrols for it begins a new epoch, with a key of
its own; see `enrolment` for the machine's side.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Select, func, select, update
from sqlalchemy.orm import Session

from services.catalog.batch import CatalogBatch
from services.catalog.models import Device, DeviceEpoch, Enrolment
from services.catalog.rules import DeviceStatus, new_code, plain_code
from services.catalog.use_cases.stock.locations import open_location_of
from shared.events import DeviceKeyGiven
from shared.messaging.device_keys import apply_device_key
from shared.runtime import clock
from shared.runtime.api_keys import digest_of
from shared.runtime.errors import Conflict, NotFound
from shared.runtime.locks import advisory_lock

#: How long an enrolment code can be used.
CODE_LIVES = timedelta(hours=24)


class DeviceNotFound(NotFound):
    """Raised when no device has this id."""


class DeviceNotActive(Conflict):
    """Raised when a device has no machine: none was enrolled, or the device was revoked."""


@dataclass(frozen=True)
class Invitation:
    """A device, and the code with which a machine enrols for it; the code is not stored."""

    device: Device
    enrolment_code: str
    enrolment_expires_at: datetime


def register_device(batch: CatalogBatch, site_id: UUID, name: str, actor: str) -> Invitation:
    """Register one more device at a site; its code is the site's with a number.

    Raises:
        UnknownLocation, LocationClosed: it cannot stand there.
    """
    site = open_location_of(batch.session, site_id)
    advisory_lock(batch.session, "devices")
    number = batch.session.scalar(select(func.count()).where(Device.site_id == site_id)) or 0
    device = Device(
        code=_free_code(batch.session, site.code, number + 1), name=name, site_id=site_id
    )
    batch.session.add(device)
    batch.session.flush()
    return _invite(batch.session, lock_device(batch, device.id), actor)


def _free_code(session: Session, site_code: str, number: int) -> str:
    # A site may have had another code when its first devices were registered.
    while session.scalar(select(Device.id).where(Device.code == f"{site_code}-{number}")):
        number += 1
    return f"{site_code}-{number}"


def invite_again(batch: CatalogBatch, device_id: UUID, actor: str) -> Invitation:
    """Make a new enrolment code, for a machine that replaces the present one.

    Unused codes end. The present machine keeps its key until the new code is used.

    Raises:
        DeviceNotFound: there is none with this id.
    """
    return _invite(batch.session, lock_device(batch, device_id), actor)


def _invite(session: Session, device: Device, actor: str) -> Invitation:
    _end_codes(session, device.id)
    code, expires_at = new_code(), clock.now() + CODE_LIVES
    session.add(
        Enrolment(
            device_id=device.id,
            digest=digest_of(plain_code(code)),
            made_by=actor,
            expires_at=expires_at,
        )
    )
    return Invitation(device, code, expires_at)


def _end_codes(session: Session, device_id: UUID) -> None:
    unused = (Enrolment.device_id == device_id, Enrolment.key_id.is_(None))
    session.execute(
        update(Enrolment)
        .where(*unused, Enrolment.ended_at.is_(None))
        .values(ended_at=clock.now())
        .execution_options(synchronize_session=False)
    )


def revoke_device(batch: CatalogBatch, device_id: UUID, reason: str | None, actor: str) -> Device:
    """Revoke the keys of all machines of a device. Repeating it changes nothing.

    Its allotments stay until they are counted: the goods may still be sold over the counter.

    Raises:
        DeviceNotFound: there is none with this id.
    """
    device = lock_device(batch, device_id)
    if device.status == DeviceStatus.REVOKED:
        return device
    _end_codes(batch.session, device_id)
    device.status = DeviceStatus.REVOKED.value
    device.revoked_by, device.revoked_reason = actor, reason
    device.revoked_at = clock.now()
    for epoch in device.epochs:
        if epoch.scopes:
            give_key(batch, device, epoch, ())
    return device


def give_key(
    batch: CatalogBatch, device: Device, epoch: DeviceEpoch, scopes: Iterable[str]
) -> None:
    """Give the key of one epoch of a locked device these scopes and no others.

    In catalog they hold from this transaction on; the other services learn of them by event.
    """
    epoch.scopes = list(scopes)
    given = DeviceKeyGiven(
        device_id=device.id,
        device_code=device.code,
        site_id=device.site_id,
        epoch=epoch.epoch,
        key_id=epoch.key_id,
        digest=epoch.digest,
        scopes=epoch.scopes,
    )
    batch.record(device, given)
    apply_device_key(batch.session, given, device.version)


def lock_device(batch: CatalogBatch, device_id: UUID) -> Device:
    """Return a device, locked until the transaction ends.

    Raises:
        DeviceNotFound: there is none with this id.
    """
    device: Device | None = batch.get_for_update(Device.id, device_id)
    if device is None:
        raise DeviceNotFound(f"There is no device {device_id}.")
    return device


def existing_device(session: Session, device_id: UUID) -> Device:
    """Return a device.

    Raises:
        DeviceNotFound: there is none with this id.
    """
    device = session.get(Device, device_id)
    if device is None:
        raise DeviceNotFound(f"There is no device {device_id}.")
    return device


def select_devices(site_id: UUID | None = None) -> Select[Device]:
    """Return the query for devices, all of them or those of one site."""
    statement = select(Device)
    return statement if site_id is None else statement.where(Device.site_id == site_id)


def epoch_of(device: Device, epoch: int) -> DeviceEpoch | None:
    """Return one epoch of a device; None: there was none with this number."""
    return next((each for each in device.epochs if each.epoch == epoch), None)
