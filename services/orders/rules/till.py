"""The entries of a till's journal: what each kind must hold, and what is kept of it.

Read by hand and not by schemas, since a station that was away for a day brings thousands at
once. What fits nothing is not refused: it happened at a counter, so it is kept as unreadable.
A flaw in a label (a name, a note, a telephone number, a clock) is no reason for that: goods and
money are as they are, so the entry is read, and a flag tells the operator of the flaw.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar

from services.orders.rules import people, prices
from shared.events import COUNTER_PAYMENTS, CounterPayment
from shared.runtime import phones
from shared.runtime.clock import in_calendar
from shared.runtime.strict_json import AGAIN
from shared.runtime.text import normalised

#: Entries of one upload.
MOST_ENTRIES = 500
#: Of an entry's number, and of an epoch's entries: more than a till rings up in its life.
MOST_NUMBER = 1_000_000_000
#: Lines of a sale, of a return, and of an order taken at a till.
MOST_LINES = 50
#: Characters of an unreadable entry that are kept.
MOST_RAW = 20_000
#: What concerns a buyer's person: neither kept here nor part of what tells two copies apart.
PERSONAL = frozenset(("contact", "name", "phone", "address", "received_by", "code"))
#: Characters of a clerk's name, and of the words that a clerk writes.
MOST_CLERK, MOST_WORDS, MOST_NOTE = 60, 200, 500
#: Who holds the cash of entries whose clerk has no name that can be read.
NO_NAME = "无名 (no name)"
#: How a buyer who orders at a till may pay.
PAYMENT_METHODS = ("cash_on_delivery", "cash_at_station")
_UUID = re.compile("[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_CODE = re.compile("[0-9]{6}")
_DEEPEST = 12


class EntryKind(StrEnum):
    """What a till does. UNKNOWN: an unreadable entry did not even say that."""

    SALE = "sale"
    VOID = "void"
    RETURN = "return"
    HAND_OVER = "hand_over"
    ORDER = "order"
    SHIFT_OPEN = "shift_open"
    SHIFT_CLOSE = "shift_close"
    UNKNOWN = "unknown"


class EntryStatus(StrEnum):
    """What became of an entry. WAITING: for entries before it, which have not come yet."""

    ACCEPTED = "accepted"
    WAITING = "waiting"
    DISPUTED = "disputed"
    SETTLED = "settled"
    ACKNOWLEDGED = "acknowledged"


#: What is odd about an entry and no reason to dispute it; an operator looks at it.
CLERK_UNCLEAR, WORDS_UNCLEAR, CONTACT_UNCLEAR = "clerk_unclear", "words_unclear", "contact_unclear"
PHONE_UNCLEAR, CODE_UNCLEAR, CLOCK_OFF = "phone_unclear", "code_unclear", "clock_off"
PAYMENT_DIFFERS = "payment_differs"
#: How far a device's clock may be off before its entries are flagged.
CLOCK_TOLERANCE = timedelta(hours=1)
#: Why orders itself disputes an entry; other reasons are catalog's and logistics' words.
UNREADABLE, OTHER_CONTENT, BEYOND_SALE = "unreadable", "other_content", "beyond_sale"
#: Kinds that take back what a sale sold, and all that move goods over the counter.
TAKING = (EntryKind.VOID, EntryKind.RETURN)
SELLING = (EntryKind.SALE, *TAKING)


Choice = TypeVar("Choice", bound=str)


class InvalidEntry(ValueError):
    """Raised when an entry is not as its kind must be; the message says why."""


@dataclass(slots=True)
class Read:
    """An entry as it was read. `problem` says why it is unreadable; then most is missing."""

    #: None: it cannot even be named, and so not be kept.
    number: int | None
    kind: EntryKind = EntryKind.UNKNOWN
    problem: str | None = None
    digest: str = ""
    #: What is odd about its labels.
    flags: list[str] = field(default_factory=list)
    #: False: a label is not in the form in which labels are kept.
    plain: bool = True
    #: What is kept, without what concerns a buyer's person.
    body: dict[str, Any] = field(default_factory=dict)
    #: What passes through and is not kept: an order's contact, who took a parcel by which code.
    passing: dict[str, Any] = field(default_factory=dict)
    #: None: no clock shows such a moment.
    device_time: datetime | None = None
    clerk: str | None = None
    shift: int | None = None
    of: int | None = None
    voided: bool = False
    total_fen: int | None = None
    payment: CounterPayment | None = None

    def flag(self, flag: str) -> None:
        """Note that something is odd, once."""
        if flag not in self.flags:
            self.flags.append(flag)


def read_entry(raw: Any) -> Read:
    """Read one entry of a journal, as JSON has it."""
    if not isinstance(raw, dict):
        return Read(None, problem="An entry is an object.")
    number = raw.get("number")
    if type(number) is not int or not 1 <= number <= MOST_NUMBER:
        return Read(None, problem=f"number must be a whole number from 1 to {MOST_NUMBER}.")
    try:
        entry = _read(number, raw)
    except InvalidEntry as misfit:
        kept = _without_person(raw)
        canonical = _canonical(kept)
        entry = Read(number, _claimed_kind(raw), _storable(str(misfit)), body=kept)
        if len(canonical) > MOST_RAW:
            entry.body = {"dropped": f"{len(canonical)} characters"}
    else:
        canonical = _canonical(entry.body)
    entry.digest = hashlib.sha256(canonical.encode()).hexdigest()
    return entry


def merged(body: Any, changes: Any, depth: int = 0) -> Any:
    """Return a body with changes, which are a JSON merge patch: null takes a field away."""
    if not isinstance(changes, Mapping) or depth > _DEEPEST:
        return changes
    kept = dict(body) if isinstance(body, Mapping) else {}
    for name, value in changes.items():
        kept[name] = merged(kept.get(name), value, depth + 1)
        if value is None:
            del kept[name]
    return kept


def _read(number: int, raw: dict[str, Any]) -> Read:
    claimed = raw.get("kind")
    reader = _READERS.get(claimed) if isinstance(claimed, str) else None
    if reader is None:
        raise InvalidEntry(f"kind must be one of {', '.join(_READERS)}.")
    kind, keys, optional, read = reader
    if raw.keys() != keys:
        _check_keys(raw, keys, optional | _LABELS)
    entry = Read(number, kind, body=raw)
    entry.device_time = _moment(_plain(entry, raw.get("device_time"), 40))
    if entry.device_time is None:
        entry.flag(CLOCK_OFF)
    entry.clerk = _label(entry, raw.get("clerk"), MOST_CLERK, CLERK_UNCLEAR)
    if entry.clerk is None:
        entry.clerk = NO_NAME
        entry.flag(CLERK_UNCLEAR)
    entry.shift = _integer(raw, "shift", 1, number)
    read(raw, entry)
    if not entry.plain:
        entry.body = _without_person(raw)
        if len(_canonical(entry.body)) > MOST_RAW:
            entry.body |= {name: words(raw[name], MOST_NOTE) for name in raw.keys() & _LABELS}
    return entry


def _read_sale(raw: dict[str, Any], entry: Read) -> None:
    lines = _list(raw, "lines")
    numbers = set()
    for line in lines:
        if not isinstance(line, dict) or line.keys() != _SALE_LINE:
            raise InvalidEntry(f"A line of a sale has exactly {', '.join(sorted(_SALE_LINE))}.")
        numbers.add(_integer(line, "line_no", 1, 32_767))
        _uuid(line, "variant_id")
        _uuid(line, "lot_id")
        _integer(line, "quantity", 1, prices.MOST_QUANTITY)
        _integer(line, "price_fen", 0, prices.MOST_TOTAL_FEN)
        _integer(line, "price_unit", 1, prices.MOST_QUANTITY)
        _integer(line, "line_total_fen", 0, prices.MOST_TOTAL_FEN)
    if len(numbers) != len(lines):
        raise InvalidEntry("Two lines have the same line_no.")
    entry.total_fen = _integer(raw, "total_fen", 0, prices.MOST_TOTAL_FEN)
    entry.payment = _one_of(raw, "payment", COUNTER_PAYMENTS)
    voided = raw.get("voided", False)
    if type(voided) is not bool:
        raise InvalidEntry("voided must be true or false.")
    entry.voided = voided


def _read_void(raw: dict[str, Any], entry: Read) -> None:
    entry.of = _integer(raw, "of", 1, entry.number - 1 if entry.number else 0)
    entry.total_fen = _integer(raw, "refund_fen", 0, prices.MOST_TOTAL_FEN)
    entry.payment = _one_of(raw, "payment", COUNTER_PAYMENTS)
    _label(entry, raw.get("reason"), MOST_WORDS, WORDS_UNCLEAR)


def _read_return(raw: dict[str, Any], entry: Read) -> None:
    _read_void(raw, entry)
    refunded = 0
    for line in _list(raw, "lines"):
        if not isinstance(line, dict) or line.keys() != _RETURN_LINE:
            raise InvalidEntry(f"A line of a return has exactly {', '.join(sorted(_RETURN_LINE))}.")
        _integer(line, "line_no", 1, 32_767)
        _integer(line, "quantity", 1, prices.MOST_QUANTITY)
        refunded += _integer(line, "refund_fen", 0, prices.MOST_TOTAL_FEN)
        if type(line["restock"]) is not bool:
            raise InvalidEntry("restock must be true or false.")
    if refunded != entry.total_fen:
        raise InvalidEntry("refund_fen is not the sum of the lines' refund_fen.")


def _read_hand_over(raw: dict[str, Any], entry: Read) -> None:
    _uuid(raw, "shipment_id")
    entry.total_fen = _integer(raw, "collected_fen", 0, prices.MOST_TOTAL_FEN)
    entry.payment = _one_of(raw, "payment", COUNTER_PAYMENTS)
    reason = raw.get("difference_reason")
    entry.passing = {
        "code": _code(entry, raw.get("code")),
        "received_by": _label(entry, raw.get("received_by"), 100, WORDS_UNCLEAR),
        "difference_reason": _label(entry, reason, MOST_WORDS, WORDS_UNCLEAR),
    }
    entry.body = _without_person(raw)


def _read_order(raw: dict[str, Any], entry: Read) -> None:
    order = raw["order"]
    if not isinstance(order, dict) or order.keys() != _ORDER:
        raise InvalidEntry(f"An order has exactly {', '.join(sorted(_ORDER))}.")
    for line in _list(order, "lines"):
        if not isinstance(line, dict) or line.keys() != _ORDER_LINE:
            raise InvalidEntry(f"A line of an order has exactly {', '.join(sorted(_ORDER_LINE))}.")
        _uuid(line, "variant_id")
        _integer(line, "quantity", 1, prices.MOST_QUANTITY)
    if type(order["collect"]) is not bool:
        raise InvalidEntry("collect must be true or false.")
    _one_of(order, "payment_method", PAYMENT_METHODS)
    contact = order["contact"]
    if not isinstance(contact, dict):
        raise InvalidEntry("contact must be an object.")
    _check_keys(contact, _CONTACT, _CONTACT)
    entry.passing = _contact(entry, contact)
    if not order["collect"] and entry.passing["address"] is None:
        entry.flag(CONTACT_UNCLEAR)
    entry.body = _without_person(raw)


def _contact(entry: Read, contact: dict[str, Any]) -> dict[str, Any]:
    """Read how a buyer is reached, who has gone home: what is no number is passed on as it is."""
    name = _label(entry, contact.get("name"), 100, CONTACT_UNCLEAR)
    address = _label(entry, contact.get("address"), 300, CONTACT_UNCLEAR)
    phone, language = words(contact.get("phone"), 40), contact.get("language", "zh")
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


def _read_shift_open(raw: dict[str, Any], entry: Read) -> None:
    if entry.shift != entry.number:
        raise InvalidEntry("An opening's shift is its own number.")
    _integer(raw, "float_fen", 0, prices.MOST_TOTAL_FEN)


def _read_shift_close(raw: dict[str, Any], entry: Read) -> None:
    if entry.shift == entry.number:
        raise InvalidEntry("A closing's shift is the number of the opening.")
    _integer(raw, "counted_fen", 0, prices.MOST_TOTAL_FEN)
    _label(entry, raw.get("note"), MOST_NOTE, WORDS_UNCLEAR)


# --- Fields ----------------------------------------------------------------------------------


def _check_keys(raw: Mapping[str, Any], keys: frozenset[str], optional: frozenset[str]) -> None:
    unknown = raw.keys() - keys
    if unknown:
        raise InvalidEntry(f"Unknown: {', '.join(sorted(unknown))[:200]}.")
    missing = keys - optional - raw.keys()
    if missing:
        raise InvalidEntry(f"Missing: {', '.join(sorted(missing))}.")


def _integer(raw: Mapping[str, Any], name: str, least: int, most: int) -> int:
    value = raw[name]
    # bool is an int to Python, not to JSON.
    if type(value) is not int or not least <= value <= most:
        raise InvalidEntry(f"{name} must be a whole number from {least} to {most}.")
    return value


def _uuid(raw: Mapping[str, Any], name: str) -> None:
    value = raw[name]
    if not isinstance(value, str) or _UUID.fullmatch(value) is None:
        raise InvalidEntry(f"{name} must be a UUID in small letters.")


def _one_of(raw: Mapping[str, Any], name: str, choices: tuple[Choice, ...]) -> Choice:
    for choice in choices:
        if raw[name] == choice:
            return choice
    raise InvalidEntry(f"{name} must be one of {', '.join(choices)}.")


def went_backwards(before: datetime | None, after: datetime | None) -> bool:
    """Tell whether a clock shows an earlier time for what came later in its journal."""
    return before is not None and after is not None and after < before - CLOCK_TOLERANCE


def words(value: Any, longest: int) -> str | None:
    """Return what somebody typed as it is kept: normalised, cut to `longest`; None: nothing."""
    text = normalised(value) if isinstance(value, str) else ""
    # Once more: what is cut off may leave a space or a joiner at the end.
    return (text if len(text) <= longest else normalised(text[:longest])) or None


def _label(entry: Read, value: Any, longest: int, flag: str) -> str | None:
    text = _plain(entry, value, longest)
    if not isinstance(value, str | None) or text != words(value, MOST_RAW):
        entry.flag(flag)
    return text


def _plain(entry: Read, value: Any, longest: int) -> str | None:
    text = words(value, longest)
    entry.plain &= text == value
    return text


def _code(entry: Read, value: Any) -> str | None:
    """Return a collection code as its six figures; what is none proves nothing."""
    figures = re.sub("[ -]", "", unicodedata.normalize("NFKC", words(value, 40) or ""))
    if _CODE.fullmatch(figures):
        return figures
    if value is not None:
        entry.flag(CODE_UNCLEAR)
    return None


def _list(raw: Mapping[str, Any], name: str) -> list[Any]:
    value = raw[name]
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_LINES:
        raise InvalidEntry(f"{name} must be a list of 1 to {MOST_LINES}.")
    return value


def _moment(value: str | None) -> datetime | None:
    try:
        return in_calendar(datetime.fromisoformat(value or ""))
    except ValueError:
        return None


# --- What is kept ------------------------------------------------------------------------------


def _claimed_kind(raw: Mapping[str, Any]) -> EntryKind:
    claimed = raw.get("kind")
    reader = _READERS.get(claimed) if isinstance(claimed, str) else None
    return EntryKind.UNKNOWN if reader is None else reader[0]


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _storable(text: str) -> str:
    """Return the text as every database takes it: no NUL, no half characters."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def _without_person(value: Any, depth: int = 0) -> Any:
    """Return JSON without what concerns a buyer's person, and as every database takes it."""
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


