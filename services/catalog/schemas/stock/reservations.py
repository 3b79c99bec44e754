"""Answers about what is set aside for orders."""

from marshmallow import fields

from shared.web import ResponseSchema


class ReservationLineResponse(ResponseSchema):
    """What one line of an order took from one lot at one location."""

    line_no = fields.Integer(required=True)
    variant_id = fields.UUID(required=True)
    lot_id = fields.UUID(required=True)
    location_id = fields.UUID(required=True)
    quantity = fields.Integer(required=True)


class ReservationResponse(ResponseSchema):
    """What was set aside for an order, and what became of it."""

    order_id = fields.UUID(required=True)
    status = fields.String(required=True)
    reason = fields.String(required=True, allow_none=True)
    changed_at = fields.AwareDateTime(required=True)
    lines = fields.List(fields.Nested(ReservationLineResponse), required=True)
