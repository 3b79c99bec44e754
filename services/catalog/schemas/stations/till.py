"""Requests and answers of a station's till."""

import re
from datetime import UTC, datetime, time
from typing import Any

from marshmallow import fields, validate

from services.catalog.schemas.stations.devices import SiteResponse
from services.catalog.schemas.values import MOST_QUANTITY, NamesResponse, quantity, whole
from shared.runtime.api_keys import SECRET_PATTERN
from shared.runtime.clock import FIRST_DAY, LAST_DAY
from shared.runtime.schemas import Parts, Text, matching
from shared.web import RequestSchema, ResponseSchema

#: The limits of what a device's clock may show.
FIRST_MOMENT = datetime.combine(FIRST_DAY, time.min, UTC)
LAST_MOMENT = datetime.combine(LAST_DAY, time.max, UTC)
#: Returns of one request.
MOST_RETURNS = 100


class ClockMoment(fields.AwareDateTime):
    """A moment by a device's own clock, cut to `FIRST_MOMENT` and `LAST_MOMENT`.

    A till whose clock is off by centuries learns the time from its contact, so it is not refused.
    """

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> datetime:
        # As JavaScript writes years before 0 and after 9999.
        expanded = re.fullmatch(r"([+-])\d{6}-[0-9:.T-]+Z", str(value))
        if expanded is not None:
            return FIRST_MOMENT if expanded[1] == "-" else LAST_MOMENT
        moment = super()._deserialize(value, attr, data, **options)
        return min(max(moment, FIRST_MOMENT), LAST_MOMENT).astimezone(UTC)


class EnrolRequest(RequestSchema):
    """The code from an operator, and the secret of the key, which the device makes itself."""

    code = Text(40, required=True)
    secret = matching(
        SECRET_PATTERN, "Must be 32 random bytes in base64url: 43 characters.", required=True
    )


#: A code as it is read out; small letters, spaces and dashes do not matter.
ENROL_EXAMPLE = {
    "code": "7KQ2M-9XHAB",
    "secret": "q7x0Zl3XWqvO3PzJ1gGm6C2l0bX1mQk9t8nYwUu5r4E",
}


class DeviceOfTillResponse(ResponseSchema):
    """The identity of a till."""

    device_id = fields.UUID(attribute="device.id", required=True)
    device_code = fields.String(attribute="device.code", required=True)
    device_name = fields.String(attribute="device.name", required=True)
    epoch = fields.Integer(required=True)
    key_id = fields.UUID(required=True)
    site = fields.Nested(SiteResponse, attribute="device.site", required=True)


class EnrolResponse(DeviceOfTillResponse):
    """A till that is enrolled; its bearer token is `fgk_<key_id without dashes>_<secret>`."""

    server_time = fields.AwareDateTime(required=True)


class TillContactRequest(RequestSchema):
    """The report of a till; `remaining` is what it has left, by lot."""

    seen_revision = whole(0, 2**53, required=True)
    unsynced = whole(0, 1_000_000_000, required=True)
    oldest_unsynced_at = ClockMoment(load_default=None, allow_none=True)
    last_number = whole(0, 2**53, required=True)
    device_time = ClockMoment(required=True)
    app_version = Text(60, required=True)
    remaining = fields.Dict(
        keys=fields.UUID(),
        values=fields.Integer(strict=True, validate=validate.Range(-(2**53), 2**53)),
        validate=validate.Length(max=10_000),
        load_default=None,
        allow_none=True,
    )


#: A till with three sales that wait, and a clock that is right.
CONTACT_EXAMPLE = {
    "seen_revision": 12,
    "unsynced": 3,
    "oldest_unsynced_at": "2026-08-20T02:10:00Z",
    "last_number": 57,
    "device_time": "2026-08-20T09:30:00Z",
    "app_version": "1.0.0",
}


