"""Shipments and their tracking over HTTP."""

from typing import Any

from marshmallow import fields, validate

from services.logistics.rules import FAILURE_REASONS, ShipmentState, TrackingStatus
from shared.runtime.schemas import Flag, Moment, Text, matching
from shared.web import RequestSchema, ResponseSchema
from shared.web.paging import PageRequest


def _fen(**options: Any) -> fields.Integer:
    return fields.Integer(strict=True, validate=validate.Range(0, 1_000_000_000_000), **options)


class ListShipmentsRequest(PageRequest):
    """Which shipments are listed."""

    order_id = fields.UUID()
    state = fields.Enum(ShipmentState, by_value=True)
    site_id = fields.UUID()
    lot_id = fields.UUID(metadata={"description": "Only shipments that carry goods of this lot."})


class ShipmentResponse(ResponseSchema):
    """The goods of one order on their way."""

    shipment_id = fields.UUID(required=True, attribute="id")
    shipment_ref = fields.String(required=True)
    order_id = fields.UUID(required=True)
    order_ref = fields.String(required=True)
    site_id = fields.UUID(required=True)
    collect = fields.Boolean(required=True)
    state = fields.Enum(ShipmentState, by_value=True, required=True)
    promised_on = fields.Date(required=True)
    cold = fields.Boolean(required=True)
    cold_gap = fields.Boolean(
        required=True,
        metadata={"description": "It must stay cold, but its way is not cold throughout."},
    )
    due_fen = fields.Integer(required=True)
    collected_fen = fields.Integer(required=True, allow_none=True)
    at_site_id = fields.UUID(required=True, allow_none=True)
    refusal = fields.String(required=True, allow_none=True)
    restocked = fields.Boolean(required=True, allow_none=True)
    planned_at = fields.AwareDateTime(required=True)
    packed_at = fields.AwareDateTime(required=True, allow_none=True)
    handed_over_at = fields.AwareDateTime(required=True, allow_none=True)
    arrived_at = fields.AwareDateTime(required=True, allow_none=True)
    refused_at = fields.AwareDateTime(required=True, allow_none=True)
    ended_at = fields.AwareDateTime(required=True, allow_none=True)


class CarriedLotResponse(ResponseSchema):
    """What was taken from one lot."""

    lot_id = fields.UUID(required=True)
    lot_code = fields.String(required=True)
    location_id = fields.UUID(required=True)
    producer_id = fields.UUID(required=True)
    quantity = fields.Integer(required=True)


class CarriedLineResponse(ResponseSchema):
    """What a shipment carries of one line."""

    line_no = fields.Integer(required=True)
    variant_id = fields.UUID(required=True)
    lots = fields.List(fields.Nested(CarriedLotResponse), required=True)


class ContactResponse(ResponseSchema):
    """How to reach the buyer."""

    name = fields.String(required=True)
    phone = fields.String(required=True)
    address = fields.String(required=True, allow_none=True)
    language = fields.String(required=True)


class ProofResponse(ResponseSchema):
    """The proof that the shipment was handed over."""

    kind = fields.String(required=True, validate=validate.OneOf(("code", "name")))
    received_by = fields.String(required=True, allow_none=True)
    collected_fen = fields.Integer(required=True)
    difference_reason = fields.String(required=True, allow_none=True)
    handed_over_by = fields.String(required=True)
    recorded_at = fields.AwareDateTime(required=True)


class ShipmentDetailResponse(ResponseSchema):
    """A shipment with what it carries; contact and proof need the scope shipments:operate."""

    shipment = fields.Nested(ShipmentResponse, required=True)
    lines = fields.List(fields.Nested(CarriedLineResponse), required=True)
    contact = fields.Nested(ContactResponse, required=True, allow_none=True)
    proof = fields.Nested(ProofResponse, required=True, allow_none=True)


class ArriveRequest(RequestSchema):
    """The site a shipment reached."""

    site_id = fields.UUID(required=True)


class DeliverRequest(RequestSchema):
    """Who took the shipment, and what they paid."""

    received_by = Text(100, required=True)
    collected_fen = _fen(required=True)
    difference_reason = Text(200, load_default=None, allow_none=True)


class CollectRequest(RequestSchema):
    """The buyer's code, or the name of the person who took the shipment; and the money paid."""

    code = matching("[0-9]{6}", "6 digits.", load_default=None, allow_none=True)
    received_by = Text(100, load_default=None, allow_none=True)
    collected_fen = _fen(required=True)
    difference_reason = Text(200, load_default=None, allow_none=True)


class FailRequest(RequestSchema):
    """Why nobody took the shipment."""

    reason = fields.String(required=True, validate=validate.OneOf(FAILURE_REASONS))


class ReturnRequest(RequestSchema):
    """Whether the goods can be sold again."""

    restock = Flag(required=True)


class TrackRequest(RequestSchema):
    """A report of a carrier or a site about the parcel."""

    status = fields.Enum(TrackingStatus, by_value=True, required=True)
    site_id = fields.UUID(load_default=None, allow_none=True)
    carrier = Text(40, load_default=None, allow_none=True)
    carrier_code = Text(80, load_default=None, allow_none=True)
    happened_at = Moment(
        load_default=None,
        allow_none=True,
        metadata={"description": "Now, when left out."},
    )


class TrackingResponse(ResponseSchema):
    """One report of where the parcel was seen."""

    tracking_id = fields.UUID(required=True, attribute="id")
    status = fields.Enum(TrackingStatus, by_value=True, required=True)
    site_id = fields.UUID(required=True, allow_none=True)
    carrier = fields.String(required=True, allow_none=True)
    carrier_code = fields.String(required=True, allow_none=True)
    happened_at = fields.AwareDateTime(required=True)
    recorded_at = fields.AwareDateTime(required=True)
