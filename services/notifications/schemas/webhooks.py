"""Requests and answers of partners' webhook endpoints."""

from typing import Any

from marshmallow import ValidationError, fields, validate, validates_schema

from services.notifications.rules.feed import MOST_PATTERNS
from services.notifications.rules.webhooks import (
    DELIVERY_STATUSES,
    ENDPOINT_STATUSES,
    LONGEST_URL,
    MOST_OVERLAP_HOURS,
    OVERLAP_HOURS,
)
from services.notifications.schemas.events import PATTERN
from shared import web
from shared.runtime.paging import LONGEST_CURSOR
from shared.runtime.schemas import Moment, Text, matching
from shared.web.paging import PageRequest, page_of

#: A partner's name.
PARTNER = "[^\\x00-\\x1f\\x7f]{1,255}"
LONGEST_DESCRIPTION = 200


def _url(**options: Any) -> fields.String:
    return matching(
        f"https?://[!-~]{{1,{LONGEST_URL - 8}}}",
        "An https URL, which Farmgate posts events to; http only in the operator's own networks.",
        **options,
    )


def _types(**options: Any) -> fields.List:
    return fields.List(
        matching(PATTERN, "An event type, or a pattern of types such as `orders.*`."),
        validate=validate.Length(max=MOST_PATTERNS),
        metadata={"description": "Patterns of event types; empty: all of your subscription."},
        **options,
    )


def _cursor(description: str) -> fields.String:
    return matching(f"[A-Za-z0-9_-]{{1,{LONGEST_CURSOR}}}", description)


class ListEndpointsRequest(PageRequest):
    """Whose endpoints are asked for."""

    partner = matching(PARTNER, "Only this partner's endpoints.")


class CreateEndpointRequest(web.RequestSchema):
    """A new endpoint."""

    url = _url(required=True)
    types = _types(load_default=list)
    description = Text(LONGEST_DESCRIPTION, load_default=None, allow_none=True)
    after = _cursor("Begin with the events behind this cursor; left out: only new events.")
    partner = matching(PARTNER, "Another partner's endpoint; needs the scope events:operate.")


class ChangeEndpointRequest(web.RequestSchema):
    """What changes; everything else stays."""

    url = _url()
    types = _types()
    description = Text(LONGEST_DESCRIPTION, allow_none=True)


class RotateSecretRequest(web.RequestSchema):
    """How long the secret before this one signs, too."""

    overlap_hours = fields.Integer(
        strict=True,
        load_default=OVERLAP_HOURS,
        validate=validate.Range(0, MOST_OVERLAP_HOURS),
        metadata={"description": "Hours in which both secrets sign each message."},
    )


class ListDeliveriesRequest(PageRequest):
    """Which deliveries are asked for."""

    status = fields.String(validate=validate.OneOf(DELIVERY_STATUSES))
    type = matching("[a-z0-9_.]{1,255}", "An event type.")
    subject = matching("[!-~]{1,300}", "A subject, such as `order/0198…`.")


class ResendRequest(web.RequestSchema):
    """The events to send once more: from a cursor or a moment, up to another one.

    Without an end all events since then are sent.
    """

    after = _cursor("From the events behind this cursor.")
    until = _cursor("Up to the event of this cursor.")
    since = Moment(metadata={"description": "From the events that came at this moment or later."})
    before = Moment(metadata={"description": "Up to the events that came before this moment."})

    @validates_schema
    def check_start(self, resend_in: dict[str, Any], **_: Any) -> None:
        """Refuse a range with no start or with two.

        Raises:
            ValidationError: there is neither `after` nor `since`, or both.
        """
        if ("after" in resend_in) == ("since" in resend_in):
            raise ValidationError("Send either after or since.", "since")


