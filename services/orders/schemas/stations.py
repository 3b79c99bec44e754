"""What the routes about stations take and give, for operators."""

from typing import Any

from marshmallow import fields, validate

from services.orders.rules import prices
from services.orders.rules.entries import MOST_NUMBER
from services.orders.rules.till import EntryKind, EntryStatus
from services.orders.schemas.entries import ANY_ENTRY, SALE_EXAMPLE
from shared.runtime.schemas import Flag, Parts, Text
from shared.web import RequestSchema, ResponseSchema
from shared.web.paging import PageRequest

#: Entries of one exported file: about a megabyte. A larger file is imported in pieces.
MOST_IMPORTED = 2000


def _fen(least: int, **options: Any) -> fields.Integer:
    within = validate.Range(least, prices.MOST_TOTAL_FEN)
    return fields.Integer(strict=True, validate=within, **options)


def _epoch(**options: Any) -> fields.Integer:
    return fields.Integer(validate=validate.Range(1, MOST_NUMBER), **options)


# --- Entries of tills ---------------------------------------------------------------------------


class ListStationSalesRequest(PageRequest):
    """Which entries are listed; all filters given must hold."""

    device_id = fields.UUID()
    epoch = _epoch()
    site_id = fields.UUID()
    status = fields.Enum(EntryStatus, by_value=True)
    kind = fields.Enum(EntryKind, by_value=True)
    clerk = Text(60)
    flagged = fields.Boolean(metadata={"description": "true: only entries with `flags`."})


class ImportEntriesRequest(RequestSchema):
    """A till's exported file: entries of the journal of one epoch of a device."""

    KEEPS_FLAWED = True

    device_id = fields.UUID(required=True)
    epoch = _epoch(required=True, strict=True)
    format = fields.Integer(load_default=1, strict=True, validate=validate.OneOf((1,)))
    entries = Parts(MOST_IMPORTED, ANY_ENTRY)


#: A file, as the document shows it.
IMPORT_EXAMPLE = {
    "device_id": "0198d1f2-6a3b-7c4d-8e5f-0123456789af",
    "epoch": 1,
    "format": 1,
    "entries": [SALE_EXAMPLE],
}


class AcknowledgeEntryRequest(RequestSchema):
    """How an operator decides a dispute."""

    note = Text(500, required=True)
    book_cash = Flag(
        load_default=False,
        metadata={
            "description": "True: the refunded cash leaves the clerk's custody; 409 "
            "nothing-to-book if the entry refunded no cash."
        },
    )


class CorrectEntryRequest(RequestSchema):
    """What an operator changes of an entry, and why."""

    changes = fields.Dict(
        keys=fields.String(),
        required=True,
        validate=validate.Length(1, 20),
        metadata={"description": "A JSON merge patch (RFC 7396) of the entry's body."},
    )
    note = Text(500, required=True)


#: The removal of a field that no till writes, as the document shows it.
CORRECTION_EXAMPLE = {"changes": {"colour": None, "shift": 12}, "note": "Asked the clerk."}


class StationLineResponse(ResponseSchema):
    """One line of a sale, or of what came back of it."""

    line_no = fields.Integer(required=True)
    variant_id = fields.UUID(required=True)
    lot_id = fields.UUID(required=True)
    quantity = fields.Integer(required=True)
    line_total_fen = fields.Integer(required=True)
    price_fen = fields.Integer(metadata={"description": "Only of a sale."})
    price_unit = fields.Integer(metadata={"description": "Only of a sale."})
    restock = fields.Boolean(metadata={"description": "Only of goods that came back."})


