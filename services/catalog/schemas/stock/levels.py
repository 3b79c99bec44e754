"""Requests and answers about stock: receipts, counts, moves and levels."""

from marshmallow import fields, validate

from services.catalog.rules import ADJUSTMENT_REASONS
from services.catalog.schemas.values import (
    MOST_QUANTITY,
    quantity,
    whole,
)
from shared.web import RequestSchema, ResponseSchema
from shared.web.paging import PageRequest


class ReceiveStockRequest(RequestSchema):
    """Goods of a lot that arrived."""

    lot_id = fields.UUID(required=True)
    location_id = fields.UUID(required=True)
    quantity = quantity(required=True)


class AdjustStockRequest(RequestSchema):
    """A difference to the balance, and its reason."""

    lot_id = fields.UUID(required=True)
    location_id = fields.UUID(required=True)
    difference = fields.Integer(
        strict=True,
        required=True,
        validate=[
            validate.Range(min=-MOST_QUANTITY, max=MOST_QUANTITY),
            validate.NoneOf([0], error="Must not be 0."),
        ],
    )
    reason = fields.String(
        required=True, validate=validate.OneOf([reason.value for reason in ADJUSTMENT_REASONS])
    )
    book = whole(
        0,
        2**53,
        metadata={
            "description": "`on_hand` when the difference was found. If it has changed since, the "
            "answer is 409 (outdated-count)."
        },
    )


class MoveStockRequest(RequestSchema):
    """Free stock that was brought to another location."""

    lot_id = fields.UUID(required=True)
    from_location_id = fields.UUID(required=True)
    to_location_id = fields.UUID(required=True)
    quantity = quantity(required=True)


class ListLevelsRequest(PageRequest):
    """Which stock to show."""

    lot_id = fields.UUID()
    location_id = fields.UUID()
    variant_id = fields.UUID()


class LevelResponse(ResponseSchema):
    """How much of a lot stands in each bucket at a location; `on_hand` is their sum."""

    lot_id = fields.UUID(required=True)
    location_id = fields.UUID(required=True)
    available = fields.Integer(required=True)
    reserved = fields.Integer(required=True)
    committed = fields.Integer(required=True)
    allotted = fields.Integer(required=True)
    held = fields.Integer(required=True)
    damaged = fields.Integer(required=True)
    on_hand = fields.Integer(required=True)


class MovedResponse(ResponseSchema):
    """Both levels after a move: where it was, where it is."""

    items = fields.List(fields.Nested(LevelResponse), required=True)


class ListMovementsRequest(PageRequest):
    """Which part of the ledger to show."""

    lot_id = fields.UUID()
    location_id = fields.UUID()


class MovementResponse(ResponseSchema):
    """One line of the ledger."""

    movement_id = fields.UUID(attribute="id", required=True)
    lot_id = fields.UUID(required=True)
    location_id = fields.UUID(required=True)
    from_bucket = fields.String(required=True)
    to_bucket = fields.String(required=True)
    quantity = fields.Integer(required=True)
    reason = fields.String(required=True)
    order_id = fields.UUID(required=True, allow_none=True)
    allotment_id = fields.UUID(required=True, allow_none=True)
    sale_id = fields.UUID(required=True, allow_none=True)
    cause = fields.String(required=True)
    actor = fields.String(required=True)
    at = fields.AwareDateTime(required=True)


class VariantBooksResponse(ResponseSchema):
    """The quantities of one variant that came, went and are there, and whether they balance."""

    variant_id = fields.UUID(required=True)
    sku = fields.String(required=True)
    unit = fields.String(required=True)
    received = fields.Integer(required=True, attribute="flows.received")
    found = fields.Integer(required=True, attribute="flows.found")
    restocked = fields.Integer(required=True, attribute="flows.restocked")
    consumed = fields.Integer(required=True, attribute="flows.consumed")
    lost = fields.Integer(required=True, attribute="flows.lost")
    in_transit = fields.Integer(required=True, attribute="flows.in_transit")
    available = fields.Integer(required=True, attribute="buckets.available")
    reserved = fields.Integer(required=True, attribute="buckets.reserved")
    committed = fields.Integer(required=True, attribute="buckets.committed")
    allotted = fields.Integer(required=True, attribute="buckets.allotted")
    held = fields.Integer(required=True, attribute="buckets.held")
    damaged = fields.Integer(required=True, attribute="buckets.damaged")
    on_hand = fields.Integer(required=True, attribute="buckets.on_hand")
    balanced = fields.Boolean(required=True)


class StockDifferenceResponse(ResponseSchema):
    """A balance that differs from the ledger, from the reservations or from the allotments."""

    lot_code = fields.String(required=True)
    location_code = fields.String(required=True)
    bucket = fields.String(required=True)
    balance = fields.Integer(required=True)
    against = fields.String(required=True)
    expected = fields.Integer(required=True)
    allotment_id = fields.UUID(required=True, allow_none=True)


class TotalsResponse(VariantBooksResponse):
    """The sums over all variants; they add grams and pieces, so they only serve comparisons."""

    class Meta:
        exclude = ("variant_id", "sku", "unit")


class BooksResponse(ResponseSchema):
    """The books of all variants, every difference found, and whether there is none."""

    items = fields.List(fields.Nested(VariantBooksResponse), attribute="variants", required=True)
    totals = fields.Nested(TotalsResponse, required=True)
    balanced = fields.Boolean(required=True)
    differences = fields.List(fields.Nested(StockDifferenceResponse), required=True)
