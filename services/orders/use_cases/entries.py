"""What becomes of an entry of a till's journal after its upload, and the facts recorded of it."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.orders.batch import OrdersBatch
from services.orders.models import TillEntry
from services.orders.rules.till import REVERSALS, SELLING, UNREADABLE, EntryKind, EntryStatus
from services.orders.use_cases import cash
from shared.events import (
    AllotmentOverdrawn,
    HandOverRefused,
    Moment,
    OverdraftSettled,
    StationSaleDisputed,
    StationSaleKind,
    StationSaleRecorded,
)
from shared.events.stations import SoldLine
from shared.runtime import clock
from shared.runtime.errors import Conflict
from shared.runtime.locks import advisory_lock


class NotDisputed(Conflict):
    """Raised when an entry waits for no decision."""


class NothingToBook(Conflict):
    """Raised when `book_cash` is set for an entry that took no cash out of a clerk's custody."""


class GoodsToDecide(Conflict):
    """Raised when a disputed sale's goods have to be settled in catalog instead."""


#: How an operator's decision ended a dispute.
CASH_BOOKED, NOTED, CORRECTED = "cash_booked", "noted", "corrected"
_SALE_KINDS: dict[EntryKind, StationSaleKind] = {
    EntryKind.SALE: "sale",
    EntryKind.VOID: "void",
    EntryKind.RETURN: "return",
}


def _sold_lines(entry: TillEntry) -> list[SoldLine]:
    """Return an entry's goods as events have them."""
    return [
        SoldLine(
            line_no=line["line_no"],
            variant_id=UUID(line["variant_id"]),
            lot_id=UUID(line["lot_id"]),
            quantity=line["quantity"],
            line_total_fen=line["line_total_fen"],
            restock=line.get("restock"),
        )
        for line in entry.lines
    ]


def record_station_sale(batch: OrdersBatch, entry: TillEntry) -> None:
    """Record a sale, void or return, unless it is of a sale that was voided before its upload."""
    if entry.voided:
        return
    assert entry.total_fen is not None and entry.payment is not None, "readable, so both are there"
    batch.record(
        entry,
        StationSaleRecorded(
            sale_id=entry.id,
            kind=_SALE_KINDS[entry.kind],
            device_id=entry.device_id,
            epoch=entry.epoch,
            number=entry.number,
            site_id=entry.site_id,
            of_sale_id=entry.of_entry_id,
            lines=_sold_lines(entry),
            total_fen=entry.total_fen,
            payment=entry.payment,
            device_time=Moment.of(entry.device_time or entry.received_at),
        ),
    )


def dispute(batch: OrdersBatch, entry: TillEntry, reason: str, detail: str | None) -> None:
    """Dispute a new or locked entry; record that, if it moves goods."""
    entry.status, entry.reason, entry.detail = EntryStatus.DISPUTED, reason, detail
    entry.changed_at = clock.now()
    if entry.kind in SELLING and not entry.voided:
        batch.record(
            entry,
            StationSaleDisputed(
                sale_id=entry.id,
                kind=_SALE_KINDS[entry.kind],
                device_id=entry.device_id,
                epoch=entry.epoch,
                number=entry.number,
                site_id=entry.site_id,
                reason=reason,
                lines=_sold_lines(entry),
            ),
        )


def apply_allotment_overdrawn(batch: OrdersBatch, overdrawn: AllotmentOverdrawn) -> None:
    """Dispute a sale that took more than its device had been granted.

    Raises:
        EntryNotFound: there is no such sale.
    """
    entry = batch.lock_entry(overdrawn.sale_id)
    if entry.status == EntryStatus.ACCEPTED:
        detail = "The device had not been granted what it sold; an operator decides what covers it."
        dispute(batch, entry, overdrawn.reason, detail)


def apply_overdraft_settled(batch: OrdersBatch, settled: OverdraftSettled) -> None:
    """Settle a disputed sale: stock covers it, it is lost, or the counter undid it.

    Raises:
        EntryNotFound: there is no such sale.
    """
    entry = batch.lock_entry(settled.sale_id)
    if entry.status == EntryStatus.DISPUTED:
        entry.status, entry.resolution = EntryStatus.SETTLED, settled.resolution
        entry.changed_at = clock.now()


def apply_hand_over_refused(batch: OrdersBatch, refused: HandOverRefused) -> None:
    """Dispute the entry in which a till reports that it handed a parcel over.

    Raises:
        EntryNotFound: there is no such entry.
    """
    entry = batch.lock_entry(refused.entry_id)
    if entry.status == EntryStatus.ACCEPTED:
        detail = "Logistics did not take it: see what became of the parcel, and of its money."
        dispute(batch, entry, refused.reason, detail)


def acknowledge(
    batch: OrdersBatch, entry_id: UUID, *, note: str, book_cash: bool, by: str
) -> TillEntry:
    """End a dispute that moves no stock by an operator's decision, and return the entry.

    With `book_cash` the refund of a void or return leaves the clerk's custody; without it no
    goods and no money are booked. An operator may end in the same way a void or return that
    waits for entries that will never come.

    Raises:
        EntryNotFound: there is none.
        NotDisputed: there is nothing to decide.
        NothingToBook: `book_cash` would book nothing.
        GoodsToDecide: it is a sale whose goods catalog has to cover or lose.
    """
    entry = lock_entry_and_journal(batch, entry_id)
    if entry.status not in (EntryStatus.DISPUTED, EntryStatus.WAITING):
        raise NotDisputed(f"Entry {entry_id} is {entry.status}; there is nothing to decide.")
    # Catalog knows no goods of a sale that cannot be read, or that was voided before its upload.
    if entry.kind == EntryKind.SALE and entry.lines and not entry.voided:
        raise GoodsToDecide(
            "This sale's goods need a decision: "
            f"POST /api/catalog/v1/overdrafts/{entry_id}/settle with cover or lose."
        )
    if book_cash:
        _check_books_cash(entry)
        cash.book_entries(batch.session, [entry], booked=True)
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
    elif entry.kind not in REVERSALS or entry.voided or not entry.total_fen:
        why = "it moves no cash"
    elif entry.payment != "cash":
        why = f"the money was given back by {entry.payment}"
    else:
        return
    raise NothingToBook(
        f"No cash of entry {entry.id} can be booked: {why}. Without book_cash it is only noted.",
        kind=entry.kind,
    )


def lock_entry_and_journal(batch: OrdersBatch, entry_id: UUID) -> TillEntry:
    """Return an entry, locked; its journal is locked, too, since an upload may change the entry.

    Raises:
        EntryNotFound: there is none.
    """
    named = batch.session.execute(
        select(TillEntry.device_id, TillEntry.epoch).where(TillEntry.id == entry_id)
    ).one_or_none()
    if named is not None:
        lock_journal(batch.session, named.device_id, named.epoch)
    return batch.lock_entry(entry_id)


def lock_journal(session: Session, device_id: UUID, epoch: int) -> None:
    """Lock the journal of a device's epoch, so that one transaction at a time adds entries."""
    advisory_lock(session, f"journal/{device_id}/{epoch}")
