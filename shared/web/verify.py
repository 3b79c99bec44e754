"""HTTP schemas of `GET …/verify` and `GET …/verify/facts`; see `shared.runtime.verify`."""

from collections.abc import Iterable

from marshmallow import fields, validate

from shared.runtime.paging import LONGEST_CURSOR
from shared.runtime.schemas import RequestSchema, ResponseSchema
from shared.web.paging import page_of

#: Facts of one page at most: a hundred thousand take a hundred requests.
LARGEST = 1000
#: Ids in one request at most.
MOST_IDS = 100


class DifferenceResponse(ResponseSchema):
    """Two values that should be equal and are not."""

    check = fields.String(required=True)
    ids = fields.Dict(keys=fields.String(), values=fields.String(), required=True)
    expected = fields.String(required=True)
    found = fields.String(required=True)
    detail = fields.String(required=True)


class VerifyResponse(ResponseSchema):
    """The result of a service's comparison of its own rows, all read from one snapshot."""

    service = fields.String(required=True)
    checked = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)
    differences = fields.List(fields.Nested(DifferenceResponse), required=True)
    notes = fields.List(fields.String(), required=True)


def facts_request(kinds: Iterable[str]) -> type[RequestSchema]:
    """Return the schema of a request for a page of facts of one of these kinds."""
    return type(
        "FactsRequest",
        (RequestSchema,),
        {
            "__doc__": "The kind of facts, and the page.",
            "kind": fields.String(required=True, validate=validate.OneOf(tuple(kinds))),
            "ids": fields.List(
                fields.UUID(),
                data_key="id",
                load_default=list,
                validate=validate.Length(max=MOST_IDS),
                metadata={"description": "Ids to list; may be repeated. All when left out."},
            ),
            "cursor": fields.String(
                validate=validate.Length(min=1, max=LONGEST_CURSOR),
                metadata={"description": "`next` of the previous page."},
            ),
            "limit": fields.Integer(load_default=LARGEST, validate=validate.Range(1, LARGEST)),
        },
    )


class FactResponse(ResponseSchema):
    """This service's data of one thing, in a short form to compare."""

    id = fields.UUID(required=True)
    value = fields.Dict(keys=fields.String(), required=True)


FactPage = page_of(FactResponse)
