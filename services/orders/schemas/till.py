"""What the routes of tills take and give."""

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
        metadata={"description": "The form in which the entries are written."},
    )
    entries = Parts(MOST_ENTRIES, ANY_ENTRY)


#: An upload, as the document shows it.
UPLOAD_EXAMPLE = {"format": 1, "entries": [SALE_EXAMPLE]}


class EntryAnswerResponse(ResponseSchema):
    """What became of one entry."""

    index = fields.Integer(
        required=True, metadata={"description": "Its place in the upload, from 0."}
    )
    number = fields.Integer(required=True, allow_none=True)
    status = fields.String(
        required=True,
        metadata={
            "description": "accepted, duplicate, disputed (kept, and decided by an operator) "
            "or refused (it has no usable number and is not kept)."
        },
    )
    reason = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Why it is disputed, as a code; also of a duplicate."},
    )
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
    kind = fields.Enum(EntryKind, by_value=True, required=True)
    status = fields.Enum(EntryStatus, by_value=True, required=True)
    reason = fields.String(required=True, allow_none=True)
    detail = fields.String(required=True, allow_none=True)
    since = fields.AwareDateTime(required=True, attribute="changed_at")


class AttentionResponse(ResponseSchema):
    """What a till should know of its journal."""

    device_id = fields.UUID(required=True)
    epoch = fields.Integer(required=True)
    highest = fields.Integer(
        required=True, metadata={"description": "The highest number that has come; 0: none has."}
    )
    holes = fields.List(
        fields.Integer(),
        required=True,
        metadata={"description": "Lower numbers that have not come, the lowest 100."},
    )
    items = fields.List(
        fields.Nested(AttentionItemResponse),
        required=True,
        metadata={"description": "The 200 that changed last."},
    )
