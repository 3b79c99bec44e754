"""A device of a station, as the three services that it calls know it: by its key.

Catalog enrols devices and records in `device_key_given` what each epoch's key may do; see
`shared.messaging.device_keys`. The claims of the key name the device to the routes.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid5

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.runtime.callers import Caller
from shared.runtime.errors import Forbidden
from shared.runtime.ids import made_at
from shared.runtime.tables import ApiKey

#: Of the present epoch: everything a till does. Of a replaced one: only its late uploads.
TILL, UPLOAD = "till", "till:upload"
PRESENT_SCOPES = (TILL, UPLOAD)
REPLACED_SCOPES = (UPLOAD,)


class NotADevice(Forbidden):
    """Raised when a route of the till is called by somebody who is no enrolled device."""


@dataclass(frozen=True)
class Device:
    """One epoch of a device at a site."""

    device_id: UUID
    epoch: int
    site_id: UUID
    device_code: str


def device_of(caller: Caller) -> Device:
    """Return the device that calls.

    Raises:
        NotADevice: it is a person or another program.
    """
    claims = caller.claims
    if "device_id" not in claims:
        raise NotADevice("Only an enrolled device calls this; enrol one at /till.")
    return Device(
        UUID(claims["device_id"]),
        int(claims["epoch"]),
        UUID(claims["site_id"]),
        claims["device_code"],
    )


def entry_id(device_id: UUID, epoch: int, number: int) -> UUID:
    """Return the id of an entry of a device's journal: always the same for the same name."""
    return uuid5(device_id, f"{epoch}/{number}")


def subject_of(device_id: UUID, epoch: int) -> str:
    """Return who a device is in one epoch, as the subject of its key."""
    return f"device/{device_id}/{epoch}"


def enrolled_at(session: Session, device: Device) -> datetime | None:
    """Return when catalog enrolled a machine as this epoch of a device: when it made its key."""
    subject = subject_of(device.device_id, device.epoch)
    key_id = session.scalar(select(ApiKey.id).where(ApiKey.subject == subject).limit(1))
    return None if key_id is None else made_at(key_id)
