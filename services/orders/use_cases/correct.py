"""Correct an entry that is unreadable or has a flagged label, and let it count."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from services.orders.batch import OrdersBatch
from services.orders.models import Order, Shift, TillEntry
from services.orders.rules.entries import MOST_CLERK
from services.orders.rules.limits import Limits
from services.orders.rules.till import (
    BEYOND_SALE,
    CLERK_UNCLEAR,
    CONTACT_UNCLEAR,
    PHONE_UNCLEAR,
    UNREADABLE,
    EntryStatus,
    ParsedEntry,
    merged,
    parse_entry,
    words,
)
from services.orders.use_cases import cash, place
from services.orders.use_cases.entries import CORRECTED, lock_entry_and_journal
from services.orders.use_cases.upload import Intake
from shared.runtime import clock
from shared.runtime.devices import Device, entry_id
from shared.runtime.errors import Conflict, Unprocessable

#: Why the buyer of an order may not be reached.
_UNREACHED = {PHONE_UNCLEAR, CONTACT_UNCLEAR}


class NothingToCorrect(Conflict):
    """Raised when an entry is readable, and the labels to change are not flagged."""


class StillUnreadable(Unprocessable):
    """Raised when a corrected entry is still unreadable; the detail says why."""


def correct(
    batch: OrdersBatch,
    sale_id: UUID,
    *,
    changes: Mapping[str, Any],
    note: str,
    by: str,
    limits: Limits,
) -> TillEntry:
    """Change fields of an entry by a JSON merge patch (RFC 7396), and let it count once.

    An unreadable entry takes the effect that it would have had at its upload, and so do the voids
    and returns that were disputed because of it. Of a readable entry, only a flagged label
    changes: the clerk, in all entries of the shift under that name, with their cash; or the
    contact of an order, which is published again. The till's own content is kept in `sent`.

    Raises:
        EntryNotFound: there is none.
        NothingToCorrect: it is readable, and what shall change is not flagged.
        StillUnreadable: it is unreadable with the changes, too.
    """
    entry = lock_entry_and_journal(batch, sale_id)
    if entry.reason == UNREADABLE:
        _apply_correction(batch, entry, _parse(entry, changes), limits)
    elif changes.keys() == {"clerk"} and CLERK_UNCLEAR in entry.flags:
        _rename(batch.session, entry, changes["clerk"])
    elif changes.keys() == {"order"} and _UNREACHED & {*entry.flags}:
        _replace_contact(batch, entry, _parse(entry, changes))
    else:
        raise _nothing(entry)
    entry.resolution, entry.resolved_by, entry.note = CORRECTED, by, note
    entry.changed_at = clock.now()
    return entry


def _parse(entry: TillEntry, changes: Mapping[str, Any]) -> ParsedEntry:
    parsed = parse_entry(merged(entry.body, changes))
    if parsed.problem is not None or parsed.number != entry.number:
        why = parsed.problem or "number is its name, and cannot change."
        raise StillUnreadable(f"With these changes entry {entry.id} cannot be read: {why}")
    return parsed


def _nothing(entry: TillEntry) -> NothingToCorrect:
    flags = ", ".join(entry.flags) or "no flag"
    return NothingToCorrect(
        f"Entry {entry.id} was read and has {flags}; only what is unreadable can be changed, or "
        "the clerk (clerk_unclear) or contact (phone_unclear, contact_unclear) that is flagged."
    )


def _apply_correction(
    batch: OrdersBatch, entry: TillEntry, parsed: ParsedEntry, limits: Limits
) -> None:
    entry.sent, entry.body = entry.body, parsed.body
    entry.kind, entry.flags = parsed.kind, parsed.flags
    entry.clerk, entry.shift, entry.device_time = parsed.clerk, parsed.shift, parsed.device_time
    if parsed.of is not None:
        entry.of_entry_id = entry_id(entry.device_id, entry.epoch, parsed.of)
    entry.voided, entry.total_fen, entry.payment = parsed.voided, parsed.total_fen, parsed.payment
    entry.status, entry.reason, entry.detail = EntryStatus.ACCEPTED, None, None
    for reversal in batch.session.scalars(
        select(TillEntry).where(
            TillEntry.of_entry_id == entry.id,
            TillEntry.status == EntryStatus.DISPUTED,
            TillEntry.reason == BEYOND_SALE,
        )
    ):
        reversal.status, reversal.reason, reversal.detail = EntryStatus.WAITING, None, None
    device = Device(entry.device_id, entry.epoch, entry.site_id, entry.device_code)
    Intake(batch, device, limits).apply([(entry, parsed)])


def _rename(session: Session, entry: TillEntry, typed: Any) -> None:
    clerk = words(typed, MOST_CLERK + 1)
    if clerk is None or len(clerk) > MOST_CLERK:
        raise StillUnreadable(f"clerk must be text of 1 to {MOST_CLERK} characters.")
    of_clerk = session.scalars(
        select(TillEntry).where(
            TillEntry.device_id == entry.device_id,
            TillEntry.epoch == entry.epoch,
            TillEntry.shift == entry.shift,
            TillEntry.clerk == entry.clerk,
        )
    ).all()
    renamed = [each for each in of_clerk if CLERK_UNCLEAR in each.flags]
    cash.hand_to(session, renamed, clerk)
    session.execute(
        update(Shift)
        .where(
            Shift.device_id == entry.device_id,
            Shift.epoch == entry.epoch,
            Shift.number == entry.shift,
            Shift.clerk == entry.clerk,
        )
        .values(clerk=clerk)
    )
    for each in renamed:
        each.sent = each.sent or each.body
        each.body = each.body | {"clerk": clerk}
        each.clerk = clerk
        each.flags = [flag for flag in each.flags if flag != CLERK_UNCLEAR]


def _replace_contact(batch: OrdersBatch, entry: TillEntry, parsed: ParsedEntry) -> None:
    order: Order | None = batch.get_for_update(Order.id, entry.id)
    if order is None or entry.body["order"] != parsed.body["order"]:
        raise _nothing(entry)
    if _UNREACHED & {*parsed.flags}:
        raise StillUnreadable("Nobody is reached by this contact either: give it whole and right.")
    place.replace_contact(batch, order, parsed.personal_data)
    entry.flags = [flag for flag in entry.flags if flag not in _UNREACHED]
