"""Requests and answers about standing rules."""

from marshmallow import fields

from services.catalog.schemas.values import quantity
from shared.web import RequestSchema, ResponseSchema
from shared.web.paging import PageRequest


class StandingRuleRequest(RequestSchema):
    """How much is kept at the site, in the variant's unit."""

    keep = quantity(required=True)


class ListStandingRulesRequest(PageRequest):
    """Which standing rules to show."""

    site_id = fields.UUID()
    variant_id = fields.UUID()


class StandingRuleResponse(ResponseSchema):
    """How much of a variant is kept at a site while central stock lasts."""

    site_id = fields.UUID(required=True)
    variant_id = fields.UUID(required=True)
    keep = fields.Integer(required=True)
    set_by = fields.String(required=True)
    set_at = fields.AwareDateTime(required=True)
