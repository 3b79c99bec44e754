"""Follow clerks' shifts, from the float put in to the count at the end."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Select, func, select, tuple_
from sqlalchemy.orm import Session

from services.orders.models import CashEntry, Journal, Shift, TillEntry
from services.orders.rules import journal as runs
from services.orders.rules.entries import MOST_NOTE
from services.orders.rules.till import (
    CLOCK_OFF,
    EntryKind,
    EntryStatus,
    went_backwards,
    words,
)
from shared.runtime.ids import new_id
from shared.runtime.paging import filtered

_KINDS = (EntryKind.SHIFT_OPEN, EntryKind.SHIFT_CLOSE)


@dataclass(frozen=True)
class Balance:
    """A shift, and the cash that its drawer should hold by the uploaded entries."""

    shift: Shift
    #: Cash taken minus cash given back.
    moved_fen: int
    #: Missing entries of the shift; of an open shift, those below the highest uploaded number.
    missing: int

    @property
    def expected_fen(self) -> int | None:
        """The cash that the drawer should hold; None until the opening is uploaded."""
        return None if self.shift.float_fen is None else self.shift.float_fen + self.moved_fen

    @property
    def difference_fen(self) -> int | None:
        """Counted minus expected cash; None before both are known."""
        if self.expected_fen is None or self.shift.counted_fen is None:
            return None
        return self.shift.counted_fen - self.expected_fen


def apply_shift_entries(session: Session, entries: Sequence[TillEntry]) -> None:
    """Apply the openings and closings among new entries of one locked journal.

    They come in any order. Of two closings the one with the lower number counts.
    """
    changing = [e for e in entries if e.kind in _KINDS and e.status == EntryStatus.ACCEPTED]
    if not changing:
        return
    first = changing[0]
    statement = select(Shift).where(
        Shift.device_id == first.device_id,
        Shift.epoch == first.epoch,
        Shift.number.in_({entry.shift for entry in changing}),
    )
    shifts = {shift.number: shift for shift in session.scalars(statement)}
    for entry in changing:
        assert entry.shift is not None and entry.clerk is not None
        shift = shifts.get(entry.shift)
        if shift is None:
            shift = Shift(
                id=new_id(),
                device_id=entry.device_id,
                epoch=entry.epoch,
                number=entry.shift,
                site_id=entry.site_id,
                device_code=entry.device_code,
                clerk=entry.clerk,
            )
            session.add(shift)
            shifts[shift.number] = shift
        if entry.kind == EntryKind.SHIFT_OPEN:
            shift.clerk = entry.clerk
            shift.opened_at, shift.float_fen = entry.device_time, entry.body["float_fen"]
        elif shift.closed_number is None or entry.number < shift.closed_number:
            shift.closed_number, shift.closed_at = entry.number, entry.device_time
            shift.counted_fen = entry.body["counted_fen"]
            shift.note = words(entry.body.get("note"), MOST_NOTE)
        if went_backwards(shift.opened_at, shift.closed_at) and CLOCK_OFF not in entry.flags:
            entry.flags = [*entry.flags, CLOCK_OFF]


def select_shifts(
    *,
    site_id: UUID | None = None,
    device_id: UUID | None = None,
    clerk: str | None = None,
    closed: bool | None = None,
) -> Select[Shift]:
    """Return the statement that selects shifts."""
    chosen = filtered(
        select(Shift), {Shift.site_id: site_id, Shift.device_id: device_id, Shift.clerk: clerk}
    )
    if closed is not None:
        chosen = chosen.where(Shift.closed_number.is_not(None) == closed)
    return chosen


def balances(session: Session, shifts: Sequence[Shift]) -> list[Balance]:
    """Return the balance of each shift, in two statements for all of them."""
    if not shifts:
        return []
    name = (CashEntry.device_id, CashEntry.epoch, CashEntry.shift)
    moved = session.execute(
        select(*name, func.sum(CashEntry.amount_fen).label("fen"))
        .where(tuple_(*name).in_([(s.device_id, s.epoch, s.number) for s in shifts]))
        .group_by(*name)
    )
    fen = {(row.device_id, row.epoch, row.shift): int(row.fen) for row in moved}
    found = select(Journal).where(
        tuple_(Journal.device_id, Journal.epoch).in_({(s.device_id, s.epoch) for s in shifts})
    )
    journals = {(row.device_id, row.epoch): row for row in session.scalars(found)}
    return [
        Balance(
            shift,
            fen.get((shift.device_id, shift.epoch, shift.number), 0),
            _missing(shift, journals[shift.device_id, shift.epoch]),
        )
        for shift in shifts
    ]


def _missing(shift: Shift, journal: Journal) -> int:
    last = journal.highest if shift.closed_number is None else shift.closed_number
    return runs.missing_between(journal.holes, shift.number, last)
