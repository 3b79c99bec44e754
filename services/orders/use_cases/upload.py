"""Store and apply the entries that a till uploads; each entry takes effect once.

A till may upload its journal repeatedly, in pieces and in any order; two of its tabs may upload at
the same time, and an answer may be lost. Device, epoch and number identify an entry. An entry with
a number is never refused, because it happened at a counter. An entry that cannot be right is
stored as disputed, for an operator to decide.

The number of statements does not grow with the number of sales in an upload.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import select

from services.orders.batch import OrdersBatch
from services.orders.models import Journal, TillEntry
from services.orders.rules import journal as runs
from services.orders.rules.entries import (
    HandOverEntry,
    OrderEntry,
    ReturnEntry,
    SaleEntry,
    TillOrder,
    VoidEntry,
)
from services.orders.rules.limits import Limits
from services.orders.rules.till import (
    CLOCK_OFF,
    CLOCK_TOLERANCE,
    OTHER_CONTENT,
    UNREADABLE,
    EntryStatus,
    ParsedEntry,
)
from services.orders.use_cases import cash, place, reversals, shifts, station_prices
from services.orders.use_cases.entries import dispute, lock_journal, record_station_sale
from shared.events import Moment, ParcelHandedOver
from shared.runtime import clock, devices
from shared.runtime.devices import Device, entry_id
from shared.runtime.errors import FarmgateError, slug_of
from shared.runtime.ids import new_id

#: Statuses in the answer to the till. A void that waits for earlier entries is `accepted`: the till
#: has nothing to do for it.
ACCEPTED, DUPLICATE, DISPUTED, REFUSED = "accepted", "duplicate", "disputed", "refused"


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one entry; `index` is its position in the upload, from 0."""

    index: int
    number: int | None
    status: str
    reason: str | None = None
    detail: str | None = None


def journal_id(device_id: UUID, epoch: int) -> UUID:
    """Return the id of the journal of one epoch of a device."""
    return uuid5(device_id, str(epoch))


def upload(
    batch: OrdersBatch, device: Device, entries: Sequence[ParsedEntry], limits: Limits
) -> list[Answer]:
    """Store and apply entries of a device's journal; return one answer for each, in their order.

    An entry with a known number and known content is a duplicate and changes nothing. Different
    content under a known number is stored as another copy, which is disputed. No entry raises.
    """
    # Uploads of one journal run one after the other: of two tabs, or of a repeated request. An
    # advisory lock, because the rows to lock may not exist yet.
    lock_journal(batch.session, device.device_id, device.epoch)
    with batch.session.no_autoflush:
        return Intake(batch, device, limits).ingest(entries)


