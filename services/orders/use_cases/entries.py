"""What becomes of an entry of a till's journal after it has come, and the facts told of it."""

from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.orders.models import TillEntry
from services.orders.rules.till import SELLING, TAKING, UNREADABLE, EntryKind, EntryStatus
from services.orders.use_cases import cash
from shared.events import StationSaleDisputed, StationSaleRecorded
from shared.messaging.outbox import record
from shared.messaging.rows import locked
from shared.runtime import clock
from shared.runtime.errors import Conflict, NotFound
from shared.runtime.locks import advisory_lock


class EntryNotFound(NotFound):
    """Raised when no till has said what is asked for."""


class NotDisputed(Conflict):
    """Raised when there is nothing to decide about an entry, or it is decided already."""


class NothingToBook(Conflict):
    """Raised when cash shall be booked of an entry that took none out of a clerk's custody."""


class GoodsToDecide(Conflict):
    """Raised when a disputed sale's goods need a decision of catalog before it is settled."""


#: How an operator's word ended a dispute.
CASH_BOOKED, NOTED, CORRECTED = "cash_booked", "noted", "corrected"
_SOLD = ("line_no", "variant_id", "lot_id", "quantity", "line_total_fen")


def _sold(entry: TillEntry) -> list[dict[str, Any]]:
    """Return an entry's goods as events tell them."""
    return [
        {name: line[name] for name in _SOLD} | {"restock": line.get("restock")}
        for line in entry.lines
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
        lines=_sold(entry),
        total_fen=entry.total_fen,
        payment=entry.payment,
        device_time=entry.device_time or entry.received_at,
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
            lines=_sold(entry),
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


def acknowledge(
    session: Session, entry_id: UUID, *, note: str, book_cash: bool, by: str
) -> TillEntry:
    """Put an operator's decision to a dispute that moves no stock, and return the entry.

    With `book_cash` what a void or return gave back leaves the clerk's custody; without it no
    goods and no money are booked. What waits for an entry that will never come may be decided in
    the same way.

    Raises:
        EntryNotFound: there is none.
        NotDisputed: there is nothing to decide.
        NothingToBook: `book_cash` would book nothing.
        GoodsToDecide: it is a sale whose goods catalog has to cover or lose.
    """
    entry = lock_in_turn(session, entry_id)
    if entry.status not in (EntryStatus.DISPUTED, EntryStatus.WAITING):
        raise NotDisputed(f"Entry {entry_id} is {entry.status}; there is nothing to decide.")
    # Of one that cannot be read or never counted, catalog knows no goods to decide about.
    if entry.kind == EntryKind.SALE and entry.lines and not entry.voided:
        raise GoodsToDecide(
            "This sale's goods need a decision: "
            f"POST /api/catalog/v1/overdrafts/{entry_id}/settle with cover or lose."
        )
    if book_cash:
        _check_books_cash(entry)
        cash.book_entries(session, [entry], booked=True)
    entry.status, entry.changed_at = EntryStatus.ACKNOWLEDGED, clock.now()
    entry.note, entry.resolved_by = note, by
    entry.resolution = CASH_BOOKED if book_cash else NOTED
    return entry


def _check_books_cash(entry: TillEntry) -> None:
    """Refuse to book the cash of an entry that gave none back, and say why.

    Raises:
        NothingToBook
    """
    if entry.reason == UNREADABLE:
        why = (
            "it cannot be read, so no amount is known. Correct it first: "
            f"POST /api/orders/v1/station-sales/{entry.id}/correct"
        )
    elif entry.kind == EntryKind.HAND_OVER:
        why = "its cash was booked to the clerk when it came, and still is"
    elif entry.kind not in TAKING or entry.voided or not entry.total_fen:
        why = "it moves no cash"
    elif entry.payment != "cash":
        why = f"the money was given back by {entry.payment}"
    else:
        return
    raise NothingToBook(
        f"No cash of entry {entry.id} can be booked: {why}. Without book_cash it is only noted.",
        kind=entry.kind,
    )


def lock_in_turn(session: Session, entry_id: UUID) -> TillEntry:
    """Return an entry locked, and with it the turn of its journal: an upload may judge it now.

    Raises:
        EntryNotFound: there is none.
    """
    named = session.execute(
        select(TillEntry.device_id, TillEntry.epoch).where(TillEntry.id == entry_id)
    ).one_or_none()
    if named is not None:
        hold_journal(session, named.device_id, named.epoch)
    return lock_entry(session, entry_id)


def hold_journal(session: Session, device_id: UUID, epoch: int) -> None:
    """Wait until nobody else takes in entries of a device's epoch, and keep others waiting."""
    advisory_lock(session, f"journal/{device_id}/{epoch}")