_LABELS = frozenset(("clerk", "device_time", "reason", "note", "difference_reason"))
_COMMON = frozenset(("number", "kind", "device_time", "clerk", "shift"))
_SALE_LINE = frozenset(
    ("line_no", "variant_id", "lot_id", "quantity", "price_fen", "price_unit", "line_total_fen")
)
_RETURN_LINE = frozenset(("line_no", "quantity", "refund_fen", "restock"))
_ORDER = frozenset(("lines", "collect", "payment_method", "contact"))
_ORDER_LINE = frozenset(("variant_id", "quantity"))
_CONTACT = frozenset(("name", "phone", "address", "language"))
_NONE: frozenset[str] = frozenset()

_Reader = Callable[[dict[str, Any], Read], None]
#: By kind: all its fields, those that may be missing, and how the rest of it is read.
_READERS: dict[str, tuple[EntryKind, frozenset[str], frozenset[str], _Reader]] = {
    "sale": (
        EntryKind.SALE,
        _COMMON | {"lines", "total_fen", "payment", "voided"},
        frozenset(("voided",)),
        _read_sale,
    ),
    "void": (
        EntryKind.VOID,
        _COMMON | {"of", "refund_fen", "payment", "reason"},
        frozenset(("reason",)),
        _read_void,
    ),
    "return": (
        EntryKind.RETURN,
        _COMMON | {"of", "lines", "refund_fen", "payment", "reason"},
        frozenset(("reason",)),
        _read_return,
    ),
    "hand_over": (
        EntryKind.HAND_OVER,
        _COMMON
        | {"shipment_id", "code", "received_by", "collected_fen", "payment", "difference_reason"},
        frozenset(("code", "received_by", "difference_reason")),
        _read_hand_over,
    ),
    "order": (EntryKind.ORDER, _COMMON | {"order"}, _NONE, _read_order),
    "shift_open": (EntryKind.SHIFT_OPEN, _COMMON | {"float_fen"}, _NONE, _read_shift_open),
    "shift_close": (
        EntryKind.SHIFT_CLOSE,
        _COMMON | {"counted_fen", "note"},
        frozenset(("note",)),
        _read_shift_close,
    ),
}
