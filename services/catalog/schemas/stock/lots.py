"""Requests and answers about lots and the locations where they lie."""

from marshmallow import fields, validate

from services.catalog.rules import LotStatus
from services.catalog.schemas.values import (
    NamesResponse,
    code,
)
from shared.events import SITE_LEVELS
from shared.runtime.schemas import Day, Text
from shared.web import RequestSchema, ResponseSchema
from shared.web.paging import PageRequest


class RecordLotRequest(RequestSchema):
    """One producer's harvest of one variant on one day."""

    code = code(required=True)
    variant_id = fields.UUID(required=True)
    producer_id = fields.UUID(required=True)
    harvest_date = Day(required=True)
    best_before = Day(load_default=None, allow_none=True)
    origin_site_id = fields.UUID(load_default=None, allow_none=True)


#: A day's harvest of one farmer, as the document shows it.
LOT_EXAMPLE = {
    "code": "MT-20260820-001",
    "variant_id": "0198d1f2-6a3b-7c4d-8e5f-0123456789ac",
    "producer_id": "0198d1f2-6a3b-7c4d-8e5f-0123456789ae",
    "harvest_date": "2026-08-20",
    "best_before": "2026-08-25",
}


class StopLotRequest(RequestSchema):
    """Why a lot must not be sold."""

    reason = Text(500, required=True)


class ListLotsRequest(PageRequest):
    """Which lots to show."""

    code = Text(40)
    variant_id = fields.UUID()
    producer_id = fields.UUID()
    status = fields.String(validate=validate.OneOf([status.value for status in LotStatus]))


class LotResponse(ResponseSchema):
    """A lot: its origin, how long it keeps, and whether it may be sold."""

    lot_id = fields.UUID(attribute="id", required=True)
    code = fields.String(required=True)
    variant_id = fields.UUID(required=True)
    producer_id = fields.UUID(required=True)
    origin_site_id = fields.UUID(required=True, allow_none=True)
    harvest_date = fields.Date(required=True)
    best_before = fields.Date(required=True, allow_none=True)
    status = fields.String(required=True)
    status_reason = fields.String(required=True, allow_none=True)


class OrderOfLotResponse(ResponseSchema):
    """What one order has, or had, of a lot, in the variant's unit."""

    order_id = fields.UUID(required=True)
    status = fields.String(
        required=True, metadata={"description": "The status of the order's reservation."}
    )
    set_aside = fields.Integer(required=True)
    handed_out = fields.Integer(
        required=True,
        metadata={"description": "The quantity that left the stock and did not come back."},
    )


class SaleOfLotResponse(ResponseSchema):
    """What one station sale took of a lot, or what a void or return brought back of it."""

    sale_id = fields.UUID(required=True)
    kind = fields.String(required=True)
    status = fields.String(required=True)
    site_id = fields.UUID(required=True)
    device_id = fields.UUID(required=True)
    epoch = fields.Integer(required=True)
    number = fields.Integer(required=True)
    quantity = fields.Integer(required=True)


class ListLocationsRequest(PageRequest):
    """Which locations to show."""

    level = fields.String(validate=validate.OneOf(SITE_LEVELS))


class LocationResponse(ResponseSchema):
    """A place where stock may lie: a site of logistics under the same id."""

    location_id = fields.UUID(attribute="id", required=True)
    code = fields.String(required=True)
    level = fields.String(required=True)
    parent_id = fields.UUID(required=True, allow_none=True)
    names = fields.Nested(NamesResponse, required=True)
    is_open = fields.Boolean(required=True)
