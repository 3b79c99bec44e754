"""A machine enrols for a device of a station, with a one-time code."""

import hmac
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.catalog.batch import CatalogBatch
from services.catalog.models import Device, DeviceEpoch, Enrolment
from services.catalog.rules import DeviceStatus, plain_code
from services.catalog.use_cases.stations.devices import epoch_of, give_key, lock_device
from shared.runtime import clock
from shared.runtime.api_keys import digest_of
from shared.runtime.devices import PRESENT_SCOPES, REPLACED_SCOPES
from shared.runtime.errors import Conflict, NotFound
from shared.runtime.ids import new_id


class UnknownEnrolmentCode(NotFound):
    """Raised when no enrolment has this code."""


class EnrolmentCodeUsed(Conflict):
    """Raised when another machine has used the code."""


class EnrolmentCodeExpired(Conflict):
    """Raised when the code is too old, or was replaced by a newer one."""


@dataclass(frozen=True)
class Enrolled:
    """A device, and the epoch of the machine that enrolled."""

    device: Device
    epoch: int
    key_id: UUID


def check_code(session: Session, code: str) -> None:
    """Refuse an unknown code, without a lock: a stranger who guesses codes blocks no device.

    Raises:
        UnknownEnrolmentCode: no enrolment has this code.
    """
    _find(session, code)


def _find(session: Session, code: str) -> tuple[UUID, UUID]:
    """Return the ids of the enrolment that a code is for, and of its device.

    Raises:
        UnknownEnrolmentCode: no enrolment has this code.
    """
    found = session.execute(
        select(Enrolment.id, Enrolment.device_id).where(
            Enrolment.digest == digest_of(plain_code(code))
        )
    ).one_or_none()
    if found is None:
        raise UnknownEnrolmentCode("Nobody was given this code; compare it letter by letter.")
    return found.id, found.device_id


def enrol(batch: CatalogBatch, code: str, secret: str) -> Enrolled:
    """Enrol a machine for the device for which the code was made.

    The machine made the secret of its key itself. The same code with the same secret gets the same
    answer, so a machine that lost the answer asks again. The machine that is replaced may only
    upload what it sold before; its allotments stay until they are counted.

    Raises:
        UnknownEnrolmentCode: no enrolment has this code.
        EnrolmentCodeUsed: another machine has used the code.
        EnrolmentCodeExpired: it is over a day old, or was replaced by a newer one.
    """
    enrolment_id, device_id = _find(batch.session, code)
    device = lock_device(batch, device_id)
    # Read under the device's lock: two machines may send one code at the same time.
    enrolment: Enrolment | None = batch.get_for_update(Enrolment.id, enrolment_id)
    assert enrolment is not None
    if enrolment.key_id is not None:
        epoch = next(each for each in device.epochs if each.key_id == enrolment.key_id)
        if not hmac.compare_digest(epoch.digest, digest_of(secret)):
            raise EnrolmentCodeUsed("Another machine has used this code; ask for a new one.")
        return Enrolled(device, epoch.epoch, epoch.key_id)
    moment = clock.now()
    if enrolment.ended_at is not None or enrolment.expires_at <= moment:
        raise EnrolmentCodeExpired("This code counts no more; ask an operator for a new one.")
    _replace_present(batch, device)
    device.epoch += 1
    device.status = DeviceStatus.ACTIVE.value
    epoch = DeviceEpoch(
        key_id=new_id(),
        device_id=device.id,
        epoch=device.epoch,
        digest=digest_of(secret),
        scopes=[],
        enrolled_at=moment,
    )
    batch.session.add(epoch)
    batch.session.flush()
    enrolment.key_id, enrolment.used_at = epoch.key_id, moment
    give_key(batch, device, epoch, PRESENT_SCOPES)
    return Enrolled(device, epoch.epoch, epoch.key_id)


def _replace_present(batch: CatalogBatch, device: Device) -> None:
    present = epoch_of(device, device.epoch)
    if present is None:
        return
    present.superseded_at = clock.now()
    if present.scopes:  # a revoked key stays revoked
        give_key(batch, device, present, REPLACED_SCOPES)
