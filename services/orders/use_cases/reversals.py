"""Apply reversals (voids and returns of sales) once all entries before them have arrived."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.orders.batch import OrdersBatch
from services.orders.models import Journal, TakenBack, TillEntry
from services.orders.rules import journal as runs
from services.orders.rules import reversals
from services.orders.rules.reversals import Taken
from services.orders.rules.till import (
    BEYOND_SALE,
    CLOCK_OFF,
    PAYMENT_DIFFERS,
    UNREADABLE,
    EntryKind,
    EntryStatus,
    went_backwards,
)
from services.orders.use_cases.entries import dispute, record_station_sale
from shared.runtime import clock


def apply_reversals(
    batch: OrdersBatch, journal: Journal, fresh: Sequence[TillEntry]
) -> list[TillEntry]:
    """Apply or dispute the reversals of a locked journal that are ready, and return them.

    `fresh`: new entries that are not in the database yet. A reversal is ready when all entries
    between its sale and it have arrived, so the result does not depend on the order of uploads.
    """
    session = batch.session
    earlier = session.scalars(
        select(TillEntry).where(
            TillEntry.device_id == journal.device_id,
            TillEntry.epoch == journal.epoch,
            TillEntry.status == EntryStatus.WAITING,
        )
    ).all()
    waiting = [*earlier, *(entry for entry in fresh if entry.status == EntryStatus.WAITING)]
    ready = [
        entry
        for entry in waiting
        if not runs.missing_between(journal.holes, entry.body["of"], entry.number)
    ]
    if ready:
        ready.sort(key=lambda entry: entry.number)
        known = {entry.id: entry for entry in fresh}
        sales = _sales(session, known, {e.of_entry_id for e in ready if e.of_entry_id})
        taken = _taken(session, sales)
        for entry in ready:
            sale = sales.get(entry.of_entry_id or entry.id)
            # None: rows were lost, which verify reports. The upload goes on; this entry waits.
            if sale is not None:
                _apply_reversal(batch, entry, sale, taken)
    return ready


def _sales(
    session: Session, known: dict[UUID, TillEntry], sale_ids: set[UUID]
) -> dict[UUID, TillEntry]:
    stored = sale_ids - known.keys()
    sales = {sale_id: known[sale_id] for sale_id in sale_ids & known.keys()}
    if stored:
        rows = session.scalars(select(TillEntry).where(TillEntry.id.in_(stored)))
        sales |= {row.id: row for row in rows}
    return sales


def _taken(session: Session, sale_ids: Iterable[UUID]) -> dict[UUID, dict[int, TakenBack]]:
    taken: dict[UUID, dict[int, TakenBack]] = {sale_id: {} for sale_id in sale_ids}
    for row in session.scalars(select(TakenBack).where(TakenBack.sale_id.in_(taken))):
        taken[row.sale_id][row.line_no] = row
    return taken


def _apply_reversal(
    batch: OrdersBatch,
    entry: TillEntry,
    sale: TillEntry,
    taken: dict[UUID, dict[int, TakenBack]],
) -> None:
    entry.changed_at = clock.now()
    _flag(entry, sale)
    if sale.kind != EntryKind.SALE or sale.reason == UNREADABLE:
        dispute(batch, entry, BEYOND_SALE, f"Entry {sale.number} is no sale that can be read.")
        return
    rows = taken[sale.id]
    lines, total_fen = sale.body["lines"], sale.total_fen or 0
    before = {line_no: Taken(row.taken, row.taken_fen) for line_no, row in rows.items()}
    refund_fen = entry.total_fen or 0
    try:
        if entry.kind == EntryKind.VOID:
            if sale.voided and not refund_fen:
                refund_fen = total_fen  # nothing was taken, so nothing need be given back
            back = reversals.void(lines, total_fen, before, refund_fen)
        elif sale.voided:
            raise reversals.BeyondSale("The sale was voided before it was sent.")
        else:
            back = reversals.take_back(lines, total_fen, before, entry.body["lines"])
    except reversals.BeyondSale as error:
        dispute(batch, entry, BEYOND_SALE, str(error))
        return
    for line in back:
        _take_back(batch.session, sale, rows, line)
    entry.status = EntryStatus.ACCEPTED
    # The sale was voided before its upload and never counted, so its void does not count either.
    entry.voided, entry.taken = sale.voided, back
    record_station_sale(batch, entry)


def _flag(entry: TillEntry, sale: TillEntry) -> None:
    """Flag differences from the sale that do not justify a dispute."""
    found = []
    if sale.payment is not None and entry.payment != sale.payment and entry.total_fen:
        found.append(PAYMENT_DIFFERS)
    if went_backwards(sale.device_time, entry.device_time):
        found.append(CLOCK_OFF)
    entry.flags = list(dict.fromkeys([*entry.flags, *found]))


def _take_back(
    session: Session, sale: TillEntry, rows: dict[int, TakenBack], line: dict[str, Any]
) -> None:
    line_no = line["line_no"]
    row = rows.get(line_no)
    if row is None:
        sold = next(sold for sold in sale.body["lines"] if sold["line_no"] == line_no)
        row = TakenBack(
            sale_id=sale.id,
            line_no=line_no,
            sold=sold["quantity"],
            sold_fen=sold["line_total_fen"],
            taken=0,
            taken_fen=0,
        )
        rows[line_no] = row
        session.add(row)
    row.taken += line["quantity"]
    row.taken_fen += line["line_total_fen"]