class ToldAllotmentResponse(ResponseSchema):
    """What a till may sell of a lot, as far as the centre knows.

    `active`: the till may sell it until `lease_until`. `suspended`: it must not. `returning`: the
    last sale day is over, and the goods come back. `proposed_return`: the quantity that the centre
    asks back, which the till may keep.
    """

    allotment_id = fields.UUID(required=True)
    lot_id = fields.UUID(required=True)
    lot_code = fields.String(required=True)
    variant_id = fields.UUID(required=True)
    best_before = fields.Date(required=True, allow_none=True)
    sell_by = fields.Date(required=True, allow_none=True)
    granted = fields.Integer(required=True)
    sold = fields.Integer(required=True)
    returned = fields.Integer(required=True)
    written_off = fields.Integer(required=True)
    status = fields.String(required=True)
    reason = fields.String(required=True, allow_none=True)
    lease_until = fields.AwareDateTime(required=True)
    proposed_return = fields.Integer(required=True)


class TillPriceResponse(ResponseSchema):
    """What a variant costs in a span of time."""

    price_fen = fields.Integer(required=True)
    price_unit = fields.Integer(required=True)
    valid_from = fields.AwareDateTime(required=True)
    valid_to = fields.AwareDateTime(required=True, allow_none=True)


class TillVariantResponse(ResponseSchema):
    """A variant with what it costs over the counter; null while it has no price there.

    `prices` has every span from now on, in order and without overlap. Where a span ends and no
    other begins, the variant has no price.
    """

    variant_id = fields.UUID(required=True)
    sku = fields.String(required=True)
    product_code = fields.String(required=True)
    category = fields.String(required=True)
    names = fields.Nested(NamesResponse, required=True)
    grade = fields.String(required=True)
    unit = fields.String(required=True)
    pack_quantity = fields.Integer(required=True)
    price_fen = fields.Integer(required=True, allow_none=True)
    price_unit = fields.Integer(required=True, allow_none=True)
    valid_to = fields.AwareDateTime(required=True, allow_none=True)
    next_price = fields.Nested(TillPriceResponse, required=True, allow_none=True)
    prices = fields.List(fields.Nested(TillPriceResponse), required=True)


class TillContactResponse(ResponseSchema):
    """What a till may sell, until when, and at which prices."""

    server_time = fields.AwareDateTime(required=True)
    device = fields.Nested(DeviceOfTillResponse, attribute="itself", required=True)
    revision = fields.Integer(required=True)
    lease_until = fields.AwareDateTime(required=True)
    lease_seconds = fields.Integer(required=True)
    allotments = fields.List(fields.Nested(ToldAllotmentResponse), required=True)
    variants = fields.List(fields.Nested(TillVariantResponse), required=True)


class GivenBackRequest(RequestSchema):
    """Goods that a till gave back, under an id that the till made."""

    return_id = fields.UUID(required=True)
    allotment_id = fields.UUID(required=True)
    quantity = quantity(required=True)


#: For the document: something that is no return gets an answer, too.
ANY_RETURN = {
    "anyOf": [
        {
            "type": "object",
            "properties": {
                "return_id": {"type": "string", "format": "uuid"},
                "allotment_id": {"type": "string", "format": "uuid"},
                "quantity": {"type": "integer", "minimum": 1, "maximum": MOST_QUANTITY},
            },
            "required": ["return_id", "allotment_id", "quantity"],
            "additionalProperties": False,
        },
        {
            "title": "anything else",
            "description": "Answered as disputed, unreadable; the others of the upload count.",
        },
    ]
}


class ReturnsRequest(RequestSchema):
    """Up to 100 returns; each is read by itself (`GivenBackRequest`) and counts once."""

    KEEPS_FLAWED = True
    returns = Parts(MOST_RETURNS, ANY_RETURN)


class ReturnAnswerResponse(ResponseSchema):
    """The result of one return: `accepted`, `duplicate`, or `disputed` with a reason."""

    return_id = fields.UUID(
        required=True, allow_none=True, metadata={"description": "null: it has no usable id."}
    )
    status = fields.String(required=True)
    reason = fields.String(required=True, allow_none=True)


class ReturnsResponse(ResponseSchema):
    """The result of each return, in the order of the request."""

    answers = fields.List(fields.Nested(ReturnAnswerResponse), required=True)
