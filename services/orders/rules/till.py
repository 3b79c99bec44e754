"""Parse the entries of a till's journal, and choose the parts to store.

An entry that fits no kind is not refused: it happened at a counter, so orders stores it as
unreadable. A flaw in a label (a name, a note, a telephone number, a clock) does not make an entry
unreadable: its goods and money are valid, so the entry counts, and a flag shows the flaw to an
operator.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec

from services.orders.rules import people
from services.orders.rules.entries import (
    BY_KIND,
    MOST_CLERK,
    MOST_NOTE,
    MOST_NUMBER,
    MOST_WORDS,
    Contact,
    Entry,
    HandOverEntry,
    OrderEntry,
    ReturnEntry,
    SaleEntry,
    ShiftCloseEntry,
    ShiftOpenEntry,
    VoidEntry,
)
from shared.events import CounterPayment
from shared.runtime import phones
from shared.runtime.clock import in_calendar
from shared.runtime.strict_json import AGAIN
from shared.runtime.text import normalised

#: Entries of one upload.
MOST_ENTRIES = 500
#: Characters of an unreadable entry that are kept.
MOST_RAW = 20_000
#: Characters of the reason why an entry is unreadable.
MOST_PROBLEM = 300
#: Fields with a buyer's personal data: not stored, and not part of an entry's digest.
PERSONAL = frozenset(("contact", "name", "phone", "address", "received_by", "code"))
#: The clerk of an entry whose own clerk's name cannot be read.
NO_NAME = "无名 (no name)"
_LABELS = frozenset(("clerk", "device_time", "reason", "note", "difference_reason"))
_CODE = re.compile("[0-9]{6}")
_DEEPEST = 12


class EntryKind(StrEnum):
    """What a till did. UNKNOWN: an unreadable entry that names no existing kind."""

    SALE = "sale"
    VOID = "void"
    RETURN = "return"
    HAND_OVER = "hand_over"
    ORDER = "order"
    SHIFT_OPEN = "shift_open"
    SHIFT_CLOSE = "shift_close"
    UNKNOWN = "unknown"


class EntryStatus(StrEnum):
    """The status of an entry. WAITING: earlier entries of its journal are not uploaded yet."""

    ACCEPTED = "accepted"
    WAITING = "waiting"
    DISPUTED = "disputed"
    SETTLED = "settled"
    ACKNOWLEDGED = "acknowledged"


#: Flags: oddities that are no reason to dispute an entry. An operator looks at them.
CLERK_UNCLEAR, WORDS_UNCLEAR, CONTACT_UNCLEAR = "clerk_unclear", "words_unclear", "contact_unclear"
PHONE_UNCLEAR, CODE_UNCLEAR, CLOCK_OFF = "phone_unclear", "code_unclear", "clock_off"
PAYMENT_DIFFERS = "payment_differs"
#: How far a device's clock may be off before its entries are flagged.
CLOCK_TOLERANCE = timedelta(hours=1)
#: Why orders itself disputes an entry; catalog and logistics publish other reasons.
UNREADABLE, OTHER_CONTENT, BEYOND_SALE = "unreadable", "other_content", "beyond_sale"
#: Kinds that reverse a sale, and all kinds that move goods over the counter.
REVERSALS = (EntryKind.VOID, EntryKind.RETURN)
SELLING = (EntryKind.SALE, *REVERSALS)


class InvalidEntry(ValueError):
    """Raised when an entry is not as its kind must be; the message says why."""


@dataclass(slots=True)
class ParsedEntry:
    """A parsed entry of an upload: its content, the parts to store, and its oddities."""

    #: None: the entry has no usable number, so it cannot be stored.
    number: int | None
    kind: EntryKind = EntryKind.UNKNOWN
    #: Why it is unreadable; then `content` and the fields that come from it are None.
    problem: str | None = None
    content: Entry | None = None
    digest: str = ""
    #: Oddities of its labels.
    flags: list[str] = field(default_factory=list)
    #: False: a label differs from its normalised form, in which it is stored.
    plain: bool = True
    #: The content to store, without the buyer's personal data.
    body: dict[str, Any] = field(default_factory=dict)
    #: Used and not stored with the entry: an order's contact, a parcel's recipient and code.
    personal_data: dict[str, Any] = field(default_factory=dict)
    #: None: the entry names no valid moment.
    device_time: datetime | None = None
    clerk: str | None = None
    shift: int | None = None
    of: int | None = None
    voided: bool = False
    total_fen: int | None = None
    payment: CounterPayment | None = None

    def flag(self, flag: str) -> None:
        """Add a flag, once."""
        if flag not in self.flags:
            self.flags.append(flag)


def parse_entry(raw: Any) -> ParsedEntry:
    """Parse one entry of a journal from its JSON value."""
    if not isinstance(raw, dict):
        return ParsedEntry(None, problem="An entry is an object.")
    number = raw.get("number")
    if type(number) is not int or not 1 <= number <= MOST_NUMBER:
        return ParsedEntry(None, problem=f"number must be a whole number from 1 to {MOST_NUMBER}.")
    try:
        entry = _parse(number, raw)
    except InvalidEntry as invalid:
        kept = _without_person(raw)
        canonical = _canonical(kept)
        problem = _storable(str(invalid))[:MOST_PROBLEM]
        entry = ParsedEntry(number, _claimed_kind(raw), problem, body=kept)
        if len(canonical) > MOST_RAW:
            entry.body = {"dropped": f"{len(canonical)} characters"}
    else:
        canonical = _canonical(entry.body)
    entry.digest = hashlib.sha256(canonical.encode()).hexdigest()
    return entry


def merged(body: Any, changes: Any, depth: int = 0) -> Any:
    """Apply a JSON merge patch (RFC 7396) to a body and return the result: null removes a field."""
    if not isinstance(changes, Mapping) or depth > _DEEPEST:
        return changes
    kept = dict(body) if isinstance(body, Mapping) else {}
    for name, value in changes.items():
        kept[name] = merged(kept.get(name), value, depth + 1)
        if value is None:
            del kept[name]
    return kept


def _parse(number: int, raw: dict[str, Any]) -> ParsedEntry:
    content = _content_of(raw)
    if content.shift > number:
        raise InvalidEntry("shift must be the number of an earlier entry, or of an opening itself.")
    entry = ParsedEntry(number, _claimed_kind(raw), content=content, body=raw)
    entry.device_time = _moment(_plain(entry, content.device_time, 40))
    if entry.device_time is None:
        entry.flag(CLOCK_OFF)
    entry.clerk = _label(entry, content.clerk, MOST_CLERK, CLERK_UNCLEAR)
    if entry.clerk is None:
        entry.clerk = NO_NAME
        entry.flag(CLERK_UNCLEAR)
    entry.shift = content.shift
    match content:
        case SaleEntry():
            _parse_sale(content, entry)
        case VoidEntry() | ReturnEntry():
            _parse_reversal(content, entry)
        case HandOverEntry():
            _parse_hand_over(content, entry)
        case OrderEntry():
            _parse_order(content, entry)
        case ShiftOpenEntry():
            if content.shift != number:
                raise InvalidEntry("An opening's shift is its own number.")
        case ShiftCloseEntry():
            if content.shift == number:
                raise InvalidEntry("A closing's shift is the number of the opening.")
            _label(entry, content.note, MOST_NOTE, WORDS_UNCLEAR)
    if not entry.plain or entry.personal_data:
        entry.body = _without_person(raw)
    if not entry.plain and len(_canonical(entry.body)) > MOST_RAW:
        entry.body |= {name: words(raw[name], MOST_NOTE) for name in raw.keys() & _LABELS}
    return entry


def _content_of(raw: dict[str, Any]) -> Entry:
    kind = _claimed_kind(raw)
    if kind == EntryKind.UNKNOWN:
        raise InvalidEntry(f"kind must be one of {', '.join(BY_KIND)}.")
    try:
        content = msgspec.convert(raw, BY_KIND[kind])
    except UnicodeEncodeError as error:
        raise InvalidEntry("It has half a character where a word must be.") from error
    except msgspec.ValidationError as error:
        why, _, path = str(error).partition(" - at `$.")
        raise InvalidEntry(f"{path.rstrip('`')}: {why}." if path else f"{why}.") from error
    return content


def _parse_sale(sale: SaleEntry, entry: ParsedEntry) -> None:
    if len({line.line_no for line in sale.lines}) != len(sale.lines):
        raise InvalidEntry("Two lines have the same line_no.")
    entry.total_fen, entry.payment, entry.voided = sale.total_fen, sale.payment, sale.voided


def _parse_reversal(reversal: VoidEntry | ReturnEntry, entry: ParsedEntry) -> None:
    if reversal.of >= reversal.number:
        raise InvalidEntry("of must be the number of an earlier entry.")
    if isinstance(reversal, ReturnEntry) and reversal.refund_fen != sum(
        line.refund_fen for line in reversal.lines
    ):
        raise InvalidEntry("refund_fen is not the sum of the lines' refund_fen.")
    entry.of, entry.total_fen, entry.payment = reversal.of, reversal.refund_fen, reversal.payment
    _label(entry, reversal.reason, MOST_WORDS, WORDS_UNCLEAR)


def _parse_hand_over(parcel: HandOverEntry, entry: ParsedEntry) -> None:
    entry.total_fen, entry.payment = parcel.collected_fen, parcel.payment
    entry.personal_data = {
        "code": _code(entry, parcel.code),
        "received_by": _label(entry, parcel.received_by, 100, WORDS_UNCLEAR),
        "difference_reason": _label(entry, parcel.difference_reason, MOST_WORDS, WORDS_UNCLEAR),
    }


def _parse_order(taken: OrderEntry, entry: ParsedEntry) -> None:
    entry.personal_data = _contact(entry, taken.order.contact)
    if not taken.order.collect and entry.personal_data["address"] is None:
        entry.flag(CONTACT_UNCLEAR)


def _contact(entry: ParsedEntry, contact: Contact) -> dict[str, Any]:
    """Return the buyer's contact. The buyer has left, so an invalid phone stays as typed."""
    name = _label(entry, contact.name, 100, CONTACT_UNCLEAR)
    address = _label(entry, contact.address, 300, CONTACT_UNCLEAR)
    phone, language = words(contact.phone, 40), contact.language
    try:
        phone = phones.e164(phone or "")
    except phones.NotAPhone:
        entry.flag(PHONE_UNCLEAR)
    if name is None or language not in people.LANGUAGES:
        entry.flag(CONTACT_UNCLEAR)
    return {
        "name": name or NO_NAME,
        "phone": phone or "?",
        "address": address,
        "language": language if language in people.LANGUAGES else people.LANGUAGES[0],
    }


