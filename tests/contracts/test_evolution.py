"""Contracts change without breaking whoever reads them, or the change is refused."""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta

from farmgate import contracts
from farmgate.contracts import breaks, described, main, schema_of, written
from shared.events import BY_TYPE, OrderConfirmed, Part, Quantity, SiteOpened
from shared.events.description import EXAMPLES, read_field
from shared.messaging.envelope import Event, contract_of, decode, encode, load_data, subject_of

#: Of events that were recorded once; and of today's, which documents show.
RECORDED = [
    *sorted((Path(__file__).parent / "examples").glob("*.json")),
    *sorted(EXAMPLES.glob("*.json")),
]
KEY = "orders.order_noted.v1"


# What was recorded: every example that was ever written can still be read.


def test_every_event_type_has_a_recorded_example() -> None:
    missing = BY_TYPE.keys() - {path.stem for path in RECORDED}

    assert not missing, (
        f"No example of {sorted(missing)}: run `python -m tests.support.published` "
        "and commit what it writes"
    )


def encoded(event: Event[Any]) -> bytes:
    return encode(
        event.data,
        event_id=event.event_id,
        sequence=event.sequence,
        time=event.time,
        correlation_id=event.correlation_id,
        causation_id=event.causation_id,
        traceparent=event.traceparent,
    )


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_a_recorded_example_still_says_what_it_said(path: Path) -> None:
    body = path.read_bytes().removesuffix(b"\n")
    envelope = decode(body)
    contract = contract_of(envelope.type)

    assert envelope.type == path.stem
    assert contract is not None, f"{path.stem} was published once, and stored events have it"
    event = load_data(envelope, contract)
    # A field that the contract does not know any more would be lost here. Events that were stored
    # before they named their schema stay as they are.
    again = encoded(event)
    if b'"dataschema"' not in body:
        again = again.replace(f'"dataschema":"urn:farmgate:events:{path.stem}",'.encode(), b"", 1)
    assert again == body
    assert event.body == body
    assert event.subject == subject_of(event.data)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_a_consumer_ignores_what_a_newer_publisher_adds(path: Path) -> None:
    contract = BY_TYPE[path.stem]
    document = json.loads(path.read_bytes())
    newer = document | {"data": with_more(document["data"]), "newattribute": "new"}

    event = load_data(decode(json.dumps(newer)), contract)

    assert newer["data"] != document["data"]
    assert event.data == load_data(decode(path.read_bytes()), contract).data


def with_more(thing: Any) -> Any:
    """Return the same JSON with an unknown field in each of its objects."""
    if isinstance(thing, dict):
        return {name: with_more(inner) for name, inner in thing.items()} | {"added_later": [1]}
    if isinstance(thing, list):
        return [with_more(inner) for inner in thing]
    return thing


# The schemas: what they say of a contract.


def test_the_schemas_are_what_the_code_says_and_nothing_broke() -> None:
    assert main(["--check"]) == 0, "run `make docs`, or read what it says above"


def test_a_schema_names_itself_and_describes_the_fields_inside_its_fields() -> None:
    schema = described([OrderConfirmed])["orders.order_confirmed.v1"]

    assert schema["$id"] == "urn:farmgate:events:orders.order_confirmed.v1"
    assert schema["x-subject"] == "order_id"
    assert schema["x-public"] is True
    kinds = {path: str(field) for path, _, field in read_field(schema).rows()}
    assert kinds["lines"] == "list of object"
    assert kinds["lines[].lots[].lot_id"] == "uuid"
    assert kinds["due_fen"] == "integer, at least 0, fen (1/100 CNY)"
    assert schema["properties"]["collect"]["description"].startswith("True: the buyer collects")


def test_an_optional_field_and_one_that_may_be_null_are_described_as_such() -> None:
    rows = list(read_field(described([SiteOpened])["logistics.site_opened.v1"]).rows())

    told = {path: (str(field), required) for path, required, field in rows}
    assert told["names"] == ("object", True)
    assert told["names.bo"] == ("text", False)
    assert told["parent_id"] == ("uuid, or null", True)


