"""HTTP schemas of pages: the request for a page, and the answer with its items and a cursor."""

from functools import cache
from typing import Any, TypedDict

from marshmallow import Schema, fields, validate

from shared.runtime.clock import rfc3339
from shared.runtime.paging import LARGEST, LONGEST_CURSOR, USUAL
from shared.runtime.schemas import Moment, RequestSchema, ResponseSchema


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


class ChangesRequest(PageRequest):
    """A page of a list, or of what changed in it."""

    changed_since = Moment(
        metadata={
            "description": "Only what changed at this moment or later, the oldest change first. "
            "To mirror the list, read all pages; then begin again with `next_changed_since`."
        }
    )


class _QueryMoment(fields.AwareDateTime):
    """A moment that ends with Z: in a query string, the + of an offset would mean a space."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **options: Any) -> str | None:
        return None if value is None else rfc3339(value)


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
    return _page_schema(item, {})


@cache
def changes_page_of(item: type[Schema]) -> type[Schema]:
    """Return the schema of a page of `item`s in a list with a `ChangesRequest`."""
    following = _QueryMoment(
        required=True,
        allow_none=True,
        metadata={
            "description": "With `changed_since`: begin the next reading with it, once you have "
            "read all pages. It lies two minutes or more before this reading began, since a "
            "change shows only when its transaction ends: some items come twice, none is missed."
        },
    )
    return _page_schema(item, {"next_changed_since": following})


def _page_schema(item: type[Schema], more: dict[str, fields.Field[Any]]) -> type[Schema]:
    name = item.__name__.removesuffix("Response")
    return type(
        f"{name}Page",
        (ResponseSchema,),
        {
            "__doc__": f"A page of a list of {name}.",
            "items": fields.List(fields.Nested(item), required=True),
            "next": fields.String(
                required=True,
                allow_none=True,
                metadata={"description": "The cursor of the next page; null: there is none."},
            ),
            **more,
        },
    )