class StationSaleResponse(ResponseSchema):
    """An entry of a till's journal, and its status."""

    sale_id = fields.UUID(required=True, attribute="id")
    kind = fields.Enum(EntryKind, by_value=True, required=True)
    status = fields.Enum(EntryStatus, by_value=True, required=True)
    reason = fields.String(required=True, allow_none=True)
    detail = fields.String(required=True, allow_none=True)
    resolution = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "covered, lost, voided, cash_booked, noted or corrected."},
    )
    resolved_by = fields.String(required=True, allow_none=True)
    note = fields.String(required=True, allow_none=True)
    flags = fields.List(
        fields.String(),
        required=True,
        metadata={
            "description": "Oddities that are no reason to dispute it: price_differs; "
            "total_differs; payment_differs (a refund in another way than the payment); "
            "clock_off (the device's clock is wrong); clerk_unclear, words_unclear, "
            "contact_unclear, phone_unclear, code_unclear (a flaw in this label)."
        },
    )
    expected_fen = fields.Integer(
        required=True,
        allow_none=True,
        metadata={"description": "The total by the price list, if it differs."},
    )
    device_id = fields.UUID(required=True)
    device_code = fields.String(required=True)
    site_id = fields.UUID(required=True)
    epoch = fields.Integer(required=True)
    number = fields.Integer(required=True)
    copy = fields.Integer(
        required=True,
        metadata={
            "description": "1: the first content under its number; more: other content, later."
        },
    )
    clerk = fields.String(required=True, allow_none=True)
    shift = fields.Integer(required=True, allow_none=True)
    device_time = fields.AwareDateTime(required=True, allow_none=True)
    received_at = fields.AwareDateTime(required=True)
    changed_at = fields.AwareDateTime(required=True)
    of_sale_id = fields.UUID(required=True, allow_none=True, attribute="of_entry_id")
    voided = fields.Boolean(
        required=True,
        metadata={"description": "Voided before its upload: it moved no goods and no money."},
    )
    total_fen = fields.Integer(required=True, allow_none=True)
    payment = fields.String(required=True, allow_none=True)
    lines = fields.List(fields.Nested(StationLineResponse), required=True)


class StationSaleDetailResponse(StationSaleResponse):
    """An entry of a till's journal with its content, without the buyer's personal data."""

    body = fields.Dict(keys=fields.String(), required=True)
    sent = fields.Dict(
        keys=fields.String(),
        required=True,
        allow_none=True,
        metadata={"description": "The content from the till, if an operator corrected it."},
    )


class TillDeviceResponse(ResponseSchema):
    """How much of the journal of one epoch of a device is uploaded."""

    device_id = fields.UUID(required=True, attribute="journal.device_id")
    device_code = fields.String(required=True, attribute="journal.device_code")
    site_id = fields.UUID(required=True, attribute="journal.site_id")
    epoch = fields.Integer(required=True, attribute="journal.epoch")
    entries = fields.Integer(required=True)
    highest = fields.Integer(required=True, attribute="journal.highest")
    holes = fields.Integer(
        required=True, metadata={"description": "Missing numbers below the highest."}
    )
    disputed = fields.Integer(required=True)
    last_upload_at = fields.AwareDateTime(required=True, attribute="journal.last_upload_at")


class ListTillDevicesRequest(PageRequest):
    """Which journals are listed."""

    device_id = fields.UUID()


# --- Cash ----------------------------------------------------------------------------------------


class ListCustodyRequest(PageRequest):
    """Whose custody is listed; all filters given must hold."""

    site_id = fields.UUID()
    clerk = Text(60)


class CustodyResponse(ResponseSchema):
    """The cash that one clerk of a site took, refunded and remitted, and so must hold."""

    site_id = fields.UUID(required=True)
    clerk = fields.String(required=True)
    collected_fen = fields.Integer(required=True)
    refunded_fen = fields.Integer(required=True)
    remitted_fen = fields.Integer(required=True)
    written_off_fen = fields.Integer(required=True)
    held_fen = fields.Integer(
        required=True,
        metadata={"description": "Below 0 while sales whose cash was remitted are not uploaded."},
    )


class ListShiftsRequest(PageRequest):
    """Which shifts are listed; all filters given must hold."""

    site_id = fields.UUID()
    device_id = fields.UUID()
    clerk = Text(60)
    closed = fields.Boolean()


