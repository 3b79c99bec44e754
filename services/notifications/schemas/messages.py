"""Requests and answers of notifications' HTTP API."""

from marshmallow import fields, validate

from services.notifications.rules.messages import CHANNELS, LANGUAGES, STATUSES, TEMPLATES
from shared import web
from shared.runtime.schemas import matching
from shared.web.paging import PageRequest, page_of

#: A time of day as `HH:MM`.
CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9]"
#: Whose messages or preferences; no control characters, which databases refuse.
PERSON = "(buyer|enterprise|order):[^\\x00-\\x1f\\x7f]{1,285}"


class ListMessagesRequest(PageRequest):
    """Which messages an operator asks for."""

    order_id = fields.UUID(metadata={"description": "Messages about this order."})
    recipient = matching(
        PERSON, "`buyer:<id>`, `enterprise:<id>`, or `order:<order id>` for a guest."
    )
    status = fields.String(validate=validate.OneOf(STATUSES))


class ListInboxRequest(PageRequest):
    """Which of one's own messages are asked for, and in which language."""

    unread = fields.Boolean(metadata={"description": "true: only unread messages."})
    language = fields.String(
        validate=validate.OneOf(LANGUAGES),
        metadata={"description": "The language of the texts; left out: that of the preferences."},
    )


class MessageResponse(web.ResponseSchema):
    """One message and its status. Only its recipient can read the text."""

    message_id = fields.UUID(attribute="id", required=True)
    cause_id = fields.UUID(required=True, metadata={"description": "Id of the event."})
    recipient = fields.String(
        attribute="person",
        required=True,
        allow_none=True,
        metadata={"description": "null: the buyer is not known yet."},
    )
    order_id = fields.UUID(required=True)
    template = fields.String(required=True, validate=validate.OneOf(tuple(TEMPLATES)))
    status = fields.String(required=True, validate=validate.OneOf(STATUSES))
    reason = fields.String(required=True, allow_none=True)
    attempts = fields.Integer(required=True)
    taken_by = fields.List(fields.String(), required=True)
    happened_at = fields.AwareDateTime(required=True)
    due_at = fields.AwareDateTime(required=True, allow_none=True)
    sent_at = fields.AwareDateTime(required=True, allow_none=True)
    read_at = fields.AwareDateTime(required=True, allow_none=True)


class AttemptResponse(web.ResponseSchema):
    """One attempt to hand a message to its channels."""

    number = fields.Integer(required=True)
    at = fields.AwareDateTime(required=True)
    results = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        required=True,
        metadata={"description": "Per channel `sent`, or the reason why not."},
    )


class MessageWithTriesResponse(MessageResponse):
    """One message with every attempt to send it."""

    tries = fields.List(fields.Nested(AttemptResponse), required=True)


class InboxMessageResponse(web.ResponseSchema):
    """One message as its person reads it."""

    message_id = fields.UUID(required=True)
    order_id = fields.UUID(required=True)
    template = fields.String(required=True)
    language = fields.String(required=True)
    title = fields.String(required=True)
    body = fields.String(required=True)
    happened_at = fields.AwareDateTime(required=True)
    read_at = fields.AwareDateTime(required=True, allow_none=True)


class PreferencesRequest(web.RequestSchema):
    """All preferences of a person."""

    language = fields.String(
        required=True,
        allow_none=True,
        validate=validate.OneOf(LANGUAGES),
        metadata={"description": "null: the language given with each order."},
    )
    quiet_from = matching(
        CLOCK, "HH:MM in Asia/Shanghai; equal to quiet_to: no quiet hours.", required=True
    )
    quiet_to = matching(CLOCK, "HH:MM in Asia/Shanghai.", required=True)
    channels = fields.List(
        fields.String(validate=validate.OneOf(CHANNELS)),
        required=True,
        validate=validate.Length(max=len(CHANNELS)),
        metadata={"description": "Channels besides the inbox, which is always on."},
    )
    daily_cap = fields.Integer(
        strict=True,
        required=True,
        allow_none=True,
        validate=validate.Range(0, 1000),
        metadata={"description": "Messages a day besides the inbox; null: the operator's setting."},
    )


class PreferencesResponse(web.ResponseSchema):
    """The preferences of a person."""

    person = fields.String(required=True)
    language = fields.String(required=True, allow_none=True)
    quiet_from = fields.String(required=True)
    quiet_to = fields.String(required=True)
    channels = fields.List(fields.String(), required=True)
    daily_cap = fields.Integer(required=True, allow_none=True)


MessagePage = page_of(MessageResponse)
InboxPage = page_of(InboxMessageResponse)
