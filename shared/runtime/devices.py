"""A station's device, as the three services that it calls know it: by the claims of its API key.

Catalog enrols devices and publishes each epoch's key as `device_key_given`; orders and logistics
store the key. A route reads the calling device from the key's claims.
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

#: The current epoch's key may do all that a till does, a replaced epoch's key only late uploads.
TILL, UPLOAD = "till", "till:upload"
PRESENT_SCOPES = (TILL, UPLOAD)
REPLACED_SCOPES = (UPLOAD,)


class NotADevice(Forbidden):
    """Raised when the caller of a till's route is not an enrolled device."""


@dataclass(frozen=True)
class Device:
    """One epoch of a device at a site."""

    device_id: UUID
    epoch: int
    site_id: UUID
    device_code: str


def device_of(caller: Caller) -> Device:
    """Return the calling device.

    Raises:
        NotADevice: the caller is a person or another program.
    """
    claims = caller.claims
    if "device_id" not in claims:
        raise NotADevice("Only an enrolled device can call this; enrol one at /till.")
    return Device(
        UUID(claims["device_id"]),
        int(claims["epoch"]),
        UUID(claims["site_id"]),
        claims["device_code"],
    )


def entry_id(device_id: UUID, epoch: int, number: int) -> UUID:
    """Return the id of a journal entry, derived from device, epoch and number."""
    return uuid5(device_id, f"{epoch}/{number}")


def subject_of(device_id: UUID, epoch: int) -> str:
    """Return the subject of the key of one epoch of a device."""
    return f"device/{device_id}/{epoch}"


def enrolled_at(session: Session, device: Device) -> datetime | None:
    """Return the moment at which catalog enrolled this epoch of the device and created its key."""
    subject = subject_of(device.device_id, device.epoch)
    key_id = session.scalar(select(ApiKey.id).where(ApiKey.subject == subject).limit(1))
    return None if key_id is None else made_at(key_id)
