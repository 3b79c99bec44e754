"""Sites, routes and promises over HTTP."""

from typing import Any

from marshmallow import ValidationError, fields, validate

from services.logistics.rules import EVERY_DAY
from shared.events import SITE_LEVELS
from shared.runtime.schemas import Flag, Text, matching
from shared.web import RequestSchema, ResponseSchema
from shared.web.paging import ChangesRequest, PageRequest

#: Sites opened by one call.
MOST_SITES = 500


def _code(**options: Any) -> fields.String:
    return matching(
        "[A-Za-z0-9][A-Za-z0-9._-]{0,39}",
        "1 to 40 letters, digits, dots, dashes or underscores, such as 540421103.",
        **options,
    )


def _all_different(values: list[int]) -> None:
    if len(set(values)) != len(values):
        raise ValidationError("Name each day once.")


class NamesRequest(RequestSchema):
    """A site's name; zh is required."""

    zh = Text(100, required=True)
    bo = Text(100)
    en = Text(100)


class OpenSiteRequest(RequestSchema):
    """A site to open."""

    site_id = fields.UUID(
        metadata={"description": "Chosen by the caller; a new one when left out."}
    )
    code = _code(required=True)
    level = fields.String(required=True, validate=validate.OneOf(SITE_LEVELS))
    parent_code = _code(allow_none=True)
    names = fields.Nested(NamesRequest, required=True)
    latitude = fields.Float(allow_none=True, validate=validate.Range(-90, 90))
    longitude = fields.Float(allow_none=True, validate=validate.Range(-180, 180))
    opening_hours = Text(200, allow_none=True)


#: A township's station, as the document shows it.
SITE_EXAMPLE = {
    "code": "540421103",
    "level": "township",
    "parent_code": "540421",
    "names": {"zh": "巴河镇", "en": "Bahe Town"},
    "latitude": 29.87,
    "longitude": 93.66,
    "opening_hours": "09:00-18:00",
}


class OpenSitesRequest(RequestSchema):
    """Sites to open, all or none; parents may be among them, in any order."""

    sites = fields.List(
        fields.Nested(OpenSiteRequest), required=True, validate=validate.Length(1, MOST_SITES)
    )


class ChangeSiteRequest(RequestSchema):
    """The changes to a site; fields that are left out stay."""

    names = fields.Nested(NamesRequest)
    latitude = fields.Float(allow_none=True, validate=validate.Range(-90, 90))
    longitude = fields.Float(allow_none=True, validate=validate.Range(-180, 180))
    opening_hours = Text(200, allow_none=True)


class ListSitesRequest(ChangesRequest):
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
    changed_at = fields.AwareDateTime(required=True, allow_none=True)


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
    cold = Flag(load_default=False)


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
    """The site, and the variants to deliver there."""

    site_id = fields.UUID(required=True)
    variant_ids = fields.List(
        fields.UUID(),
        data_key="variant_id",
        load_default=list,
        validate=validate.Length(max=200),
        metadata={"description": "Repeat it for several variants."},
    )


class LegResponse(ResponseSchema):
    """One leg of a way, from a site to the next."""

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
