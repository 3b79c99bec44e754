"""Requests and answers about overdrafts: sales beyond what their devices were granted."""

from marshmallow import fields, validate

from shared.runtime.schemas import Text
from shared.web import RequestSchema, ResponseSchema
from shared.web.paging import PageRequest


class ListOverdraftsRequest(PageRequest):
    """Which overdrafts to show."""

    is_open = fields.Boolean(data_key="open")
    device_id = fields.UUID()


class OverdraftLineResponse(ResponseSchema):
    """The part of a sale's line that is not covered, or was not when it was settled."""

    line_no = fields.Integer(required=True)
    variant_id = fields.UUID(required=True)
    lot_id = fields.UUID(required=True)
    quantity = fields.Integer(required=True)


class OverdraftResponse(ResponseSchema):
    """A sale beyond what its device was granted, and what covers it."""

    sale_id = fields.UUID(required=True)
    device_id = fields.UUID(required=True)
    epoch = fields.Integer(required=True)
    number = fields.Integer(required=True)
    site_id = fields.UUID(required=True)
    reason = fields.String(required=True)
    status = fields.String(required=True)
    lines = fields.List(fields.Nested(OverdraftLineResponse), required=True)
    opened_at = fields.AwareDateTime(required=True)
    changed_at = fields.AwareDateTime(required=True)
    settled_by = fields.String(required=True, allow_none=True)
    settled_reason = fields.String(required=True, allow_none=True)


class SettleOverdraftRequest(RequestSchema):
    """Whether stock covers a sale or it is a loss, and the reason for that decision."""

    resolution = fields.String(required=True, validate=validate.OneOf(("cover", "lose")))
    reason = Text(500, required=True)
