"""The entries of a till's journal: one struct for each kind, told apart by `kind`.

They are the only description in Python: `rules.till` parses uploads by them, and `schemas.entries`
publishes them in the API's document. Goods and money must fit exactly. A label (a name, a note, a
telephone number, a clock) may be anything here: its flaw leaves goods and money valid, so
`rules.till` flags the entry and does not call it unreadable.
"""

from typing import Annotated, Any, Literal, get_args

from msgspec import Meta, Struct

from services.orders.rules import people, prices
from shared.events import CounterPayment

#: The highest number of an entry, and of an epoch: more than a till reaches in its life.
MOST_NUMBER = 1_000_000_000
#: Lines of a sale, of a return, and of an order taken at a till.
MOST_LINES = 50
#: Characters of a clerk's name, of the words that a clerk writes, and of the note on a shift.
MOST_CLERK, MOST_WORDS, MOST_NOTE = 60, 200, 500


def _text(longest: int) -> Meta:
    return Meta(extra_json_schema={"type": "string", "minLength": 1, "maxLength": longest})


def _words(longest: int) -> Meta:
    return Meta(extra_json_schema={"type": ["string", "null"], "maxLength": longest})


#: In lower case, as databases print it. The maximum length excludes a final newline.
EntryUuid = Annotated[
    str,
    Meta(
        pattern="^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$",
        max_length=36,
        extra_json_schema={"format": "uuid"},
    ),
]
EntryFen = Annotated[int, Meta(ge=0, le=prices.MOST_TOTAL_FEN)]
EntryQuantity = Annotated[int, Meta(ge=1, le=prices.MOST_QUANTITY)]
LineNo = Annotated[int, Meta(ge=1, le=32_767)]
Number = Annotated[int, Meta(ge=1, le=MOST_NUMBER)]
_LINES = Meta(min_length=1, max_length=MOST_LINES)


class _Strict(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class SaleLine(_Strict, frozen=True, kw_only=True):
    """One line of a sale."""

    line_no: Annotated[LineNo, Meta(description="Unique within the sale.")]
    variant_id: EntryUuid
    lot_id: EntryUuid
    quantity: EntryQuantity
    price_fen: EntryFen
    price_unit: EntryQuantity
    line_total_fen: EntryFen


class ReturnLine(_Strict, frozen=True, kw_only=True):
    """Goods of one line of the sale that came back."""

    line_no: Annotated[LineNo, Meta(description="The number of the line in the sale.")]
    quantity: EntryQuantity
    refund_fen: EntryFen
    restock: Annotated[bool, Meta(description="Whether the goods can be sold again.")]


class OrderLine(_Strict, frozen=True, kw_only=True):
    """One line of an order."""

    variant_id: EntryUuid
    quantity: EntryQuantity


class Contact(_Strict, frozen=True, kw_only=True):
    """How to reach the buyer. Orders does not store it."""

    name: Annotated[Any, _text(100)] = None
    phone: Annotated[Any, _text(40)] = None
    address: Annotated[Any, _words(300)] = None
    language: Annotated[Any, Meta(extra_json_schema={"enum": [*people.LANGUAGES]})] = "zh"


class TillOrder(_Strict, frozen=True, kw_only=True):
    """What the buyer ordered at the till."""

    lines: Annotated[list[OrderLine], _LINES]
    collect: bool
    payment_method: Literal["cash_on_delivery", "cash_at_station"]
    contact: Contact


class _Entry(_Strict, frozen=True, kw_only=True, tag_field="kind"):
    number: Annotated[Number, Meta(description="Grows by 1 with each entry of the epoch.")]
    device_time: Annotated[
        Any,
        Meta(
            description="By the device's own clock.",
            extra_json_schema={"type": "string", "format": "date-time"},
        ),
    ] = None
    clerk: Annotated[Any, _text(MOST_CLERK)] = None
    shift: Annotated[Number, Meta(description="The number of the entry that opened the shift.")]


class SaleEntry(_Entry, frozen=True, kw_only=True, tag="sale"):
    """Goods sold from the device's allotments."""

    lines: Annotated[list[SaleLine], _LINES]
    total_fen: EntryFen
    payment: CounterPayment
    voided: Annotated[
        bool, Meta(description="True: voided before its upload; it has no effect.")
    ] = False


class VoidEntry(_Entry, frozen=True, kw_only=True, tag="void"):
    """The void of all that is left of a sale. It waits for all entries since the sale."""

    of: Annotated[Number, Meta(description="The number of the sale, which is a lower one.")]
    refund_fen: Annotated[EntryFen, Meta(description="What is left of the sale's total.")]
    payment: CounterPayment
    reason: Annotated[Any, _words(MOST_WORDS)] = None


class ReturnEntry(_Entry, frozen=True, kw_only=True, tag="return"):
    """Goods of a sale that came back. The return waits for all entries since the sale."""

    of: Annotated[Number, Meta(description="The number of the sale, which is a lower one.")]
    lines: Annotated[list[ReturnLine], _LINES]
    refund_fen: Annotated[EntryFen, Meta(description="The sum of the lines' refund_fen.")]
    payment: CounterPayment
    reason: Annotated[Any, _words(MOST_WORDS)] = None


class HandOverEntry(_Entry, frozen=True, kw_only=True, tag="hand_over"):
    """A parcel that was handed over. Orders passes code and name on and does not store them."""

    shipment_id: EntryUuid
    code: Annotated[
        Any, Meta(extra_json_schema={"type": ["string", "null"], "pattern": "^[0-9]{6}$"})
    ] = None
    received_by: Annotated[Any, _words(100)] = None
    collected_fen: EntryFen
    payment: CounterPayment
    difference_reason: Annotated[Any, _words(MOST_WORDS)] = None


class OrderEntry(_Entry, frozen=True, kw_only=True, tag="order"):
    """An order taken at the till; it has the id of the entry. Orders does not store the contact."""

    order: TillOrder


class ShiftOpenEntry(_Entry, frozen=True, kw_only=True, tag="shift_open"):
    """A shift begins; `shift` is its own number."""

    float_fen: EntryFen


class ShiftCloseEntry(_Entry, frozen=True, kw_only=True, tag="shift_close"):
    """A shift ends with a count."""

    counted_fen: EntryFen
    note: Annotated[Any, _words(MOST_NOTE)] = None


Entry = (
    SaleEntry
    | VoidEntry
    | ReturnEntry
    | HandOverEntry
    | OrderEntry
    | ShiftOpenEntry
    | ShiftCloseEntry
)
#: By the value of `kind`. An entry is read by one of these and not by `Entry`: msgspec analyses a
#: union anew at each call, which takes 4 µs.
BY_KIND: dict[str, type[Entry]] = {kind.__struct_config__.tag: kind for kind in get_args(Entry)}
