"""Requests and answers about the devices of stations."""

from marshmallow import fields

from services.catalog.schemas.stations.allotments import AllotmentResponse, CountResponse
from services.catalog.schemas.values import NamesResponse
from shared.runtime.schemas import Text
from shared.web import RequestSchema, ResponseSchema
from shared.web.paging import PageRequest


class RegisterDeviceRequest(RequestSchema):
    """A counter where a till will stand."""

    site_id = fields.UUID(required=True)
    name = Text(60, required=True)


#: The counter of a township's station, as the document shows it.
DEVICE_EXAMPLE = {"site_id": "0198d1f2-6a3b-7c4d-8e5f-0123456789ab", "name": "柜台一"}


class RevokeDeviceRequest(RequestSchema):
    """Why a device is revoked."""

    reason = Text(500, load_default=None, allow_none=True)


class ListDevicesRequest(PageRequest):
    """Which devices to show."""

    site_id = fields.UUID()


class DeviceResponse(ResponseSchema):
    """A device, the last report of its machine, and the changes that it was not told of yet.

    `unheard` has the allotments that changed (were granted, stopped, written off …) since the
    revision that the device has confirmed; until it is empty the device may act on old data.
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
    """A device with the code with which a machine enrols, once and within a day."""

    enrolment_code = fields.String(required=True)
    enrolment_expires_at = fields.AwareDateTime(required=True)


class EpochResponse(ResponseSchema):
    """One machine that is, or was, enrolled for a device, and its last report."""

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


class DeviceDetailResponse(DeviceResponse):
    """A device with all its machines and its allotments.

    These are the open allotments, and the closed ones that changed last (`GET /allotments` has the
    others), with the last counts of them.
    """

    epochs = fields.List(fields.Nested(EpochResponse), required=True)
    allotments = fields.List(fields.Nested(AllotmentResponse), required=True)
    counts = fields.List(fields.Nested(CountResponse), required=True)


class SiteResponse(ResponseSchema):
    """Where a device stands."""

    site_id = fields.UUID(attribute="id", required=True)
    code = fields.String(required=True)
    names = fields.Nested(NamesResponse, required=True)
