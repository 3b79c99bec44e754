"""The entries of a till's journal as the document shows them; `rules.till` reads them."""

from typing import Any

from services.orders.rules import people, prices
from services.orders.rules.till import (
    MOST_LINES,
    MOST_NUMBER,
    PAYMENT_METHODS,
)
from shared.events import COUNTER_PAYMENTS

Json = dict[str, Any]

#: UUIDs of entries are written as databases print them.
_UUID = {
    "type": "string",
    "format": "uuid",
    "pattern": "^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$",
}
_FEN = {"type": "integer", "minimum": 0, "maximum": prices.MOST_TOTAL_FEN}
_QUANTITY = {"type": "integer", "minimum": 1, "maximum": prices.MOST_QUANTITY}
_LINE_NO = {"type": "integer", "minimum": 1, "maximum": 32_767}
_NUMBER = {"type": "integer", "minimum": 1, "maximum": MOST_NUMBER}
_PAYMENT = {"enum": list(COUNTER_PAYMENTS)}


def _text(longest: int, least: int = 1) -> Json:
    return {"type": "string", "minLength": least, "maxLength": longest}


def _words(longest: int) -> Json:
    return {"type": ["string", "null"], "maxLength": longest}


def _object(optional: tuple[str, ...] = (), **properties: Json) -> Json:
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def _lines(line: Json) -> Json:
    return {"type": "array", "items": line, "minItems": 1, "maxItems": MOST_LINES}


def _entry(kind: str, says: str, optional: tuple[str, ...] = (), **properties: Json) -> Json:
    common: dict[str, Json] = {
        "number": _NUMBER | {"description": "Grows by 1 with each entry of the epoch."},
        "kind": {"const": kind},
        "device_time": {
            "type": "string",
            "format": "date-time",
            "description": "By the device's own clock.",
        },
        "clerk": _text(60),
        "shift": _NUMBER | {"description": "The number of the entry that opened the shift."},
    }
    return {"title": kind, "description": says} | _object(optional, **common, **properties)


_SOLD_LINE = _object(
    line_no=_LINE_NO | {"description": "Unique within the sale."},
    variant_id=_UUID,
    lot_id=_UUID,
    quantity=_QUANTITY,
    price_fen=_FEN,
    price_unit=_QUANTITY,
    line_total_fen=_FEN,
)
_RETURNED_LINE = _object(
    line_no=_LINE_NO | {"description": "The sale's."},
    quantity=_QUANTITY,
    refund_fen=_FEN,
    restock={"type": "boolean", "description": "Whether it can be sold again."},
)
_OF = _NUMBER | {"description": "The number of the sale, which is a lower one."}
_CONTACT = _object(
    ("address", "language"),
    name=_text(100),
    phone=_text(40),
    address=_words(300),
    language={"enum": list(people.LANGUAGES)},
)
_ORDER = _object(
    lines=_lines(_object(variant_id=_UUID, quantity=_QUANTITY)),
    collect={"type": "boolean"},
    payment_method={"enum": list(PAYMENT_METHODS)},
    contact=_CONTACT,
)

#: By kind.
ENTRIES: dict[str, Json] = {
    "sale": _entry(
        "sale",
        "Goods sold from the device's allotments.",
        ("voided",),
        lines=_lines(_SOLD_LINE),
        total_fen=_FEN,
        payment=_PAYMENT,
        voided={
            "type": "boolean",
            "default": False,
            "description": "True: undone before it was ever sent; it has no effect.",
        },
    ),
    "void": _entry(
        "void",
        "A sale is undone: all that is left of it. Waits until all entries since are here.",
        ("reason",),
        of=_OF,
        refund_fen=_FEN | {"description": "What is left of the sale's total."},
        payment=_PAYMENT,
        reason=_words(200),
    ),
    "return": _entry(
        "return",
        "Goods of a sale came back. Waits until all entries since the sale are here.",
        ("reason",),
        of=_OF,
        lines=_lines(_RETURNED_LINE),
        refund_fen=_FEN | {"description": "The sum of the lines'."},
        payment=_PAYMENT,
        reason=_words(200),
    ),
    "hand_over": _entry(
        "hand_over",
        "A parcel was given to its buyer. Code and name pass through and are not kept here.",
        ("code", "received_by", "difference_reason"),
        shipment_id=_UUID,
        code={"type": ["string", "null"], "pattern": "^[0-9]{6}$"},
        received_by=_words(100),
        collected_fen=_FEN,
        payment=_PAYMENT,
        difference_reason=_words(200),
    ),
    "order": _entry(
        "order",
        "An order taken at the till; its id is the entry's. The contact is not kept here.",
        order=_ORDER,
    ),
    "shift_open": _entry(
        "shift_open", "A shift begins; `shift` is its own number.", float_fen=_FEN
    ),
    "shift_close": _entry(
        "shift_close",
        "A shift ends with a count.",
        ("note",),
        counted_fen=_FEN,
        note=_words(500),
    ),
}
#: As the document says it: what fits no kind is taken, too.
ANY_ENTRY: Json = {
    "anyOf": [
        *ENTRIES.values(),
        {
            "title": "anything else",
            "description": "With a usable number it is kept as disputed, unreadable; without "
            "one it is refused. It stops none of the others. A flaw in a label (a name, a note, a "
            "telephone number, the clock) is no reason for it: the entry is flagged instead.",
        },
    ]
}
#: A sale, as the document shows it.
SALE_EXAMPLE: Json = {
    "number": 17,
    "kind": "sale",
    "device_time": "2026-11-25T08:30:00Z",
    "clerk": "卓嘎",
    "shift": 12,
    "lines": [
        {
            "line_no": 1,
            "variant_id": "0198d1f2-6a3b-7c4d-8e5f-0123456789ac",
            "lot_id": "0198d1f2-6a3b-7c4d-8e5f-0123456789ae",
            "quantity": 500,
            "price_fen": 6800,
            "price_unit": 500,
            "line_total_fen": 6800,
        }
    ],
    "total_fen": 6800,
    "payment": "cash",
    "voided": False,
}
