"""Requests and answers of the tills' routes."""

from marshmallow import fields, validate

from services.orders.rules.till import MOST_ENTRIES, EntryKind, EntryStatus
from services.orders.schemas.entries import ANY_ENTRY, SALE_EXAMPLE
from shared.runtime.schemas import Parts
from shared.web import RequestSchema, ResponseSchema


class UploadEntriesRequest(RequestSchema):
    """Entries of a till's journal, in any order."""

    KEEPS_FLAWED = True

    format = fields.Integer(
        required=True,
        strict=True,
        validate=validate.OneOf((1,)),
        metadata={"description": "The version of the entries' format."},
    )
    entries = Parts(MOST_ENTRIES, ANY_ENTRY)


#: An upload, as the document shows it.
UPLOAD_EXAMPLE = {"format": 1, "entries": [SALE_EXAMPLE]}


class EntryAnswerResponse(ResponseSchema):
    """The result of one entry."""

    index = fields.Integer(
        required=True, metadata={"description": "The position in the upload, from 0."}
    )
    number = fields.Integer(required=True, allow_none=True)
    status = fields.String(
        required=True,
        metadata={
            "description": "accepted, duplicate, disputed (stored; an operator decides) "
            "or refused (not stored, since it has no usable number)."
        },
    )
    reason = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Why it is disputed, as a code; a duplicate repeats it."},
    )
    detail = fields.String(required=True, allow_none=True)


class UploadedEntriesResponse(ResponseSchema):
    """The result of an upload, entry by entry."""

    device_id = fields.UUID(required=True)
    epoch = fields.Integer(required=True)
    server_time = fields.AwareDateTime(required=True)
    answers = fields.List(fields.Nested(EntryAnswerResponse), required=True)


class AttentionItemResponse(ResponseSchema):
    """An entry that is, or was, disputed."""

    number = fields.Integer(required=True)
    kind = fields.Enum(EntryKind, by_value=True, required=True)
    status = fields.Enum(EntryStatus, by_value=True, required=True)
    reason = fields.String(required=True, allow_none=True)
    detail = fields.String(required=True, allow_none=True)
    since = fields.AwareDateTime(required=True, attribute="changed_at")


class AttentionResponse(ResponseSchema):
    """The state of a till's journal: its holes and its disputed entries."""

    device_id = fields.UUID(required=True)
    epoch = fields.Integer(required=True)
    highest = fields.Integer(
        required=True, metadata={"description": "The highest uploaded number; 0: none."}
    )
    holes = fields.List(
        fields.Integer(),
        required=True,
        metadata={"description": "Missing lower numbers; the lowest 100."},
    )
    items = fields.List(
        fields.Nested(AttentionItemResponse),
        required=True,
        metadata={"description": "The 200 entries that changed last."},
    )
