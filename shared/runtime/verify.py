"""The part of every service in `farmgate verify`: differences within it, and facts to compare.

`GET …/verify` recomputes a service's balances from its own rows. `GET …/verify/facts` lists short
facts in pages; the command compares the facts of different services.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from marshmallow import fields, validate
from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.runtime.paging import LONGEST_CURSOR, page_of
from shared.runtime.schemas import RequestSchema, ResponseSchema

#: Facts of one page at most: a hundred thousand take a hundred requests.
LARGEST = 1000
#: Ids in one request at most.
MOST_IDS = 100
#: Seconds that one statement of a service's comparison may take.
COMPARING_SECONDS = 300
#: Differences that one service lists; more of them usually have one cause.
MOST_DIFFERENCES = 200


@dataclass(frozen=True)
class Difference:
    """Two values that should be equal and are not."""

    #: The name of the comparison that found it.
    check: str
    #: The things that were compared: names → ids.
    ids: Mapping[str, str]
    expected: str
    found: str
    #: One sentence for people.
    detail: str


@dataclass
class Report:
    """The result of one service's comparison of its own rows."""

    service: str
    #: Kinds of things that were checked → their numbers.
    checked: dict[str, int]
    differences: list[Difference] = field(default_factory=list)
    #: Remarks for the operator that are no differences.
    notes: list[str] = field(default_factory=list)


def read_snapshot(session: Session) -> None:
    """Make a new reading session read from one snapshot of the database.

    Without it, each statement would see another moment of a running system, and the comparison
    would find false differences. A transaction of SQLite always reads one snapshot.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        # Higher than the limit of other requests: it reads all rows, and the operator can wait.
        session.execute(text(f"SET LOCAL statement_timeout = '{COMPARING_SECONDS}s'"))


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


def facts_request(*kinds: str) -> type[RequestSchema]:
    """Return the schema of a request for a page of facts of one of these kinds."""
    return type(
        "FactsRequest",
        (RequestSchema,),
        {
            "__doc__": "The kind of facts, and the page.",
            "kind": fields.String(required=True, validate=validate.OneOf(kinds)),
            "ids": fields.List(
                fields.UUID(),
                data_key="id",
                load_default=list,
                validate=validate.Length(max=MOST_IDS),
                metadata={"description": "Ids to list; may be repeated. All when left out."},
            ),
            "cursor": fields.String(
                validate=validate.Length(min=1, max=LONGEST_CURSOR),
                metadata={"description": "`next` of the page before."},
            ),
            "limit": fields.Integer(load_default=LARGEST, validate=validate.Range(1, LARGEST)),
        },
    )


@dataclass(frozen=True)
class Fact:
    """One service's data of one thing, in a short form that the command compares."""

    id: UUID
    value: Mapping[str, Any]


class FactResponse(ResponseSchema):
    """This service's data of one thing, in a short form to compare."""

    id = fields.UUID(required=True)
    value = fields.Dict(keys=fields.String(), required=True)


FactPage = page_of(FactResponse)


def by_lot(lots: Sequence[tuple[UUID, int]]) -> dict[str, int]:
    """Return the quantity of each lot, summed over lines and locations."""
    total: dict[str, int] = {}
    for lot_id, quantity in lots:
        total[str(lot_id)] = total.get(str(lot_id), 0) + quantity
    return total
