"""Requests and answers about what can be sold."""

from marshmallow import fields, validate

from shared.web import ResponseSchema
from shared.web.paging import ChangesRequest

#: Ids in one filter.
MOST_IDS = 100


class ListAvailabilityRequest(ChangesRequest):
    """Which variants to show; a filter may be repeated."""

    product_id = fields.List(fields.UUID(), validate=validate.Length(max=MOST_IDS))
    variant_id = fields.List(fields.UUID(), validate=validate.Length(max=MOST_IDS))


class AvailabilityResponse(ResponseSchema):
    """How much of a variant an order could reserve, in the variant's unit."""

    variant_id = fields.UUID(required=True)
    product_id = fields.UUID(required=True, attribute="variant.product_id")
    sku = fields.String(required=True, attribute="variant.sku")
    unit = fields.String(required=True, attribute="variant.unit")
    pack_quantity = fields.Integer(required=True, attribute="variant.pack_quantity")
    quantity = fields.Integer(required=True)
    capped = fields.Boolean(
        required=True,
        metadata={"description": "There is more than `quantity`, the most that is shown."},
    )
    version = fields.Integer(
        required=True,
        metadata={
            "description": "The `sequence` of the event `catalog.availability_changed.v1` with "
            "this quantity. An event with a lower one is older."
        },
    )
    changed_at = fields.AwareDateTime(required=True)