class Intake:
    """The processing of entries of one locked journal, in one transaction."""

    def __init__(self, batch: OrdersBatch, device: Device, limits: Limits) -> None:
        self.batch = batch
        self.session = batch.session
        self.device = device
        self.limits = limits
        self.now = clock.now()
        self.journal = self._journal()
        #: Number → digest → the stored entry's columns, or this upload's new row.
        self.known: dict[int, dict[str, Any]] = {}
        self.new: list[tuple[TillEntry, ParsedEntry]] = []
        #: By the id of its entry: an order that the till took.
        self.placements: dict[UUID, place.Placement] = {}

    def ingest(self, entries: Sequence[ParsedEntry]) -> list[Answer]:
        """Store the new entries, apply them, and return the answer to each entry."""
        self._look_up({entry.number for entry in entries if entry.number is not None})
        found = [self._find_or_add(entry) for entry in entries]
        self._record_numbers(row.number for row, _ in self.new)
        self.journal.last_upload_at = self.now
        self.apply(self.new)
        return [
            _answer(index, entry, *what)
            for index, (entry, what) in enumerate(zip(entries, found, strict=True))
        ]

    def apply(self, entries: Sequence[tuple[TillEntry, ParsedEntry]]) -> None:
        """Apply new or corrected entries to goods, shifts and cash."""
        rows = [row for row, _ in entries]
        self._flag_clocks(rows)
        sales = [row for row, entry in entries if isinstance(entry.content, SaleEntry)]
        station_prices.flag(self.session, sales)
        self.placements = {
            row.id: self._placement(row, entry.content.order, entry.personal_data)
            for row, entry in entries
            if isinstance(entry.content, OrderEntry)
        }
        place.load(self.batch, self.placements.values())
        for row, entry in entries:
            self._apply(row, entry)
        fresh = [row for row in rows if row not in self.session]
        self.session.add_all(fresh)
        reversed_ = reversals.apply_reversals(self.batch, self.journal, fresh)
        self.session.flush()
        shifts.apply_shift_entries(self.session, rows)
        cash.book_entries(self.session, {row.id: row for row in [*rows, *reversed_]}.values())

    def _journal(self) -> Journal:
        device = self.device
        key = journal_id(device.device_id, device.epoch)
        journal = self.session.get(Journal, key)
        if journal is None:
            journal = Journal(
                id=key,
                device_id=device.device_id,
                epoch=device.epoch,
                site_id=device.site_id,
                device_code=device.device_code,
                highest=0,
                holes=[],
                last_upload_at=self.now,
            )
            self.session.add(journal)
        return journal

    def _look_up(self, numbers: set[int]) -> None:
        maybe_known = [number for number in numbers if number <= self.journal.highest]
        if not maybe_known:
            return
        columns = (TillEntry.number, TillEntry.digest, TillEntry.status)
        statement = select(*columns, TillEntry.reason, TillEntry.detail).where(
            TillEntry.device_id == self.device.device_id,
            TillEntry.epoch == self.device.epoch,
            TillEntry.number.in_(maybe_known),
        )
        for row in self.session.execute(statement):
            self.known.setdefault(row.number, {})[row.digest] = row

    def _find_or_add(self, entry: ParsedEntry) -> tuple[Any, bool]:
        """Return the row with the entry's number and content, and whether it was stored before."""
        if entry.number is None:
            return None, False
        copies = self.known.setdefault(entry.number, {})
        if entry.digest in copies:
            return copies[entry.digest], True
        row = self._row(entry, len(copies) + 1)
        copies[entry.digest] = row
        self.new.append((row, entry))
        return row, False

    def _row(self, entry: ParsedEntry, copy: int) -> TillEntry:
        device, number = self.device, entry.number or 0
        name = f"{device.epoch}/{number}/{entry.digest}"
        return TillEntry(
            id=(
                entry_id(device.device_id, device.epoch, number)
                if copy == 1
                else uuid5(device.device_id, name)
            ),
            arrival=new_id(),
            device_id=device.device_id,
            epoch=device.epoch,
            number=number,
            copy=copy,
            digest=entry.digest,
            kind=entry.kind,
            status=EntryStatus.ACCEPTED,
            flags=[*entry.flags],
            clerk=entry.clerk,
            shift=entry.shift,
            site_id=device.site_id,
            device_code=device.device_code,
            device_time=entry.device_time,
            received_at=self.now,
            changed_at=self.now,
            of_entry_id=entry.of and entry_id(device.device_id, device.epoch, entry.of),
            voided=entry.voided,
            total_fen=entry.total_fen,
            payment=entry.payment,
            body=entry.body,
            version=0,
        )

    def _record_numbers(self, numbers: Iterable[int]) -> None:
        journal = self.journal
        journal.highest, journal.holes, _ = runs.receive(journal.highest, journal.holes, numbers)

    def _flag_clocks(self, rows: Sequence[TillEntry]) -> None:
        """Flag entries whose time is in the future, or before the device was enrolled."""
        begins = devices.enrolled_at(self.session, self.device)
        for row in rows:
            shown = row.device_time
            ahead = shown is not None and shown > self.now + CLOCK_TOLERANCE
            behind = shown is not None and begins is not None and shown < begins - CLOCK_TOLERANCE
            if (ahead or behind) and CLOCK_OFF not in row.flags:
                row.flags = [*row.flags, CLOCK_OFF]

    def _apply(self, row: TillEntry, entry: ParsedEntry) -> None:
        """Apply one entry. A void or a return waits until all earlier entries have arrived."""
        if row.copy > 1 and entry.problem is None:
            detail = f"Number {row.number} was uploaded before with other content."
            dispute(self.batch, row, OTHER_CONTENT, detail)
            return
        match entry.content:
            case None:
                dispute(self.batch, row, UNREADABLE, entry.problem)
            case SaleEntry():
                record_station_sale(self.batch, row)
            case VoidEntry() | ReturnEntry():
                row.status = EntryStatus.WAITING
            case HandOverEntry():
                self._hand_over(row, entry.content, entry.personal_data)
            case OrderEntry():
                self._place_order(row)

    def _hand_over(
        self, row: TillEntry, content: HandOverEntry, personal_data: Mapping[str, Any]
    ) -> None:
        self.batch.record(
            row,
            ParcelHandedOver(
                entry_id=row.id,
                shipment_id=UUID(content.shipment_id),
                site_id=row.site_id,
                device_code=row.device_code,
                code=personal_data["code"],
                received_by=personal_data["received_by"],
                collected_fen=content.collected_fen,
                difference_reason=personal_data["difference_reason"],
                device_time=Moment.of(row.device_time or row.received_at),
            ),
        )

    def _placement(
        self, row: TillEntry, order: TillOrder, contact: Mapping[str, Any]
    ) -> place.Placement:
        return place.Placement(
            order_id=row.id,
            channel="station",
            payment_method=order.payment_method,
            site_id=row.site_id,
            collect=order.collect,
            lines=[
                {"variant_id": UUID(line.variant_id), "quantity": line.quantity}
                for line in order.lines
            ],
            contact=contact,
            buyer_id=None,
            placed_by=f"device/{row.device_id}",
            limits=self.limits,
            limit_caller=True,
            refuse_too_many=False,
        )

    def _place_order(self, row: TillEntry) -> None:
        try:
            place.place_order(self.batch, self.placements[row.id])
        except FarmgateError as error:
            # The buyer has left, so the answer tells the clerk. The other entries still apply.
            dispute(self.batch, row, slug_of(type(error).__name__), error.detail)


def _answer(index: int, entry: ParsedEntry, row: Any, known_before: bool) -> Answer:
    if row is None:
        return Answer(index, None, REFUSED, "no_number", entry.problem)
    if known_before:
        status = DUPLICATE
    else:
        status = DISPUTED if row.status == EntryStatus.DISPUTED else ACCEPTED
    return Answer(index, entry.number, status, row.reason, row.detail)
