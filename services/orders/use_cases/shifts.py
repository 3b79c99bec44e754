"""Follow clerks' shifts, from the float put in to the count at the end."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.orders.models import Shift, TillEntry
from services.orders.rules.till import EntryKind, EntryStatus
from shared.ids import new_id

_KINDS = (EntryKind.SHIFT_OPEN, EntryKind.SHIFT_CLOSE)


def note_shifts(session: Session, entries: Sequence[TillEntry]) -> None:
    """Note the openings and closings among new entries of one journal, whose turn is held.

    They come in any order. Of two closings the one with the lower number counts.
    """
    told = [e for e in entries if e.kind in _KINDS and e.status == EntryStatus.ACCEPTED]
    if not told:
        return
    first = told[0]
    statement = select(Shift).where(
        Shift.device_id == first.device_id,
        Shift.epoch == first.epoch,
        Shift.number.in_({entry.shift for entry in told}),
    )
    shifts = {shift.number: shift for shift in session.scalars(statement)}
    for entry in sorted(told, key=lambda entry: entry.number):
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
            shift.counted_fen, shift.note = entry.body["counted_fen"], entry.body.get("note")
