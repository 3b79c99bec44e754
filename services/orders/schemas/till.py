"""What the routes of tills and stations take and give."""

from typing import Any

from marshmallow import ValidationError, fields, validate

from services.orders.rules.till import MOST_ENTRIES
from shared.web import RequestSchema, ResponseSchema


class Entries(fields.Field[list[Any]]):
    """Entries of a journal, unread: one that is not as it must be stops none of the others."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **_: Any) -> list[Any]:
        if not isinstance(value, list) or not 1 <= len(value) <= MOST_ENTRIES:
            raise ValidationError(f"Must be a list of 1 to {MOST_ENTRIES} entries.")
        return value


class UploadEntriesRequest(RequestSchema):
    """Entries of a till's journal, in any order."""

    format = fields.Integer(required=True, strict=True, validate=validate.OneOf((1,)))
    entries = Entries(required=True)


class EntryAnswerResponse(ResponseSchema):
    """What became of one entry."""

    index = fields.Integer(required=True)
    number = fields.Integer(required=True, allow_none=True)
    status = fields.String(required=True)
    reason = fields.String(required=True, allow_none=True)
    detail = fields.String(required=True, allow_none=True)


class UploadedEntriesResponse(ResponseSchema):
    """What became of an upload, entry by entry."""

    device_id = fields.UUID(required=True)
    epoch = fields.Integer(required=True)
    server_time = fields.AwareDateTime(required=True)
    answers = fields.List(fields.Nested(EntryAnswerResponse), required=True)


class AttentionItemResponse(ResponseSchema):
    """An entry that is, or was, disputed."""

    number = fields.Integer(required=True)
    kind = fields.String(required=True)
    status = fields.String(required=True)
    reason = fields.String(required=True, allow_none=True)
    detail = fields.String(required=True, allow_none=True)
    since = fields.AwareDateTime(required=True, attribute="changed_at")


class AttentionResponse(ResponseSchema):
    """What a till should know of its journal."""

    device_id = fields.UUID(required=True)
    epoch = fields.Integer(required=True)
    highest = fields.Integer(required=True)
    holes = fields.List(fields.Integer(), required=True)
    items = fields.List(fields.Nested(AttentionItemResponse), required=True)
