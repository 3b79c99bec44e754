"""Requests and answers about enterprises and their members."""

from typing import Any

from marshmallow import ValidationError, fields, post_load, validate

from services.catalog.schemas.values import NamesRequest, NamesResponse, code, whole
from shared.runtime import phones
from shared.runtime.schemas import Day, Text
from shared.web import RequestSchema, ResponseSchema
from shared.web.paging import PageRequest

ROLES = ("producer", "cooperative", "company", "centre", "station")
LANGUAGES = ("zh", "bo", "en")


class ContactRequest(RequestSchema):
    """How to reach an enterprise; passed on, never shown again."""

    phone = Text(40, load_default=None, allow_none=True)
    language = fields.String(required=True, validate=validate.OneOf(LANGUAGES))

    @post_load
    def normalise(self, contact: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Write the phone number the international way, and refuse what is none."""
        if contact["phone"] is None:
            return contact
        try:
            return contact | {"phone": phones.e164(contact["phone"])}
        except phones.NotAPhone as error:
            raise ValidationError(str(error), "phone") from error


class RegisterEnterpriseRequest(RequestSchema):
    """A farmer, cooperative or company that will bring lots."""

    code = code(required=True)
    names = fields.Nested(NamesRequest, required=True)
    roles = fields.List(
        fields.String(validate=validate.OneOf(ROLES)),
        required=True,
        validate=validate.Length(min=1, max=len(ROLES)),
    )
    region_code = Text(20, load_default=None, allow_none=True)
    licence_no = Text(60, load_default=None, allow_none=True)
    contact = fields.Nested(ContactRequest, load_default=None, allow_none=True)


#: A farmer, as the document shows it.
ENTERPRISE_EXAMPLE = {
    "code": "P-BAHE-001",
    "names": {"zh": "巴河镇 扎西"},
    "roles": ["producer"],
    "region_code": "540421103",
    "contact": {"phone": "+86 138 0013 8001", "language": "bo"},
}


class AddMemberRequest(RequestSchema):
    """A producer's share in a cooperative, in basis points of what it splits."""

    member_id = fields.UUID(required=True)
    share_bp = whole(1, 10_000, required=True)
    valid_from = Day(required=True)
    valid_to = Day(load_default=None, allow_none=True)


class ListEnterprisesRequest(PageRequest):
    """Which enterprises to show."""

    code = Text(40)


class MembershipResponse(ResponseSchema):
    """A producer's share in a cooperative."""

    membership_id = fields.UUID(attribute="id", required=True)
    member_id = fields.UUID(required=True)
    share_bp = fields.Integer(required=True)
    valid_from = fields.Date(required=True)
    valid_to = fields.Date(required=True, allow_none=True)


class EnterpriseResponse(ResponseSchema):
    """An enterprise with its members."""

    enterprise_id = fields.UUID(attribute="id", required=True)
    code = fields.String(required=True)
    names = fields.Nested(NamesResponse, required=True)
    roles = fields.List(fields.String(), required=True)
    region_code = fields.String(required=True, allow_none=True)
    licence_no = fields.String(required=True, allow_none=True)
    status = fields.String(required=True)
    memberships = fields.List(fields.Nested(MembershipResponse), required=True)
