"""People are told."""

from marshmallow import fields

from shared.events.base import Event


class MessageSent(Event):
    """A message about a fact was handed to its channel."""

    routing_key = "notifications.message_sent.v1"
    subject = "message_id"
    feed_only = True

    message_id = fields.UUID(required=True)
    template = fields.String(required=True)
    cause_id = fields.UUID(required=True)


class MessageFailed(Event):
    """A message could not be handed to any channel and will not be tried again."""

    routing_key = "notifications.message_failed.v1"
    subject = "message_id"
    feed_only = True

    message_id = fields.UUID(required=True)
    template = fields.String(required=True)
    cause_id = fields.UUID(required=True)
    reason = fields.String(required=True)
