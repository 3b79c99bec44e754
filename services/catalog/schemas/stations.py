"""Requests and answers about devices, what they may sell, and what they sold beyond it."""

from typing import Any

from marshmallow import ValidationError, fields, validate, validates_schema

from services.catalog.rules import AllotmentStatus
from services.catalog.schemas.values import MOST_QUANTITY, NamesResponse, quantity, whole
from shared.runtime.paging import PageRequest
from shared.runtime.schemas import Text
from shared.web import RequestSchema, ResponseSchema


class RegisterDeviceRequest(RequestSchema):
    """A counter where a till will stand."""

    site_id = fields.UUID(required=True)
    name = Text(60, required=True)


#: The counter of a township's station, as the document shows it.
DEVICE_EXAMPLE = {"site_id": "0198d1f2-6a3b-7c4d-8e5f-0123456789ab", "name": "柜台一"}


class RevokeDeviceRequest(RequestSchema):
    """Why a device must not speak any more."""

    reason = Text(500, load_default=None, allow_none=True)


class ListDevicesRequest(PageRequest):
    """Which devices to show."""

    site_id = fields.UUID()


class DeviceResponse(ResponseSchema):
    """A device, what the machine that stands for it last said, and what it has not heard of.

    `unheard` has the allotments that changed (were granted, stopped, written off …) since the
    revision that the device has surely seen; until it is empty the device may act on old news.
    """

    device_id = fields.UUID(required=True)
    code = fields.String(required=True)
    name = fields.String(required=True)
    site_id = fields.UUID(required=True)
    site_code = fields.String(required=True)
    status = fields.String(required=True)
    epoch = fields.Integer(required=True)
    last_contact_at = fields.AwareDateTime(required=True, allow_none=True)
    lease_until = fields.AwareDateTime(required=True, allow_none=True)
    lease_over = fields.Boolean(required=True)
    unsynced = fields.Integer(required=True, allow_none=True)
    oldest_unsynced_at = fields.AwareDateTime(required=True, allow_none=True)
    last_number = fields.Integer(required=True, allow_none=True)
    app_version = fields.String(required=True, allow_none=True)
    clock_offset_seconds = fields.Integer(required=True, allow_none=True)
    revision = fields.Integer(required=True)
    seen_revision = fields.Integer(required=True)
    unheard = fields.List(fields.UUID(), required=True)
    open_overdrafts = fields.Integer(required=True)
    revoked_by = fields.String(required=True, allow_none=True)
    revoked_reason = fields.String(required=True, allow_none=True)
    revoked_at = fields.AwareDateTime(required=True, allow_none=True)


class InvitedDeviceResponse(DeviceResponse):
    """A device with the code that a machine shows, once and within a day, to become it."""

    enrolment_code = fields.String(required=True)
    enrolment_expires_at = fields.AwareDateTime(required=True)


class EpochResponse(ResponseSchema):
    """One machine that stands, or stood, for a device, and what it last said."""

    epoch = fields.Integer(required=True)
    key_id = fields.UUID(required=True)
    scopes = fields.List(fields.String(), required=True)
    enrolled_at = fields.AwareDateTime(required=True)
    superseded_at = fields.AwareDateTime(required=True, allow_none=True)
    last_contact_at = fields.AwareDateTime(required=True, allow_none=True)
    lease_until = fields.AwareDateTime(required=True, allow_none=True)
    seen_revision = fields.Integer(required=True)
    unsynced = fields.Integer(required=True, allow_none=True)
    oldest_unsynced_at = fields.AwareDateTime(required=True, allow_none=True)
    last_number = fields.Integer(required=True, allow_none=True)
    app_version = fields.String(required=True, allow_none=True)
    clock_offset_seconds = fields.Integer(required=True, allow_none=True)


class AllotmentResponse(ResponseSchema):
    """What a device may sell of a lot; `granted = sold + returned + remaining + written_off`.

    `heard`: the device knows of the last change. `reported_remaining` is what the device itself
    said it has left, less than `remaining` while its sales are not uploaded.
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
    """Somebody counted what an allotment should still have; what was missing was written off."""

    allotment_id = fields.UUID(required=True)
    counted = fields.Integer(required=True)
    missing = fields.Integer(required=True)
    reason = fields.String(required=True)
    actor = fields.String(required=True)
    at = fields.AwareDateTime(required=True)


class DeviceDetailResponse(DeviceResponse):
    """A device with all machines that stood for it, and what it was granted.

    That is all that is open, and the closed allotments that changed last (`GET /allotments` has
    the others), with the last counts of them.
    """

    epochs = fields.List(fields.Nested(EpochResponse), required=True)
    allotments = fields.List(fields.Nested(AllotmentResponse), required=True)
    counts = fields.List(fields.Nested(CountResponse), required=True)


class GrantRequest(RequestSchema):
    """How much of which lot, or of which variant, a device may sell (more)."""

    device_id = fields.UUID(required=True)
    lot_id = fields.UUID()
    variant_id = fields.UUID()
    quantity = quantity(required=True)

    @validates_schema
    def check_one_thing(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse a grant of nothing, and one of two things.

        Raises:
            ValidationError: neither or both of lot and variant are named.
        """
        if ("lot_id" in data) == ("variant_id" in data):
            raise ValidationError("Name a lot_id or a variant_id, and not both.", "lot_id")


#: Five kilograms, whatever lots they are from.
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
    """What was counted of an allotment; the rest of what should be left is lost."""

    counted = whole(0, MOST_QUANTITY, required=True)
    reason = Text(500, required=True)
    book = whole(
        0,
        2**53,
        metadata={
            "description": "`remaining` when it was counted; with another now the answer is 409 "
            "(outdated-count)."
        },
    )


class HolderResponse(ResponseSchema):
    """A device that holds a lot, and whether it has heard of the last change."""

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


class ListOverdraftsRequest(PageRequest):
    """Which overdrafts to show."""

    is_open = fields.Boolean(data_key="open")
    device_id = fields.UUID()


class OverdraftLineResponse(ResponseSchema):
    """What is not covered of one line of a sale, or was when it was decided."""

    line_no = fields.Integer(required=True)
    variant_id = fields.UUID(required=True)
    lot_id = fields.UUID(required=True)
    quantity = fields.Integer(required=True)


class OverdraftResponse(ResponseSchema):
    """A sale that its device had no right to make, and what covers it."""

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
    """What covers a sale: stock, or nothing but the loss; and why that was decided."""

    resolution = fields.String(required=True, validate=validate.OneOf(("cover", "lose")))
    reason = Text(500, required=True)


class SiteResponse(ResponseSchema):
    """Where a device stands."""

    site_id = fields.UUID(attribute="id", required=True)
    code = fields.String(required=True)
    names = fields.Nested(NamesResponse, required=True)
