"""Find what stations' tills have said, and what of it needs attention."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.orders.models import Journal, TillEntry
from services.orders.rules import journal as runs
from services.orders.rules.till import EntryStatus
from services.orders.use_cases.upload import journal_id
from shared.devices import Device

#: Holes, and entries that need attention, told to a till at once.
MOST_HOLES, MOST_ITEMS = 100, 200
_TOLD = (EntryStatus.DISPUTED, EntryStatus.SETTLED, EntryStatus.ACKNOWLEDGED)


def attention(session: Session, device: Device) -> dict[str, Any]:
    """Return what a till should know of its journal: holes, and what is or was disputed."""
    journal = session.get(Journal, journal_id(device.device_id, device.epoch))
    items = session.scalars(
        select(TillEntry)
        .where(
            TillEntry.device_id == device.device_id,
            TillEntry.epoch == device.epoch,
            TillEntry.status.in_(_TOLD),
        )
        .order_by(TillEntry.changed_at.desc(), TillEntry.id)
        .limit(MOST_ITEMS)
    ).all()
    return {
        "device_id": device.device_id,
        "epoch": device.epoch,
        "highest": 0 if journal is None else journal.highest,
        "holes": [] if journal is None else runs.first_missing(journal.holes, MOST_HOLES),
        "items": items,
    }