def test_allowed_values_and_limits_are_described() -> None:
    class Limited(Part, frozen=True, kw_only=True):
        channel: Literal["online", "station"] | None
        percent: Annotated[int, Meta(ge=0, le=100)]
        quantity: Quantity
        code: Annotated[str, Meta(min_length=6, max_length=6, pattern="[A-Z]")]
        words: Annotated[list[Annotated[str, Meta(max_length=9)]], Meta(min_length=1)]

    told = {path: field for path, _, field in read_field(schema_of(KEY, Limited)).rows()}

    assert str(told["channel"]) == "one of `online`, `station`, or null"
    assert told["percent"].limits == {"minimum": 0, "maximum": 100}
    assert told["quantity"].limits == {"minimum": 1}
    assert told["code"].limits == {"minLength": 6, "maxLength": 6, "pattern": "[A-Z]"}
    assert told["words"].limits == {"minItems": 1}
    assert told["words"].members is not None
    assert told["words"].members.limits == {"maxLength": 9}


# The rules: what is a break, and what is none.

TEXT: dict[str, Any] = {"type": "string"}
WHOLE: dict[str, Any] = {"type": "integer"}
ID: dict[str, Any] = {"type": "string", "format": "uuid"}


def a_list(members: Any) -> dict[str, Any]:
    return {"type": "array", "items": members}


