"""What every service says for `farmgate verify`: its own differences, and facts to compare.

`GET …/verify` rebuilds a service's balances from its own rows. `GET …/verify/facts` gives short
facts, page by page, so that the command can compare what the services hold of the same things.
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

#: Facts of one page, at most: a hundred thousand come in a hundred requests.
LARGEST = 1000
#: Facts that may be asked for by their ids in one request.
MOST_IDS = 100
#: Seconds that a service's comparison of its own rows may take per statement.
COMPARING_SECONDS = 300
#: Differences that one service lists; more than that is one fault many times.
MOST_DIFFERENCES = 200


@dataclass(frozen=True)
class Difference:
    """Two things that should agree and do not."""

    #: Which comparison found it, as a word.
    check: str
    #: What it is about: names → ids.
    ids: Mapping[str, str]
    expected: str
    found: str
    #: One sentence for people.
    detail: str


@dataclass
class Report:
    """What one service found when it compared its own rows."""

    service: str
    #: What was looked at → how many there were.
    checked: dict[str, int]
    differences: list[Difference] = field(default_factory=list)
    #: What is no difference, and worth knowing.
    notes: list[str] = field(default_factory=list)


def one_moment(session: Session) -> None:
    """Let all that a fresh reading session reads be of one moment.

    Read statement by statement, a running system would show differences that never were.
    SQLite's transactions are such by themselves.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        # It reads everything, and who asks for it has time: requests' usual limit is far lower.
        session.execute(text(f"SET LOCAL statement_timeout = '{COMPARING_SECONDS}s'"))


class DifferenceResponse(ResponseSchema):
    """Two things that should agree and do not."""

    check = fields.String(required=True)
    ids = fields.Dict(keys=fields.String(), values=fields.String(), required=True)
    expected = fields.String(required=True)
    found = fields.String(required=True)
    detail = fields.String(required=True)


class VerifyResponse(ResponseSchema):
    """What a service found when it compared its own rows, all read at one moment."""

    service = fields.String(required=True)
    checked = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)
    differences = fields.List(fields.Nested(DifferenceResponse), required=True)
    notes = fields.List(fields.String(), required=True)


def facts_request(*kinds: str) -> type[RequestSchema]:
    """Return the schema that asks for a page of facts of one of these kinds."""
    return type(
        "FactsRequest",
        (RequestSchema,),
        {
            "__doc__": "Which facts, and which page of them.",
            "kind": fields.String(required=True, validate=validate.OneOf(kinds)),
            "ids": fields.List(
                fields.UUID(),
                data_key="id",
                load_default=list,
                validate=validate.Length(max=MOST_IDS),
                metadata={"description": "Only these; may be repeated. All when left out."},
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
    """What one service holds of one thing, in few words."""

    id: UUID
    value: Mapping[str, Any]


class FactResponse(ResponseSchema):
    """What this service holds of one thing, in few words."""

    id = fields.UUID(required=True)
    value = fields.Dict(keys=fields.String(), required=True)


FactPage = page_of(FactResponse)


def by_lot(lots: Sequence[tuple[UUID, int]]) -> dict[str, int]:
    """Return how much was taken of each lot, summed over lines and places."""
    total: dict[str, int] = {}
    for lot_id, quantity in lots:
        total[str(lot_id)] = total.get(str(lot_id), 0) + quantity
    return total