class EndpointResponse(web.ResponseSchema):
    """A webhook endpoint."""

    endpoint_id = fields.UUID(attribute="id", required=True)
    partner = fields.String(attribute="subscription.partner", required=True)
    url = fields.String(required=True)
    types = fields.List(fields.String(), required=True)
    description = fields.String(required=True, allow_none=True)
    status = fields.String(
        required=True,
        validate=validate.OneOf(ENDPOINT_STATUSES),
        metadata={
            "description": "`suspended`: by request, or every attempt failed for three days; "
            "`disabled`: the server answered 410. Both go on after `resume`, with nothing left out."
        },
    )
    reason = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Why it is not active: `asked`, `failing` or `gone`."},
    )
    position = fields.Integer(
        required=True, metadata={"description": "Deliveries exist for the events up to this one."}
    )
    failing_since = fields.AwareDateTime(
        required=True,
        allow_none=True,
        metadata={"description": "The first failure since the last success."},
    )
    paused_until = fields.AwareDateTime(
        required=True,
        allow_none=True,
        metadata={"description": "The next attempt, while the server seems to be down."},
    )
    previous_secret_until = fields.AwareDateTime(
        attribute="previous_until",
        required=True,
        allow_none=True,
        metadata={"description": "Until when the secret before the last change signs, too."},
    )
    created_at = fields.AwareDateTime(required=True)


class SecretResponse(web.ResponseSchema):
    """The secret that signs an endpoint's messages."""

    endpoint_id = fields.UUID(required=True)
    secret = fields.String(
        required=True, metadata={"description": "For a library of Standard Webhooks: `whsec_…`."}
    )
    previous_secret_until = fields.AwareDateTime(required=True, allow_none=True)


class NewEndpointResponse(EndpointResponse):
    """A new endpoint, with its secret."""

    secret = fields.String(required=True, metadata={"description": "Keep it where only you read."})


class DeliveryAttemptResponse(web.ResponseSchema):
    """One attempt of a delivery."""

    at = fields.String(required=True, metadata={"description": "RFC 3339, the end of the attempt."})
    status = fields.Integer(
        required=True, allow_none=True, metadata={"description": "HTTP; null: no answer."}
    )
    reason = fields.String(
        required=True,
        allow_none=True,
        metadata={
            "description": "null: a success; else `http_500`, `gone`, `redirect`, `timeout`, "
            "`connection_failed`, `tls_failed`, `name_not_found`, `address_not_allowed`, "
            "`answer_malformed`."
        },
    )
    milliseconds = fields.Integer(
        required=True, metadata={"description": "Until the head of the answer was there."}
    )


class DeliveryResponse(web.ResponseSchema):
    """One event for an endpoint, with its newest attempts."""

    delivery_id = fields.UUID(attribute="id", required=True)
    endpoint_id = fields.UUID(required=True)
    position = fields.Integer(
        required=True, allow_none=True, metadata={"description": "In your feed; null: a ping."}
    )
    event_id = fields.UUID(required=True, metadata={"description": "Also the `webhook-id`."})
    type = fields.String(required=True)
    subject = fields.String(required=True)
    status = fields.String(required=True, validate=validate.OneOf(DELIVERY_STATUSES))
    attempts = fields.Integer(
        required=True, metadata={"description": "Since it was last asked for."}
    )
    tries = fields.List(
        fields.Nested(DeliveryAttemptResponse),
        required=True,
        metadata={"description": "The newest attempts, the oldest of them first."},
    )
    next_try_at = fields.AwareDateTime(
        required=True,
        allow_none=True,
        metadata={
            "description": "null: it ended, its endpoint pauses or is not active, or an earlier "
            "event of its subject comes first."
        },
    )
    created_at = fields.AwareDateTime(required=True)
    finished_at = fields.AwareDateTime(required=True, allow_none=True)


class ResendResponse(web.ResponseSchema):
    """The range that is being sent once more."""

    endpoint_id = fields.UUID(attribute="id", required=True)
    after = fields.Integer(
        attribute="resend_after", required=True, metadata={"description": "Behind this position."}
    )
    until = fields.Integer(
        attribute="resend_until",
        required=True,
        metadata={"description": "Up to this position; not more than `after`: nothing to send."},
    )


EndpointPage = page_of(EndpointResponse)
DeliveryPage = page_of(DeliveryResponse)
