"""What becomes of an entry of a till's journal after it has come, and the facts told of it."""

from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from services.orders.models import TillEntry
from services.orders.rules.till import SELLING, EntryKind, EntryStatus
from shared import clock
from shared.errors import NotFound
from shared.events import StationSaleDisputed, StationSaleRecorded
from shared.outbox import record
from shared.rows import locked

#: Why orders itself disputes an entry; the others are catalog's and logistics' words.
UNREADABLE, OTHER_CONTENT, BEYOND_SALE = "unreadable", "other_content", "beyond_sale"


class EntryNotFound(NotFound):
    """Raised when no till has said what is asked for."""


def lines_of(entry: TillEntry) -> list[dict[str, Any]]:
    """Return the goods of a sale, or those that an entry took back, as lines of an event.

    None for what is unreadable, and for what has had no effect.
    """
    if entry.kind != EntryKind.SALE:
        return entry.taken or []
    if entry.reason == UNREADABLE:
        return []
    return [
        {
            "line_no": line["line_no"],
            "variant_id": line["variant_id"],
            "lot_id": line["lot_id"],
            "quantity": line["quantity"],
            "line_total_fen": line["line_total_fen"],
            "restock": None,
        }
        for line in entry.body["lines"]
    ]


def say_recorded(session: Session, entry: TillEntry) -> None:
    """Tell that a sale, void or return took place, unless it never counted."""
    if entry.voided:
        return
    record(
        session,
        StationSaleRecorded,
        entry,
        sale_id=entry.id,
        kind=entry.kind,
        device_id=entry.device_id,
        epoch=entry.epoch,
        number=entry.number,
        site_id=entry.site_id,
        of_sale_id=entry.of_entry_id,
        lines=lines_of(entry),
        total_fen=entry.total_fen,
        payment=entry.payment,
        device_time=entry.device_time,
    )


def dispute(session: Session, entry: TillEntry, reason: str, detail: str | None) -> None:
    """Mark a new or locked entry as one that cannot be right; of goods, that is told."""
    entry.status, entry.reason, entry.detail = EntryStatus.DISPUTED, reason, detail
    entry.changed_at = clock.now()
    if entry.kind in SELLING and not entry.voided:
        record(
            session,
            StationSaleDisputed,
            entry,
            sale_id=entry.id,
            kind=entry.kind,
            device_id=entry.device_id,
            epoch=entry.epoch,
            number=entry.number,
            site_id=entry.site_id,
            reason=reason,
            lines=lines_of(entry),
        )


def lock_entry(session: Session, entry_id: UUID) -> TillEntry:
    """Return an entry, locked until the transaction ends.

    Raises:
        EntryNotFound: there is none.
    """
    entry: TillEntry | None = locked(session, TillEntry.id, entry_id)
    if entry is None:
        raise EntryNotFound(f"No till has told of {entry_id}.")
    return entry


def note_overdrawn(session: Session, sale_id: UUID, reason: str) -> None:
    """Dispute a sale that took more than its device had been granted.

    Raises:
        EntryNotFound: there is no such sale.
    """
    entry = lock_entry(session, sale_id)
    if entry.status == EntryStatus.ACCEPTED:
        detail = "The device had not been granted what it sold; an operator decides what covers it."
        dispute(session, entry, reason, detail)


def note_settled(session: Session, sale_id: UUID, resolution: str) -> None:
    """Note what covers a disputed sale, or that it was undone at the counter.

    Raises:
        EntryNotFound: there is no such sale.
    """
    entry = lock_entry(session, sale_id)
    if entry.status == EntryStatus.DISPUTED:
        entry.status, entry.resolution = EntryStatus.SETTLED, resolution
        entry.changed_at = clock.now()


def note_refused_hand_over(session: Session, entry_id: UUID, reason: str) -> None:
    """Dispute a till's word that it gave a parcel away.

    Raises:
        EntryNotFound: there is no such entry.
    """
    entry = lock_entry(session, entry_id)
    if entry.status == EntryStatus.ACCEPTED:
        detail = "Logistics did not take it: see what became of the parcel, and of its money."
        dispute(session, entry, reason, detail)
