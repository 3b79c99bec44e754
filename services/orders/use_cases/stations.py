"""Find the entries of stations' tills, and those that need attention."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select, text
from sqlalchemy.orm import Session

from services.orders.batch import EntryNotFound
from services.orders.models import FLAGGED, Journal, TillEntry
from services.orders.rules import journal as runs
from services.orders.rules.till import EntryKind, EntryStatus
from services.orders.use_cases.upload import journal_id
from shared.runtime import devices
from shared.runtime.devices import Device
from shared.runtime.errors import NotFound
from shared.runtime.paging import filtered
from shared.runtime.tables import ApiKey

#: Holes, and entries that need attention, in one answer to a till.
MOST_HOLES, MOST_ITEMS = 100, 200
_SHOWN = (EntryStatus.DISPUTED, EntryStatus.SETTLED, EntryStatus.ACKNOWLEDGED)


class UnknownDevice(NotFound):
    """Raised when orders knows no key of this epoch of a device."""


@dataclass(frozen=True)
class JournalStatus:
    """A device's journal in one epoch, and how many of its entries are disputed."""

    journal: Journal
    disputed: int

    @property
    def holes(self) -> int:
        """How many numbers below the highest are missing."""
        return runs.missing(self.journal.holes)

    @property
    def entries(self) -> int:
        """How many numbers have come."""
        return self.journal.highest - self.holes


def attention(session: Session, device: Device) -> dict[str, Any]:
    """Return the holes of a till's journal, and the entries that are or were disputed."""
    journal = session.get(Journal, journal_id(device.device_id, device.epoch))
    items = session.scalars(
        select(TillEntry)
        .where(
            TillEntry.device_id == device.device_id,
            TillEntry.epoch == device.epoch,
            TillEntry.status.in_(_SHOWN),
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


def device_of_epoch(session: Session, device_id: UUID, epoch: int) -> Device:
    """Return one epoch of a device, also if its key is revoked.

    Raises:
        UnknownDevice: it never had a key.
    """
    subject = devices.subject_of(device_id, epoch)
    claims: Mapping[str, str] | None = session.scalars(
        select(ApiKey.claims).where(ApiKey.subject == subject)
    ).first()
    if claims is None:
        raise UnknownDevice(f"No key was ever given to device {device_id} in epoch {epoch}.")
    return Device(device_id, epoch, UUID(claims["site_id"]), claims["device_code"])


def find_entry(session: Session, entry_id: UUID) -> TillEntry:
    """Return an entry of a journal.

    Raises:
        EntryNotFound: there is none.
    """
    entry = session.get(TillEntry, entry_id)
    if entry is None:
        raise EntryNotFound(f"No till has told of {entry_id}.")
    return entry


def select_entries(
    *,
    device_id: UUID | None = None,
    epoch: int | None = None,
    site_id: UUID | None = None,
    status: EntryStatus | None = None,
    kind: EntryKind | None = None,
    clerk: str | None = None,
    flagged: bool | None = None,
) -> Select[TillEntry]:
    """Return the statement that selects entries of journals."""
    wanted = {
        TillEntry.device_id: device_id,
        TillEntry.epoch: epoch,
        TillEntry.site_id: site_id,
        TillEntry.status: status,
        TillEntry.kind: kind,
        TillEntry.clerk: clerk,
    }
    chosen = filtered(select(TillEntry), wanted)
    if flagged is not None:
        chosen = chosen.where(FLAGGED if flagged else text(f"NOT ({FLAGGED.text})"))
    return chosen


def select_journals(*, device_id: UUID | None = None) -> Select[Journal]:
    """Return the statement that selects the journals of devices' epochs."""
    chosen = select(Journal)
    return chosen if device_id is None else chosen.where(Journal.device_id == device_id)


def journal_statuses(session: Session, journals: Sequence[Journal]) -> list[JournalStatus]:
    """Return the status of each journal, in one statement for all of them."""
    counted = session.execute(
        select(TillEntry.device_id, TillEntry.epoch, func.count().label("disputed"))
        .where(
            TillEntry.status == EntryStatus.DISPUTED,
            TillEntry.device_id.in_({journal.device_id for journal in journals}),
        )
        .group_by(TillEntry.device_id, TillEntry.epoch)
    )
    disputed = {(row.device_id, row.epoch): row.disputed for row in counted}
    return [JournalStatus(j, disputed.get((j.device_id, j.epoch), 0)) for j in journals]