def an_object(**properties: Any) -> dict[str, Any]:
    """Return the schema of an object whose fields are all required."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def or_null(schema: Any) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def noted() -> dict[str, Any]:
    """Return the schema of a contract that has one field of each sort."""
    lot = {"Lot": an_object(lot_id=ID)}
    line = an_object(quantity=WHOLE, lots=a_list({"$ref": "#/$defs/Lot"}))
    schema = an_object(
        order_id=ID,
        note=TEXT,
        remark=TEXT,
        answer=or_null(TEXT),
        words=a_list(TEXT),
        lines=a_list({"$ref": "#/$defs/Line"}),
    )
    schema["required"].remove("remark")
    more = {"x-subject": "order_id", "x-public": True, "$defs": lot | {"Line": line}}
    return deepcopy(schema | more)


Change = Callable[[dict[str, Any]], object]


def field(name: str, schema: Any) -> Change:
    """Return the change that gives a field another schema, or adds it as an optional one."""
    return lambda contract: contract["properties"].update({name: schema})


def line_field(name: str, schema: Any) -> Change:
    """Return the same for a field of each line."""
    return lambda contract: contract["$defs"]["Line"]["properties"].update({name: schema})


def both(*changes: Change) -> Change:
    return lambda contract: [change(contract) for change in changes]


def after(change: Change) -> list[str]:
    """Return the breaks that one change of the contract makes."""
    present = noted()
    change(present)
    return breaks({KEY: noted()}, {KEY: present})


def sentence(change: str) -> str:
    """Return what is said of one change."""
    return (
        f"{KEY}: {change}; leave it unchanged, and add `orders.order_noted.v2` beside it, "
        'as docs/operations.md says under "A new version of an event".'
    )


def test_no_change_is_no_break() -> None:
    assert breaks({KEY: noted()}, {KEY: noted()}) == []


def test_a_new_event_type_is_no_break() -> None:
    assert breaks({}, {KEY: noted()}) == []


def test_an_event_type_that_is_gone_is_a_break() -> None:
    assert breaks({KEY: noted()}, {}) == [sentence("the event type is gone")]


def test_the_next_version_does_not_stand_in_for_the_one_that_is_gone() -> None:
    assert breaks({KEY: noted()}, {"orders.order_noted.v2": noted()}) == [
        sentence("the event type is gone")
    ]


def test_after_the_second_version_the_third_is_asked_for() -> None:
    (said,) = breaks({"orders.order_noted.v2": noted()}, {})

    assert "add `orders.order_noted.v3` beside it" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda c: c.update({"x-subject": "site_id"}),
            "the subject was `order_id` and is now `site_id`",
        ),
        (lambda c: c.update({"x-public": False}), "the event was public and is now internal"),
        (lambda c: c["properties"].pop("note"), "the field `note` is gone"),
        (
            lambda c: c["$defs"]["Lot"]["properties"].pop("lot_id"),
            "the field `lines[].lots[].lot_id` is gone",
        ),
        (field("note", WHOLE), "the field `note` was text and is now integer"),
        (field("note", ID), "the field `note` was text and is now uuid"),
        (
            line_field("quantity", TEXT),
            "the field `lines[].quantity` was integer and is now text",
        ),
        (
            lambda c: c["required"].append("remark"),
            "the field `remark` is now required, and stored events may not have it",
        ),
        (
            lambda c: c["required"].remove("note"),
            "the field `note` is now optional, and its readers require it",
        ),
        (
            field("note", or_null(TEXT)),
            "the field `note` may now be null, and its readers do not expect that",
        ),
        (
            field("answer", TEXT),
            "the field `answer` may no longer be null, and in stored events it may be",
        ),
        (
            both(field("added", TEXT), lambda c: c["required"].append("added")),
            "the new field `added` is required, and stored events do not have it",
        ),
        (
            both(
                line_field("added", TEXT),
                lambda c: c["$defs"]["Line"]["required"].append("added"),
            ),
            "the new field `lines[].added` is required, and stored events do not have it",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_change_that_readers_cannot_follow_is_a_break(change: Change, said: str) -> None:
    assert after(change) == [sentence(said)]


NARROWED = "and stored events may not be"
REFUSED = "and its readers refuse that"


@pytest.mark.parametrize(
    ("was", "is_", "said"),
    [
        (
            {"enum": ["a", "b", "c"]},
            {"enum": ["b"]},
            ["may no longer be `a` or `c`, and stored events may be"],
        ),
        ({"enum": ["a"]}, {"enum": ["a", "b"]}, [f"may now be `b`, {REFUSED}"]),
        (
            {"enum": ["a"]},
            {"enum": ["b"]},
            ["may no longer be `a`, and stored events may be", f"may now be `b`, {REFUSED}"],
        ),
        ({}, {"enum": ["a", "b"]}, ["must now be `a` or `b`, and stored events may differ"]),
        ({"enum": ["a"]}, {}, ["may now be anything, and its readers take only `a`"]),
        ({"enum": ["a", "b"]}, {"enum": ["b", "a"]}, []),
        ({"minimum": 0}, {"minimum": 1}, [f"must now be at least 1, {NARROWED}"]),
        ({"minimum": 0}, {"minimum": -1}, [f"may now be less than 0, {REFUSED}"]),
        ({"minimum": 0}, {}, [f"may now be less than 0, {REFUSED}"]),
        ({}, {"minimum": 0}, [f"must now be at least 0, {NARROWED}"]),
        ({"maximum": 9}, {"maximum": 8}, [f"must now be at most 8, {NARROWED}"]),
        ({"maximum": 9}, {"maximum": 10}, [f"may now be more than 9, {REFUSED}"]),
        ({"maximum": 9}, {}, [f"may now be more than 9, {REFUSED}"]),
        ({}, {"maximum": 9}, [f"must now be at most 9, {NARROWED}"]),
        ({"minimum": 1, "maximum": 9}, {"minimum": 1, "maximum": 9}, []),
        ({"minLength": 2}, {"minLength": 1}, [f"may now be shorter than 2, {REFUSED}"]),
        (
            {"maxLength": 40},
            {"maxLength": 20},
            [f"must now be of a length of at most 20, {NARROWED}"],
        ),
    ],
)
def test_other_values_than_were_recorded_are_a_break(was: Any, is_: Any, said: list[str]) -> None:
    for path, wrap in (("note", dict), ("words[]", a_list)):
        before, present = noted(), noted()
        field(path.removesuffix("[]"), wrap(TEXT | was))(before)
        field(path.removesuffix("[]"), wrap(TEXT | is_))(present)

        found = breaks({KEY: before}, {KEY: present})

        assert found == [sentence(f"the field `{path}` {words}") for words in said]


@pytest.mark.parametrize("keyword", ["pattern", "multipleOf", "exclusiveMinimum"])
def test_a_limit_without_a_rule_of_its_own_may_not_change(keyword: str) -> None:
    assert after(field("note", TEXT | {keyword: 1})) == [
        sentence(f"the `{keyword}` of the field `note` was None and is now 1")
    ]


def test_a_field_of_another_type_says_nothing_of_its_values() -> None:
    assert after(field("note", WHOLE | {"minimum": 1})) == [
        sentence("the field `note` was text and is now integer")
    ]


def test_an_internal_event_that_becomes_public_is_a_break() -> None:
    internal = noted() | {"x-public": False}

    assert breaks({KEY: internal}, {KEY: noted()}) == [
        sentence("the event was internal and is now public")
    ]


@pytest.mark.parametrize(
    "change",
    [
        field("added", TEXT),
        field("added", or_null(TEXT)),
        line_field("added", TEXT),
        # Whoever sends the new object knows what belongs into it.
        field("added", an_object(word=TEXT)),
        field("note", TEXT | {"description": "What the buyer wrote.", "title": "Note"}),
    ],
)
def test_a_new_optional_field_and_other_words_are_no_break(change: Change) -> None:
    assert after(change) == []


def test_a_list_that_is_gone_is_named_once_without_what_was_inside() -> None:
    assert after(lambda c: c["properties"].pop("lines")) == [sentence("the field `lines` is gone")]


def test_a_list_of_another_type_is_named_once_without_what_is_inside_now() -> None:
    assert after(field("lines", an_object(quantity=TEXT))) == [
        sentence("the field `lines` was list of object and is now object")
    ]


def test_each_of_several_changes_has_its_sentence() -> None:
    changes = both(lambda c: c["properties"].pop("note"), lambda c: c.update({"x-public": False}))

    assert after(changes) == [
        sentence("the event was public and is now internal"),
        sentence("the field `note` is gone"),
    ]


def test_the_envelope_keeps_its_attributes() -> None:
    recorded = described([])
    present = deepcopy(recorded)
    del present["envelope"]["properties"]["sequence"]  # type: ignore[attr-defined]

    assert breaks(recorded, present) == [
        "envelope: the field `sequence` is gone; leave it unchanged: every stored event has this "
        "envelope."
    ]


# The command: what it compares, and what it refuses to write.


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Schemas of its own, current to begin with."""
    path = tmp_path / "schemas"
    monkeypatch.setattr(contracts, "SCHEMAS", path)
    assert main(["--accept-break"]) == 0
    return path


