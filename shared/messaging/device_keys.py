"""Stores the key of a station's device in each of the three services that the device calls.

Catalog enrols devices and records the key of each epoch; orders and logistics receive the event.
"""

from sqlalchemy.orm import Session

from shared.events import DeviceKeyGiven
from shared.runtime.api_keys import apply_key
from shared.runtime.devices import subject_of


def apply_device_key(session: Session, key: DeviceKeyGiven, sequence: int) -> None:
    """Store the key of a device's epoch; an event older than the last one changes nothing.

    `sequence` is the event's sequence among the events of its device.
    """
    apply_key(
        session,
        key.key_id,
        subject=subject_of(key.device_id, key.epoch),
        digest=key.digest,
        scopes=key.scopes,
        claims={
            "device_id": str(key.device_id),
            "epoch": str(key.epoch),
            "site_id": str(key.site_id),
            "device_code": key.device_code,
        },
        sequence=sequence,
    )
