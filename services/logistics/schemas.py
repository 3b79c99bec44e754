"""What logistics' HTTP API takes and gives. Events have contracts of their own."""

from marshmallow import ValidationError, fields, validate
from shared.paging import PageRequest
from shared.web import RequestSchema, ResponseSchema

from services.logistics.rules import EVERY_DAY, FAILURE_REASONS, ShipmentState, TrackingStatus
from shared.events import SITE_LEVELS

#: Sites opened by one call.
MOST_SITES = 500


def _code(**options: object) -> fields.String:
    return fields.String(
        validate=validate.Regexp(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}\Z"),
        metadata={"description": "Letters, digits, dot, dash or underscore, such as 540421103."},
        **options,
    )


def _fen(**options: object) -> fields.Integer:
    return fields.Integer(strict=True, validate=validate.Range(0, 1_000_000_000_000), **options)


def _text(longest: int, **options: object) -> fields.String:
    return fields.String(validate=validate.Length(1, longest), **options)


def _all_different(values: list[int]) -> None:
    if len(set(values)) != len(values):
        raise ValidationError("Name each day once.")


class NamesRequest(RequestSchema):
    """A site's name; zh is required."""

    zh = _text(100, required=True)
    bo = _text(100)
    en = _text(100)


class OpenSiteRequest(RequestSchema):
    """A site to open."""

    site_id = fields.UUID(metadata={"description": "Chosen by the caller; else a new one."})
    code = _code(required=True)
    level = fields.String(required=True, validate=validate.OneOf(SITE_LEVELS))
    parent_code = _code(allow_none=True)
    names = fields.Nested(NamesRequest, required=True)
    latitude = fields.Float(allow_none=True, validate=validate.Range(-90, 90))
    longitude = fields.Float(allow_none=True, validate=validate.Range(-180, 180))
    opening_hours = _text(200, allow_none=True)


class OpenSitesRequest(RequestSchema):
    """Sites to open, all or none; parents may be among them, in any order."""

    sites = fields.List(
        fields.Nested(OpenSiteRequest), required=True, validate=validate.Length(1, MOST_SITES)
    )


class ChangeSiteRequest(RequestSchema):
    """What of a site changes; what is left out stays."""

    names = fields.Nested(NamesRequest)
    latitude = fields.Float(allow_none=True, validate=validate.Range(-90, 90))
    longitude = fields.Float(allow_none=True, validate=validate.Range(-180, 180))
    opening_hours = _text(200, allow_none=True)


class ListSitesRequest(PageRequest):
    """Which sites are listed."""

    level = fields.String(validate=validate.OneOf(SITE_LEVELS))
    parent_id = fields.UUID()
    is_open = fields.Boolean(data_key="open")


class NamesResponse(ResponseSchema):
    """A site's name in the languages that are known."""

    zh = fields.String(required=True)
    bo = fields.String()
    en = fields.String()


class SiteResponse(ResponseSchema):
    """A site of the network."""

    site_id = fields.UUID(required=True, attribute="id")
    code = fields.String(required=True)
    level = fields.String(required=True)
    parent_id = fields.UUID(required=True, allow_none=True)
    names = fields.Nested(NamesResponse, required=True)
    latitude = fields.Float(required=True, allow_none=True)
    longitude = fields.Float(required=True, allow_none=True)
    opening_hours = fields.String(required=True, allow_none=True)
    opened_at = fields.AwareDateTime(required=True)
    closed_at = fields.AwareDateTime(required=True, allow_none=True)


class SitesResponse(ResponseSchema):
    """Sites in the order of the request."""

    sites = fields.List(fields.Nested(SiteResponse), required=True)


class ChangeRouteRequest(RequestSchema):
    """When a route runs, how long it takes, and whether it keeps goods cold."""

    hours = fields.Integer(required=True, strict=True, validate=validate.Range(1, 720))
    days = fields.List(
        fields.Integer(strict=True, validate=validate.Range(1, 7)),
        load_default=list(EVERY_DAY),
        validate=[validate.Length(1, 7), _all_different],
        metadata={"description": "ISO weekdays, 1 is Monday; every day when left out."},
    )
    cold = fields.Boolean(load_default=False)


class OpenRouteRequest(ChangeRouteRequest):
    """A connection between two sites, named by their codes."""

    from_code = _code(required=True)
    to_code = _code(required=True)


class ListRoutesRequest(PageRequest):
    """Which routes are listed."""

    from_site_id = fields.UUID()
    to_site_id = fields.UUID()


class RouteResponse(ResponseSchema):
    """A connection between two sites."""

    route_id = fields.UUID(required=True, attribute="id")
    from_site_id = fields.UUID(required=True)
    to_site_id = fields.UUID(required=True)
    hours = fields.Integer(required=True)
    days = fields.List(fields.Integer(), required=True)
    cold = fields.Boolean(required=True)


class PromiseRequest(RequestSchema):
    """Where to, and what."""

    site_id = fields.UUID(required=True)
    variant_ids = fields.List(
        fields.UUID(),
        data_key="variant_id",
        load_default=list,
        validate=validate.Length(max=200),
        metadata={"description": "Repeat it for several variants."},
    )


class LegResponse(ResponseSchema):
    """One part of a way."""

    from_site_id = fields.UUID(required=True, attribute="from_id")
    to_site_id = fields.UUID(required=True, attribute="to_id")
    hours = fields.Integer(required=True)
    days = fields.List(fields.Integer(), required=True)
    cold = fields.Boolean(required=True)


class PromiseResponse(ResponseSchema):
    """The day on which goods ordered now reach a site."""

    site_id = fields.UUID(required=True)
    promised_on = fields.Date(required=True)
    cold = fields.Boolean(required=True)
    way = fields.List(fields.Nested(LegResponse), required=True)


class ListShipmentsRequest(PageRequest):
    """Which shipments are listed."""

    order_id = fields.UUID()
    state = fields.Enum(ShipmentState, by_value=True)
    site_id = fields.UUID()


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
    """Who took the shipment, and what shows it."""

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

    received_by = _text(100, required=True)
    collected_fen = _fen(required=True)
    difference_reason = _text(200, load_default=None, allow_none=True)


class CollectRequest(RequestSchema):
    """The buyer's code, or, without it, who took the shipment; and what they paid."""

    code = fields.String(
        load_default=None, allow_none=True, validate=validate.Regexp(r"^[0-9]{6}\Z")
    )
    received_by = _text(100, load_default=None, allow_none=True)
    collected_fen = _fen(required=True)
    difference_reason = _text(200, load_default=None, allow_none=True)


class FailRequest(RequestSchema):
    """Why the shipment was not taken."""

    reason = fields.String(required=True, validate=validate.OneOf(FAILURE_REASONS))


class ReturnRequest(RequestSchema):
    """Whether the goods can be sold again."""

    restock = fields.Boolean(required=True)


class TrackRequest(RequestSchema):
    """What a carrier or a site saw of the parcel."""

    status = fields.Enum(TrackingStatus, by_value=True, required=True)
    site_id = fields.UUID(load_default=None, allow_none=True)
    carrier = _text(40, load_default=None, allow_none=True)
    carrier_code = _text(80, load_default=None, allow_none=True)
    happened_at = fields.AwareDateTime(
        load_default=None, allow_none=True, metadata={"description": "Now, when left out."}
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