def with_field_more(folder: Path) -> str:
    """Record a field that the code does not have, and return the schema."""
    path = folder / "orders.order_placed.v1.json"
    schema = json.loads(path.read_text("utf-8"))
    schema["properties"]["once_there"] = TEXT
    path.write_text(written(schema), encoding="utf-8")
    return path.read_text("utf-8")


def test_what_was_just_written_passes_the_check(folder: Path) -> None:
    assert main(["--check"]) == 0
    assert {path.stem for path in folder.iterdir()} == described().keys()
    for name, schema in described().items():
        assert json.loads((folder / f"{name}.json").read_text("utf-8")) == schema


@pytest.mark.parametrize("arguments", [["--check"], []])
def test_a_break_is_told_and_not_written(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    before = with_field_more(folder)

    assert main(arguments) == 1
    assert (folder / "orders.order_placed.v1.json").read_text(encoding="utf-8") == before
    said = capsys.readouterr().err
    assert "orders.order_placed.v1: the field `once_there` is gone" in said
    assert "add `orders.order_placed.v2` beside it" in said


def test_a_break_that_is_meant_is_written(folder: Path) -> None:
    with_field_more(folder)
    (folder / "orders.order_noted.v1.json").write_text(written(noted()), encoding="utf-8")

    assert main(["--accept-break"]) == 0
    assert main(["--check"]) == 0


@pytest.mark.parametrize("late", ["missing", "other words"])
def test_schemas_that_only_lag_behind_fail_the_check_and_may_be_written(
    folder: Path, capsys: pytest.CaptureFixture[str], late: str
) -> None:
    path = folder / "orders.order_placed.v1.json"
    if late == "missing":
        path.unlink()
    else:
        path.write_text(path.read_text("utf-8").replace("A buyer placed", "Placed"), "utf-8")

    assert main(["--check"]) == 1
    said = "the schema of orders.order_placed.v1 is out of date: run `make docs`\n"
    assert capsys.readouterr().err == said
    assert main([]) == 0
    assert main(["--check"]) == 0


@pytest.mark.parametrize("arguments", [["--check"], []])
def test_schemas_that_are_gone_are_not_written_afresh(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    for path in folder.iterdir():
        path.unlink()

    assert main(arguments) == 1
    assert not list(folder.iterdir())
    assert "git checkout shared/events/schemas" in capsys.readouterr().err


def test_nobody_checks_and_accepts_a_break_at_once(folder: Path) -> None:
    with pytest.raises(SystemExit):
        main(["--check", "--accept-break"])
