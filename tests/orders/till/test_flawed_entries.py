"""An upload with an entry that is hardly JSON: that entry is disputed, its neighbours count."""

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.orders.models import TillEntry
from shared.runtime.database import Database
from tests.orders.till.device import Till, words
from tests.support.chance import examples

Builder = Callable[..., dict[str, Any]]
ReadEntry = Callable[[UUID], TillEntry]
Ask = Callable[[str], Any]
pytestmark = pytest.mark.usefixtures("station_price")

#: JSON that some readers take and others do not; with the sale's total it is no sale any more.
FLAWS = {
    "no number": '"total_fen": NaN',
    "endless": '"total_fen": -Infinity',
    "larger than any number": '"total_fen": 1e400',
    "said twice": '"total_fen": 13600, "total_fen": 1',
    "said three times": '"total_fen": 1, "total_fen": 13600, "total_fen": 13600',
    "digits": '"total_fen": ' + "9" * 5000,
    "half a character": '"total_fen": "\\ud800"',
    "NUL": '"total_fen": "\\u0000"',
    "a key with half a character": '"total_fen": 13600, "\\ud800": 1',
    "a key with NUL": '"total_fen": 13600, "\\u0000": 1',
    "a key within": '"total_fen": 13600, "x": {"\\udfff": {"\\u0000": ["\\ud800\\u0000"]}}',
    "deep": '"total_fen": ' + "[" * 900 + "]" * 900,
    "deeper than any stack": '"total_fen": ' + "[" * 100_000 + "]" * 100_000,
    "deep objects": '"total_fen": ' + '{"a":' * 2000 + "1" + "}" * 2000,
}


def send(till: Till, client: FlaskClient, *entries: str) -> Any:
    """Upload entries as they are written."""
    body = f'{{"format": 1, "entries": [{", ".join(entries)}]}}'
    headers = till.headers | {"Content-Type": "application/json"}
    return client.post("/api/orders/v1/till/entries", data=body.encode(), headers=headers)


def flawed(sale: dict[str, Any], flaw: str) -> str:
    """Write a sale with a flaw in place of its total."""
    return json.dumps(sale).replace('"total_fen": 13600', flaw)


@pytest.mark.parametrize("name", FLAWS)
def test_a_flawed_entry_is_kept_as_unreadable_and_its_neighbours_are_booked(
    name: str, till: Till, client: FlaskClient, an_entry: Builder, read_entry: ReadEntry, ask: Ask
) -> None:
    bad = flawed(an_entry("sale", 2), FLAWS[name])
    good = [json.dumps(an_entry("sale", number)) for number in (1, 3)]

    answer = send(till, client, good[0], bad, good[1])
    again = send(till, client, bad)

    assert answer.status_code == 200, answer.text
    assert words(answer.json["answers"]) == ["accepted", "disputed unreadable", "accepted"]
    assert words(again.json["answers"]) == ["duplicate unreadable"]
    assert json.dumps(read_entry(till.id_of(2)).body, ensure_ascii=False).encode()
    assert ask("station-sales?status=disputed")["items"][0]["number"] == 2
    assert ask("cash/custody")["items"][0]["held_fen"] == 2 * 13_600


@pytest.mark.parametrize(
    "key", ['"contact"', '"con\\u0000tact"', '"contact\\ud800"', '"x": 1, "contact": {}, "contact"']
)
def test_no_flaw_smuggles_a_buyer_into_what_is_kept(
    key: str, till: Till, client: FlaskClient, an_entry: Builder, read_entry: ReadEntry
) -> None:
    text = json.dumps(an_entry("order", 1), ensure_ascii=False).replace('"contact"', key)

    answer = send(till, client, text.replace('"lines"', '"lynes"'))

    assert words(answer.json["answers"]) == ["disputed unreadable"]
    assert "卓玛" not in json.dumps(read_entry(till.id_of(1)).body, ensure_ascii=False)


def test_an_upload_that_says_itself_twice_is_refused_by_the_key(
    till: Till, client: FlaskClient, an_entry: Builder
) -> None:
    sale = json.dumps(an_entry("sale", 1))

    answer = send(till, client, f'{sale}], "entries": [{sale}')

    assert (answer.status_code, answer.json["type"]) == (400, "/problems/unreadable-body")
    assert "'entries' appears twice" in answer.json["detail"]


VALUES = st.sampled_from(
    ["NaN", "1e400", '"\\ud800"', '"\\u0000"', "[" * 70 + "]" * 70, '{"a":1,"a":2}', "-0", "1.5"]
) | st.text(max_size=6).map(json.dumps)
FIELDS = st.sampled_from(
    ["kind", "clerk", "shift", "device_time", "lines", "total_fen", "payment", "voided", "x"]
)


@settings(
    max_examples=examples(30),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(changes=st.lists(st.tuples(FIELDS, VALUES), min_size=1, max_size=3))
def test_no_entry_of_any_json_fails_the_upload(
    changes: list[tuple[str, str]],
    till: Till,
    client: FlaskClient,
    an_entry: Builder,
    database: Database,
) -> None:
    """Each example takes the next two numbers of one journal."""
    number = till.attention()["highest"] + 1
    parts = {name: json.dumps(value) for name, value in an_entry("sale", number).items()}
    pairs = [*(parts | dict(changes)).items(), *changes[1:]]
    bad = "{" + ", ".join(f"{json.dumps(name)}: {value}" for name, value in pairs) + "}"

    answer = send(till, client, bad, json.dumps(an_entry("sale", number + 1)))

    assert answer.status_code == 200, answer.text
    assert [each["number"] for each in answer.json["answers"]] == [number, number + 1]
    assert words(answer.json["answers"])[1] == "accepted"
