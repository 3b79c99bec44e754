"""Lists come in pages that neither skip nor repeat, whatever is added meanwhile."""

import base64
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from marshmallow import fields
from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.messaging.tables import Outbox
from shared.runtime import clock
from shared.runtime.database import Database
from shared.runtime.ids import new_id
from shared.runtime.paging import MalformedCursor, Page, page
from shared.runtime.schemas import ResponseSchema
from shared.runtime.tables import IdempotencyKey
from shared.web.paging import page_of
from tests.support.probe import Effect

Headers = Callable[..., dict[str, str]]
THINGS = "/api/things/v1/things"


@pytest.fixture
def add(client: FlaskClient, token: Headers) -> Callable[[str], None]:
    def post(name: str) -> None:
        body = {"name": name, "grams": len(name)}
        assert client.post(THINGS, json=body, headers=token("things:write")).status_code == 201

    return post


@pytest.fixture
def pages(client: FlaskClient, token: Headers) -> Callable[..., list[list[str]]]:
    """Read a list to its end; between two pages something happens."""

    def read(limit: int, between: Callable[[], None] = lambda: None, **query: Any) -> Any:
        seen, cursor = [], None
        while True:
            asked = {"limit": limit, **query} | ({"cursor": cursor} if cursor else {})
            answer = client.get(THINGS, query_string=asked, headers=token("things:read")).json
            seen.append([item["name"] for item in answer["items"]])
            cursor = answer["next"]
            if cursor is None:
                return seen
            between()

    return read


def test_every_row_is_on_one_page(
    add: Callable[[str], None], pages: Callable[..., list[list[str]]]
) -> None:
    for number in range(5):
        add(f"thing {number}")

    assert pages(2) == [["thing 4", "thing 3"], ["thing 2", "thing 1"], ["thing 0"]]


def test_a_full_last_page_has_no_next(
    add: Callable[[str], None], pages: Callable[..., list[list[str]]]
) -> None:
    for name in ("a", "b"):
        add(name)

    assert pages(2) == [["b", "a"]]


def test_a_row_added_meanwhile_shifts_nothing(
    add: Callable[[str], None], pages: Callable[..., list[list[str]]]
) -> None:
    for name in ("a", "b", "c"):
        add(name)

    assert pages(1, between=lambda: add("new")) == [["c"], ["b"], ["a"]]


def test_a_filter_holds_on_every_page(
    add: Callable[[str], None], pages: Callable[..., list[list[str]]]
) -> None:
    for name in ("a", "bbb", "c", "ddd", "eee"):
        add(name)

    assert pages(2, heavier_than=2) == [["eee", "ddd"], ["bbb"]]


@pytest.mark.parametrize("limit", ["0", "201", "-1", "x", "1.5", "", "99999999999999999999"])
def test_a_page_size_out_of_bounds_is_refused(
    client: FlaskClient, token: Headers, limit: str
) -> None:
    answer = client.get(f"{THINGS}?limit={limit}", headers=token("things:read"))

    assert answer.status_code == 422
    assert list(answer.json["errors"]) == ["limit"]


@pytest.mark.parametrize("cursor", ["x", "a" * 400, "%00", "王", "AAAA", "===", "a b", "%F0%9F"])
def test_a_cursor_nobody_gave_out_is_refused(
    client: FlaskClient, token: Headers, cursor: str
) -> None:
    answer = client.get(f"{THINGS}?cursor={cursor}", headers=token("things:read"))

    assert answer.status_code == 422


def test_a_changed_cursor_is_refused(
    client: FlaskClient, token: Headers, add: Callable[[str], None]
) -> None:
    for name in ("a", "b"):
        add(name)
    given = client.get(f"{THINGS}?limit=1", headers=token("things:read")).json["next"]
    raw = bytearray(base64.urlsafe_b64decode(given + "=" * (-len(given) % 4)))
    raw[-1] = ord("0") if raw[-1] != ord("0") else ord("1")
    changed = base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("=")

    answer = client.get(f"{THINGS}?cursor={changed}", headers=token("things:read"))

    assert (answer.status_code, answer.json["type"]) == (422, "/problems/malformed-cursor")


def an_event(session: Session, number: int) -> None:
    session.add(
        Outbox(
            event_id=new_id(),
            type="t",
            subject="s",
            sequence=number,
            body=b"",
            correlation_id="c",
            recorded_at=clock.now(),
        )
    )


def test_pages_follow_any_unique_column_in_either_direction(database: Database) -> None:
    with database.sessions.begin() as session:
        for number in range(1, 6):
            an_event(session, number)

    with database.readers() as session:
        rising = page(session, select(Outbox), Outbox.id, limit=3)
        then = page(session, select(Outbox), Outbox.id, limit=3, cursor=rising.next)
        falling = page(session, select(Outbox), Outbox.id, limit=3, descending=True)

    assert [row.sequence for row in rising.items] == [1, 2, 3]
    assert [row.sequence for row in then.items] == [4, 5]
    assert [row.sequence for row in falling.items] == [5, 4, 3]


def test_a_cursor_of_another_list_is_refused(database: Database) -> None:
    with database.sessions.begin() as session:
        for number in range(1, 6):
            an_event(session, number)

    with database.readers() as session:
        cursor = page(session, select(Outbox), Outbox.id, limit=1).next
        for column, descending in ((Outbox.id, True), (Outbox.event_id, False)):
            with pytest.raises(MalformedCursor):
                page(session, select(Outbox), column, limit=1, cursor=cursor, descending=descending)


def test_a_page_s_schema_is_made_once_and_named_for_its_items() -> None:
    class StoneResponse(ResponseSchema):
        name = fields.String()

    schema = page_of(StoneResponse)

    assert schema is page_of(StoneResponse)
    assert schema.__name__ == "StonePage"
    assert schema().dump(Page([{"name": "a"}], "x")) == {"items": [{"name": "a"}], "next": "x"}


def test_only_columns_that_can_be_written_as_text_are_asked_for() -> None:
    """What pages are made of: ids, serials and names."""
    kinds = (Effect.effect_id, Outbox.id, IdempotencyKey.key)

    assert [column.type.python_type for column in kinds] == [UUID, int, str]
