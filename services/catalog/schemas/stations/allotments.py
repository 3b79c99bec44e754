"""Requests and answers about allotments."""

from typing import Any

from marshmallow import ValidationError, fields, validate, validates_schema

from services.catalog.rules import AllotmentStatus
from services.catalog.schemas.values import MOST_QUANTITY, quantity, whole
from shared.runtime.schemas import Text
from shared.web import RequestSchema, ResponseSchema
from shared.web.paging import PageRequest


class AllotmentResponse(ResponseSchema):
    """What a device may sell of a lot; `granted = sold + returned + remaining + written_off`.

    `heard`: the device was told of the last change. `reported_remaining` is what the device
    reported to have left: less than `remaining` while its sales are not uploaded.
    """

    allotment_id = fields.UUID(required=True)
    device_id = fields.UUID(required=True)
    epoch = fields.Integer(required=True)
    site_id = fields.UUID(required=True)
    lot_id = fields.UUID(required=True)
    lot_code = fields.String(required=True)
    variant_id = fields.UUID(required=True)
    best_before = fields.Date(required=True, allow_none=True)
    sell_by = fields.Date(required=True, allow_none=True)
    granted = fields.Integer(required=True)
    sold = fields.Integer(required=True)
    returned = fields.Integer(required=True)
    remaining = fields.Integer(required=True)
    written_off = fields.Integer(required=True)
    status = fields.String(required=True)
    reason = fields.String(required=True, allow_none=True)
    note = fields.String(required=True, allow_none=True)
    actor = fields.String(required=True, allow_none=True)
    lease_until = fields.AwareDateTime(required=True, allow_none=True)
    proposed_return = fields.Integer(required=True)
    heard = fields.Boolean(required=True)
    reported_remaining = fields.Integer(required=True, allow_none=True)
    changed_at = fields.AwareDateTime(required=True)


class CountResponse(ResponseSchema):
    """A count by which an operator closed an allotment; missing goods were written off."""

    allotment_id = fields.UUID(required=True)
    counted = fields.Integer(required=True)
    missing = fields.Integer(required=True)
    reason = fields.String(required=True)
    actor = fields.String(required=True)
    at = fields.AwareDateTime(required=True)


class GrantRequest(RequestSchema):
    """A quantity of a lot, or of a variant, that a device may sell in addition."""

    device_id = fields.UUID(required=True)
    lot_id = fields.UUID()
    variant_id = fields.UUID()
    quantity = quantity(required=True)

    @validates_schema
    def check_one_thing(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse a grant that names neither a lot nor a variant, or both.

        Raises:
            ValidationError: neither or both of lot and variant are named.
        """
        if ("lot_id" in data) == ("variant_id" in data):
            raise ValidationError("Name a lot_id or a variant_id, and not both.", "lot_id")


#: Five kilograms, from any lots.
GRANT_EXAMPLE = {
    "device_id": "0198d1f2-6a3b-7c4d-8e5f-0123456789ad",
    "variant_id": "0198d1f2-6a3b-7c4d-8e5f-0123456789ac",
    "quantity": 5000,
}


class GrantedResponse(ResponseSchema):
    """The allotments to which a grant was added, one for each lot."""

    items = fields.List(fields.Nested(AllotmentResponse), required=True)


class ListAllotmentsRequest(PageRequest):
    """Which allotments to show."""

    device_id = fields.UUID()
    lot_id = fields.UUID()
    site_id = fields.UUID()
    status = fields.String(validate=validate.OneOf([status.value for status in AllotmentStatus]))


class ReturnAllottedRequest(RequestSchema):
    """Goods that an operator counted back, and where they go."""

    quantity = quantity(required=True)
    to_location_id = fields.UUID(load_default=None, allow_none=True)


class SuspendAllotmentRequest(RequestSchema):
    """Why a device must stop selling from an allotment."""

    reason = Text(500, required=True)


class WriteOffRequest(RequestSchema):
    """The counted quantity of an allotment; the rest of `remaining` is lost."""

    counted = whole(0, MOST_QUANTITY, required=True)
    reason = Text(500, required=True)
    book = whole(
        0,
        2**53,
        metadata={
            "description": "`remaining` when it was counted. If it has changed since, the answer "
            "is 409 (outdated-count)."
        },
    )


class HolderResponse(ResponseSchema):
    """A device that holds a lot, and whether it was told of the last change."""

    device_id = fields.UUID(required=True)
    device_code = fields.String(required=True)
    site_id = fields.UUID(required=True)
    epoch = fields.Integer(required=True)
    allotment_id = fields.UUID(required=True)
    status = fields.String(required=True)
    reason = fields.String(required=True, allow_none=True)
    remaining = fields.Integer(required=True)
    heard = fields.Boolean(required=True)
    last_contact_at = fields.AwareDateTime(required=True, allow_none=True)


class HoldersResponse(ResponseSchema):
    """The devices that hold a lot."""

    items = fields.List(fields.Nested(HolderResponse), required=True)