# --- Labels --------------------------------------------------------------------------------------


def went_backwards(before: datetime | None, after: datetime | None) -> bool:
    """Tell whether a clock shows an earlier time for a later entry of its journal."""
    return before is not None and after is not None and after < before - CLOCK_TOLERANCE


def words(value: Any, longest: int) -> str | None:
    """Return typed text, normalised and cut to `longest` characters; None if nothing is left."""
    text = normalised(value) if isinstance(value, str) else ""
    # Normalised once more: the cut may leave a space or a joiner at the end.
    return (text if len(text) <= longest else normalised(text[:longest])) or None


def _label(entry: ParsedEntry, value: Any, longest: int, flag: str) -> str | None:
    text = _plain(entry, value, longest)
    if not isinstance(value, str | None) or text != words(value, MOST_RAW):
        entry.flag(flag)
    return text


def _plain(entry: ParsedEntry, value: Any, longest: int) -> str | None:
    text = words(value, longest)
    entry.plain &= text == value
    return text


def _code(entry: ParsedEntry, value: Any) -> str | None:
    """Return the six digits of a collection code; None if it is not one."""
    figures = re.sub("[ -]", "", unicodedata.normalize("NFKC", words(value, 40) or ""))
    if _CODE.fullmatch(figures):
        return figures
    if value is not None:
        entry.flag(CODE_UNCLEAR)
    return None


def _moment(value: str | None) -> datetime | None:
    try:
        return in_calendar(datetime.fromisoformat(value or ""))
    except ValueError:
        return None


# --- What is stored ------------------------------------------------------------------------------


def _claimed_kind(raw: Mapping[str, Any]) -> EntryKind:
    claimed: Any = raw.get("kind")
    known = isinstance(claimed, str) and claimed in BY_KIND
    return EntryKind(claimed) if known else EntryKind.UNKNOWN


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _storable(text: str) -> str:
    """Return the text in a form that every database accepts: no NUL, no lone surrogates."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def _without_person(value: Any, depth: int = 0) -> Any:
    """Return JSON without the buyer's personal data, in a form that every database accepts."""
    if depth > _DEEPEST:
        return None
    if isinstance(value, dict):
        named = ((_storable(name), item) for name, item in value.items())
        return {
            name: _without_person(item, depth + 1)
            for name, item in named
            if name.partition(AGAIN)[0] not in PERSONAL
        }
    if isinstance(value, list):
        return [_without_person(item, depth + 1) for item in value]
    return _storable(value) if isinstance(value, str) else value
