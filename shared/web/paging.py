"""HTTP schemas of pages: the request for a page, and the answer with its items and a cursor."""

from functools import cache
from typing import Any, TypedDict

from marshmallow import Schema, fields, validate

from shared.runtime.paging import LARGEST, LONGEST_CURSOR, USUAL
from shared.runtime.schemas import RequestSchema, ResponseSchema


class PageRequest(RequestSchema):
    """A page of a list: the first one, or the one after `cursor`."""

    cursor = fields.String(
        validate=validate.Length(min=1, max=LONGEST_CURSOR),
        metadata={"description": "`next` of the previous page; leave it out for the first page."},
    )
    limit = fields.Integer(
        load_default=USUAL,
        validate=validate.Range(1, LARGEST),
        metadata={"description": "Items of the page at most."},
    )


class PageArguments(TypedDict):
    """The arguments of `page` from a `PageRequest`."""

    limit: int
    cursor: str | None


def page_arguments(query: dict[str, Any]) -> PageArguments:
    """Remove cursor and limit from a query and return them; the filters stay in the query."""
    return {"limit": query.pop("limit"), "cursor": query.pop("cursor", None)}


@cache
def page_of(item: type[Schema]) -> type[Schema]:
    """Return the schema of a page of `item`s; `ThingResponse` makes `ThingPage`."""
    name = f"{item.__name__.removesuffix('Response')}Page"
    return type(
        name,
        (ResponseSchema,),
        {
            "__doc__": f"A page of a list of {item.__name__.removesuffix('Response')}.",
            "items": fields.List(fields.Nested(item), required=True),
            "next": fields.String(
                required=True,
                allow_none=True,
                metadata={"description": "The cursor of the next page; null: there is none."},
            ),
        },
    )
