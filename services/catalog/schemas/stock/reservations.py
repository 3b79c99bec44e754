"""Answers about reservations."""

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
    """The stock that catalog set aside for an order, and the reservation's status."""

    order_id = fields.UUID(required=True)
    status = fields.String(required=True)
    reason = fields.String(required=True, allow_none=True)
    changed_at = fields.AwareDateTime(required=True)
    lines = fields.List(fields.Nested(ReservationLineResponse), required=True)