class ShiftResponse(ResponseSchema):
    """A shift, and the cash that its drawer should hold by the uploaded entries."""

    shift_id = fields.UUID(required=True, attribute="shift.id")
    device_id = fields.UUID(required=True, attribute="shift.device_id")
    device_code = fields.String(required=True, attribute="shift.device_code")
    site_id = fields.UUID(required=True, attribute="shift.site_id")
    epoch = fields.Integer(required=True, attribute="shift.epoch")
    number = fields.Integer(required=True, attribute="shift.number")
    clerk = fields.String(required=True, attribute="shift.clerk")
    opened_at = fields.AwareDateTime(
        required=True,
        allow_none=True,
        attribute="shift.opened_at",
        metadata={"description": "By the device's clock; null until the opening is uploaded."},
    )
    float_fen = fields.Integer(required=True, allow_none=True, attribute="shift.float_fen")
    closed_at = fields.AwareDateTime(required=True, allow_none=True, attribute="shift.closed_at")
    counted_fen = fields.Integer(required=True, allow_none=True, attribute="shift.counted_fen")
    note = fields.String(required=True, allow_none=True, attribute="shift.note")
    expected_fen = fields.Integer(
        required=True,
        allow_none=True,
        metadata={
            "description": "Float plus cash taken minus cash refunded, by the uploaded entries."
        },
    )
    difference_fen = fields.Integer(
        required=True,
        allow_none=True,
        metadata={"description": "Counted minus expected; final when no entry is missing."},
    )
    missing = fields.Integer(
        required=True,
        metadata={"description": "Entries of the shift that are not uploaded."},
    )


def _accept_shortage() -> fields.Boolean:
    return Flag(
        load_default=False,
        metadata={
            "description": "True: accept a clerk who holds less, or is unknown, because sales are "
            "not uploaded yet. False: refuse the request, since a name or an amount is wrong."
        },
    )


class RemitCashRequest(RequestSchema):
    """Cash that a clerk handed on to the centre, counted by both."""

    site_id = fields.UUID(required=True)
    clerk = Text(60, required=True)
    sent_fen = _fen(1, required=True)
    counted_fen = _fen(0, required=True)
    reason = Text(
        300,
        load_default=None,
        allow_none=True,
        metadata={"description": "Why the counts differ; needed if they do."},
    )
    accept_shortage = _accept_shortage()


class RemittanceResponse(ResponseSchema):
    """Cash handed on to the centre."""

    remittance_id = fields.UUID(required=True, attribute="id")
    site_id = fields.UUID(required=True)
    clerk = fields.String(required=True)
    sent_fen = fields.Integer(required=True)
    counted_fen = fields.Integer(required=True)
    reason = fields.String(required=True, allow_none=True)
    recorded_by = fields.String(required=True)
    remitted_at = fields.AwareDateTime(required=True)


class WriteOffCashRequest(RequestSchema):
    """Cash that a clerk should hold but does not have."""

    site_id = fields.UUID(required=True)
    clerk = Text(60, required=True)
    amount_fen = fields.Integer(
        required=True,
        strict=True,
        validate=[
            validate.Range(-prices.MOST_TOTAL_FEN, prices.MOST_TOTAL_FEN),
            validate.NoneOf([0]),
        ],
        metadata={"description": "Below 0: there is more than there should be."},
    )
    reason = Text(300, required=True)
    accept_shortage = _accept_shortage()


class CashEntryResponse(ResponseSchema):
    """Cash that came into a clerk's custody (above 0) or left it (below 0)."""

    cash_entry_id = fields.UUID(required=True, attribute="id")
    site_id = fields.UUID(required=True)
    clerk = fields.String(required=True)
    amount_fen = fields.Integer(required=True)
    cause = fields.String(required=True)
    reason = fields.String(required=True, allow_none=True)
    recorded_by = fields.String(required=True, allow_none=True)
    at = fields.AwareDateTime(required=True)
